// Rows of patch sets and their members.

import type { Connection } from '../database/connection.ts';
import type { BuildModel, PatchSetMemberModel, PatchSetModel } from '../database/generated/models.ts';

/** A member of a patch set, with the columns of its build that a load needs. */
export type PatchSetMemberRecord = Pick<PatchSetMemberModel, 'module' | 'version' | 'buildId'> &
  Pick<BuildModel, 'imageDigest' | 'imagePrunedAt' | 'yankReason' | 'envelope'>;

/** A patch set and its members, sorted by module. */
export type PatchSetRecord = PatchSetModel & { readonly members: readonly PatchSetMemberRecord[] };

export class PatchSetRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create({ members, ...patchSet }: PatchSetRecord): Promise<void> {
    const { sql } = this.#connection;
    const rows = members.map(({ module, version, buildId }) => ({ patchSetId: patchSet.id, module, version, buildId }));
    await sql.insertInto('PatchSet').values(patchSet).execute();
    await sql.insertInto('PatchSetMember').values(rows).execute();
  }

  async find(id: string): Promise<PatchSetRecord | null> {
    return this.#withMembers(await this.#patchSets().where('id', '=', id).executeTakeFirst());
  }

  async findByVersion(name: string, version: string): Promise<PatchSetRecord | null> {
    return this.#withMembers(await this.#patchSets().where('name', '=', name).where('version', '=', version).executeTakeFirst());
  }

  /** Returns the names of the modules that versions of a patch set have; null: of any patch set. None if the patch set does not exist. */
  async modulesOf(name: string | null): Promise<string[]> {
    const members = await this.#connection.sql
      .selectFrom('PatchSet')
      .innerJoin('PatchSetMember', 'PatchSetMember.patchSetId', 'PatchSet.id')
      .select('PatchSetMember.module')
      .distinct()
      .$if(name !== null, (query) => query.where('PatchSet.name', '=', name))
      .orderBy('PatchSetMember.module')
      .execute();
    return members.map(({ module }) => module);
  }

  #patchSets() {
    return this.#connection.sql.selectFrom('PatchSet').selectAll();
  }

  async #withMembers(patchSet: PatchSetModel | undefined): Promise<PatchSetRecord | null> {
    if (patchSet === undefined) return null;
    const members = await this.#connection.sql
      .selectFrom('PatchSetMember')
      .innerJoin('Build', 'Build.id', 'PatchSetMember.buildId')
      .select(['PatchSetMember.module', 'PatchSetMember.version', 'buildId', 'imageDigest', 'imagePrunedAt', 'yankReason', 'envelope'])
      .where('patchSetId', '=', patchSet.id)
      .orderBy('PatchSetMember.module')
      .execute();
    return { ...patchSet, members };
  }
}
