// Rows of builds, and of the images of builds and drivers.

import { readInChunks, splitIntoChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { BuildModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { PreparedQuery } from '../database/prepared-statements.ts';

export type BuildRecord = BuildModel;
/** How a build was yanked; all null: it is not. */
export type Yank = Pick<BuildModel, 'yankedAt' | 'yankReason' | 'yankedBy'>;

export type NewBuild = Omit<BuildModel, 'interface' | 'imagePrunedAt' | keyof Yank> & { readonly interface: Prisma.InputJsonValue };

/** A program's driver, with the DSSE envelope of its statement (JSON). */
export type Driver = { readonly digest: string; readonly bytes: Uint8Array<ArrayBuffer>; readonly statement: string };

/** The columns of a build that a load needs. */
export type LoadableBuild = Pick<BuildModel, 'id' | 'module' | 'version' | 'imageDigest' | 'imagePrunedAt' | 'yankReason'>;

const loadableBuilds = new PreparedQuery({ modules: 'list', versions: 'list' }, (sql, { modules, versions }) =>
  sql
    .selectFrom('Build')
    .select(['id', 'module', 'version', 'imageDigest', 'imagePrunedAt', 'yankReason'])
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
      .values({ ...build, interface: Json.of(types), imagePrunedAt: null, yankedAt: null, yankReason: null, yankedBy: null })
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

  /** Returns all builds with one of these modules and one of these versions. With several modules, this includes builds that are not wanted. */
  async findLoadable(wanted: readonly Pick<BuildModel, 'module' | 'version'>[]): Promise<LoadableBuild[]> {
    const modules = [...new Set(wanted.map(({ module }) => module))];
    const versions = [...new Set(wanted.map(({ version }) => version))];
    return this.#connection.query(loadableBuilds, { modules, versions });
  }

  async findMany(module: string, versions: readonly string[]): Promise<BuildRecord[]> {
    return readInChunks(versions, (some) => this.#builds().where('module', '=', module).where('version', 'in', some).execute());
  }

  /** Returns a build with an image; null if there is none, for example for a program's driver. */
  async findByImageDigest(imageDigest: string): Promise<BuildRecord | null> {
    const build = await this.#builds().where('imageDigest', '=', imageDigest).limit(1).executeTakeFirst();
    return build ?? null;
  }

  /** Returns what `select` keeps of the builds with these images, so that not all of their rows are in memory at once. */
  async findByImageDigests<Part>(imageDigests: readonly string[], select: (build: BuildRecord) => Part): Promise<Part[]> {
    return readInChunks(imageDigests, async (some) => (await this.#builds().where('imageDigest', 'in', some).execute()).map(select));
  }

  /** Records that a build depends on modules, instead of an earlier build of its module. @param providers Up to about 1,100 modules. */
  async recordDependencies(
    { id, module, createdAt }: Pick<BuildRecord, 'id' | 'module' | 'createdAt'>,
    providers: readonly string[],
  ): Promise<void> {
    if (providers.length === 0) return;
    await this.#connection.sql
      .insertInto('ModuleDependent')
      .values(providers.map((provider) => ({ provider, importer: module, buildId: id, createdAt })))
      .onConflict((conflict) => conflict.columns(['provider', 'importer']).doUpdateSet({ buildId: id, createdAt }))
      .execute();
  }

  /** Returns the newest build of each module that depends on a module, newest first. */
  async findDependents(provider: string, limit: number): Promise<BuildRecord[]> {
    return this.#connection.sql
      .selectFrom('ModuleDependent')
      .innerJoin('Build', 'Build.id', 'ModuleDependent.buildId')
      .selectAll('Build')
      .where('ModuleDependent.provider', '=', provider)
      .orderBy('ModuleDependent.createdAt', 'desc')
      .orderBy('ModuleDependent.importer', 'desc')
      .limit(limit)
      .execute();
  }

  /** Stores the provenance envelope of a build. */
  async setStatement(id: string, { pushedBy, envelope }: Pick<BuildRecord, 'pushedBy' | 'envelope'>): Promise<void> {
    await this.#connection.sql.updateTable('Build').set({ pushedBy, envelope }).where('id', '=', id).execute();
  }

  /**
   * Deletes a build that nothing refers to, and its image unless another build or a driver has the same.
   * @returns The modules of which it was the newest dependent of its module.
   */
  async delete({ id, imageDigest }: Pick<BuildRecord, 'id' | 'imageDigest'>): Promise<string[]> {
    const { sql } = this.#connection;
    const dependents = await sql.deleteFrom('ModuleDependent').where('buildId', '=', id).returning('provider').execute();
    await sql.deleteFrom('Build').where('id', '=', id).execute();
    await sql
      .deleteFrom('Image')
      .where('digest', '=', imageDigest)
      .where('statement', 'is', null)
      .where(({ exists, not, selectFrom }) => not(exists(selectFrom('Build').select('Build.id').where('imageDigest', '=', imageDigest))))
      .execute();
    return dependents.map(({ provider }) => provider);
  }

  /** Returns builds of a module, newest first. */
  async listNewest(module: string, { limit, offset }: { readonly limit: number; readonly offset: number }): Promise<BuildRecord[]> {
    const newestFirst = this.#builds().where('module', '=', module).orderBy('createdAt', 'desc').orderBy('id', 'desc');
    return newestFirst.limit(limit).offset(offset).execute();
  }

  /** Yanks a build, or unyanks it. */
  async setYank(id: string, yank: Yank): Promise<void> {
    await this.#connection.sql.updateTable('Build').set(yank).where('id', '=', id).execute();
  }

  /** Returns the versions of a module, in the order in which they were created. */
  async versions(module: string): Promise<string[]> {
    const builds = await this.#versions(module).execute();
    return builds.map(({ version }) => version);
  }

  /** Returns the same without yanked builds. */
  async usableVersions(module: string): Promise<string[]> {
    const builds = await this.#versions(module).where('yankedAt', 'is', null).execute();
    return builds.map(({ version }) => version);
  }

  #versions(module: string) {
    const { sql } = this.#connection;
    return sql.selectFrom('Build').select('version').where('module', '=', module).orderBy('createdAt').orderBy('id');
  }

  /** Stores an image unless one with the same digest exists. @param createdAt By the retention clock. */
  async storeImage(digest: string, bytes: Uint8Array<ArrayBuffer>, createdAt: Date): Promise<void> {
    await this.#connection.sql
      .insertInto('Image')
      .values({ digest, bytes, createdAt, statement: null })
      .onConflict((conflict) => conflict.column('digest').doNothing())
      .execute();
  }

  /** Stores a driver's image with its signed statement; replaces both if the image exists. @param createdAt By the retention clock. */
  async storeDriver({ digest, bytes, statement }: Driver, createdAt: Date): Promise<void> {
    await this.#connection.sql
      .insertInto('Image')
      .values({ digest, bytes, statement, createdAt })
      .onConflict((conflict) => conflict.column('digest').doUpdateSet({ bytes, statement }))
      .execute();
  }

  /** Marks the builds with these images as pruned, or as not pruned (null). */
  async setPruned(digests: readonly string[], imagePrunedAt: Date | null): Promise<void> {
    for (const some of splitIntoChunks(digests))
      await this.#connection.sql.updateTable('Build').set({ imagePrunedAt }).where('imageDigest', 'in', some).execute();
  }
}
