// Builds, and the images of builds and drivers.

import { readInChunks, splitIntoChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { BuildModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { PreparedQuery } from '../database/prepared-statements.ts';

export type BuildRecord = BuildModel;
export type NewBuild = Omit<BuildModel, 'interface' | 'imagePrunedAt'> & { readonly interface: Prisma.InputJsonValue };

/** A program's driver, with the DSSE envelope of its statement, JSON. */
export type Driver = { readonly digest: string; readonly bytes: Uint8Array<ArrayBuffer>; readonly statement: string };

/** What a load needs to know of its build. */
export type LoadableBuild = Pick<BuildModel, 'id' | 'module' | 'version' | 'imageDigest' | 'imagePrunedAt'>;

const loadableBuilds = new PreparedQuery({ modules: 'list', versions: 'list' }, (sql, { modules, versions }) =>
  sql
    .selectFrom('Build')
    .select(['id', 'module', 'version', 'imageDigest', 'imagePrunedAt'])
    .where(({ ref }) => modules.includes(ref('module')))
    .where(({ ref }) => versions.includes(ref('version'))),
);

export class BuildRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create({ interface: types, ...build }: NewBuild): Promise<BuildRecord> {
    return this.#connection.sql
      .insertInto('Build')
      .values({ ...build, interface: Json.of(types), imagePrunedAt: null })
      .returningAll()
      .executeTakeFirstOrThrow();
  }

  async find(module: string, version: string): Promise<BuildRecord | null> {
    const build = await this.#builds().where('module', '=', module).where('version', '=', version).executeTakeFirst();
    return build ?? null;
  }

  #builds() {
    return this.#connection.sql.selectFrom('Build').selectAll();
  }

  /** All builds of these modules and versions: those that are wanted, and others where several modules are. */
  async findLoadable(wanted: readonly Pick<BuildModel, 'module' | 'version'>[]): Promise<LoadableBuild[]> {
    const modules = [...new Set(wanted.map(({ module }) => module))];
    const versions = [...new Set(wanted.map(({ version }) => version))];
    return this.#connection.query(loadableBuilds, { modules, versions });
  }

  async findMany(module: string, versions: readonly string[]): Promise<BuildRecord[]> {
    return readInChunks(versions, (some) => this.#builds().where('module', '=', module).where('version', 'in', some).execute());
  }

  /** The build that the image is of; null where there is none, for a program's driver is of no build. */
  async findByImageDigest(imageDigest: string): Promise<BuildRecord | null> {
    const build = await this.#builds().where('imageDigest', '=', imageDigest).limit(1).executeTakeFirst();
    return build ?? null;
  }

  /** Keeps a build's statement with its signatures. */
  async setStatement(id: string, { pushedBy, envelope }: Pick<BuildRecord, 'pushedBy' | 'envelope'>): Promise<void> {
    await this.#connection.sql.updateTable('Build').set({ pushedBy, envelope }).where('id', '=', id).execute();
  }

  /** Returns the versions of a module, in the order in which they were created. */
  async versions(module: string): Promise<string[]> {
    const { sql } = this.#connection;
    const builds = await sql
      .selectFrom('Build')
      .select('version')
      .where('module', '=', module)
      .orderBy('createdAt')
      .orderBy('id')
      .execute();
    return builds.map(({ version }) => version);
  }

  /** Keeps an image; one that is there already is the same, for it has the same digest. @param createdAt By the retention time. */
  async storeImage(digest: string, bytes: Uint8Array<ArrayBuffer>, createdAt: Date): Promise<void> {
    await this.#connection.sql
      .insertInto('Image')
      .values({ digest, bytes, createdAt, statement: null })
      .onConflict((conflict) => conflict.column('digest').doNothing())
      .execute();
  }

  /** Keeps a driver's image with its signed statement; where the database has the image already, both are replaced. @param createdAt By the retention time. */
  async storeDriver({ digest, bytes, statement }: Driver, createdAt: Date): Promise<void> {
    await this.#connection.sql
      .insertInto('Image')
      .values({ digest, bytes, statement, createdAt })
      .onConflict((conflict) => conflict.column('digest').doUpdateSet({ bytes, statement }))
      .execute();
  }

  /** Builds of these images are without them since then; null: they have them. */
  async setPruned(digests: readonly string[], imagePrunedAt: Date | null): Promise<void> {
    for (const some of splitIntoChunks(digests))
      await this.#connection.sql.updateTable('Build').set({ imagePrunedAt }).where('imageDigest', 'in', some).execute();
  }
}
