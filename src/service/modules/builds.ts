// Builds: sources and prebuilt modules come in, images that devices can load come out, and nothing is kept of what does not compile.

import type { Compiler } from '../../compiler/compiler.ts';
import type { Language } from '../../compiler/languages.ts';
import type { CompileRequest, Diagnostic } from '../../compiler/result.ts';
import { bumpVersion, highestVersion, isVersionBump, versionBumps } from '../../compiler/version.ts';
import { digestOf } from '../../machine/digest.ts';
import { canonicalJson } from '../../proof/canonical-json.ts';
import type { BuildOptions } from '../../proof/statement.ts';
import { isVersion, type ModuleName, newIdentifier } from '../../protocol/identifiers.ts';
import { audit } from '../audit-events/entry.ts';
import { RetentionTimeRecords } from '../clock/repository.ts';
import type { Connection } from '../database/connection.ts';
import type { DamagedItem } from '../database/damaged-rows.ts';
import type { PageByName, PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { invalidValue, notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import type { SigningKeys } from '../signing-keys/signing-keys.ts';
import { readBuildOptions, signProvenance } from './build-provenance.ts';
import { requireCompiled } from './compilation.ts';
import { type BuildFilter, BuildQueries, type ModuleSummary } from './queries.ts';
import type { BuildRecord } from './repository.ts';
import { BuildRecords } from './repository.ts';

export type NewBuildRequest = {
  readonly module: ModuleName;
  readonly version: string;
  readonly language: Language;
  readonly source: string | Uint8Array;
} & Pick<CompileRequest, 'concurrency' | 'features'>;

/** A build, and what the compiler warned of when it was made. */
export type PushedBuild = { readonly build: BuildRecord; readonly warnings: readonly Diagnostic[]; readonly isNew: boolean };

/** Times that a version is assigned anew because somebody else was faster. */
const assignmentLimit = 10;

type Uses = { readonly store: Store; readonly compiler: Compiler; readonly signingKeys: SigningKeys };

export class Builds {
  readonly #uses: Uses;
  readonly #queries: BuildQueries;

  constructor(uses: Uses) {
    this.#uses = uses;
    this.#queries = new BuildQueries(uses.store.reader);
  }

  /**
   * Compiles a source and keeps the build. The same source under the same version is the same build; a version never changes.
   * @throws {Problem} `invalid-value`, `version-exists`, `busy`, or what the compiler found.
   */
  async push(request: NewBuildRequest, requester: Requester, toResponse: ToResponse<PushedBuild>): Promise<PushedBuild> {
    const { module, version } = request;
    if (!isVersionBump(version)) return this.#push(request, requester, toResponse);
    for (let attempt = 0; attempt < assignmentLimit; attempt += 1) {
      const versions = await new BuildRecords(this.#uses.store.readConnection).versions(module);
      const assigned = bumpVersion(versions, version);
      if (assigned === null)
        throw invalidValue(
          '/version',
          `there is no ${version} after ${highestVersion(versions)}, the highest version of ${module}: a number of a version is at most 9007199254740991. Name the version instead`,
        );
      try {
        return await this.#push({ ...request, version: assigned }, requester, toResponse);
      } catch (error) {
        // Somebody else has taken that version meanwhile: the next is another one now.
        if (!(error instanceof Problem && error.kind === 'version-exists')) throw error;
      }
    }
    throw new Problem('busy', `too many builds of ${module} are being pushed at once: try again`);
  }

  async #push(request: NewBuildRequest, requester: Requester, toResponse: ToResponse<PushedBuild>): Promise<PushedBuild> {
    const { module, version, language } = request;
    if (!isVersion(version)) {
      throw invalidValue(
        '/version',
        `"${version}" is not a semantic version: write it like 1.4.2 or 2.0.0-rc.1 (semver.org), or ask for ${Object.keys(versionBumps).join(', ')}`,
      );
    }
    const existing = await new BuildRecords(this.#uses.store.readConnection).find(module, version);
    if (existing !== null && existing.imagePrunedAt === null) return requireSameBuild(existing, request);
    if (existing !== null) requireSameBuild(existing, request);
    const startedAt = new Date();
    const { compiled, warnings } = requireCompiled(
      await this.#uses.compiler.compileModule(request, requester.actor),
      `${module}@${version}`,
    );
    const createdAt = new Date();
    const id = newIdentifier('build');
    const kept = await this.#uses.store.transaction(async (connection) => {
      const known = await new BuildRecords(connection).find(module, version);
      if (known !== null && known.imagePrunedAt === null) return known;
      if (known !== null) return restoreImage(connection, known, compiled, requester);
      await new BuildRecords(connection).storeImage(
        compiled.digest,
        new Uint8Array(compiled.image),
        await new RetentionTimeRecords(connection).now(),
      );
      const { compiler, sourceDigest, digest: imageDigest } = compiled;
      const facts = { module, version, language, compiler, sourceDigest, imageDigest, pushedBy: requester.actor };
      await this.#uses.signingKeys.refresh(connection);
      // Here, so that it is by the key that is signed with now: another may have taken its place while the source was compiled.
      const envelope = signProvenance(this.#uses.signingKeys, {
        ...facts,
        options: givenOptions(request),
        requestId: requester.requestId || null,
        startedAt,
        finishedAt: createdAt,
      });
      const build = await new BuildRecords(connection).create({
        id,
        ...facts,
        envelope,
        imageBytes: compiled.image.length,
        interface: { exports: compiled.interface.exports.map(plainType), imports: compiled.interface.imports.map(plainType) },
        createdAt,
      });
      const detail = { module, version, language, image: imageDigest, bytes: compiled.image.length, source: sourceDigest };
      await audit(connection, requester, createdAt, [{ action: 'build.created', object: build.id, detail }]);
      await storeResponse(connection, requester, toResponse, { build, warnings, isNew: true });
      return build;
    });
    return kept.id === id ? { build: kept, warnings, isNew: true } : requireSameBuild(kept, request);
  }

  /** @throws {Problem} `not-found`. */
  async find(module: string, version: string): Promise<BuildRecord> {
    const build = await new BuildRecords(this.#uses.store.readConnection).find(module, version);
    if (build === null) throw notFound('build', `${module}@${version}`);
    return build;
  }

  /** The bytes of a build's image. @throws {Problem} `not-found`. */
  async image(digest: string): Promise<Uint8Array> {
    const image = await this.#queries.image(digest);
    if (image === null) throw notFound('image', digest);
    return image;
  }

  list(filter: BuildFilter, page: PageByTime): Promise<PageResult<BuildRecord | DamagedItem, PageByTime>> {
    return readMarkedPage(page, {
      read: (wanted) => this.#queries.list(filter, wanted),
      positionOfUndecodable: undecodablePosition.byTime,
      positionOf: ({ createdAt, id }) => ({ time: createdAt, key: id }),
      bytesOf: ({ interface: types }) => JSON.stringify(types).length,
    });
  }

  /** By name, or by the time of the last build. */
  listModules(page: PageByTime | PageByName): Promise<PageResult<ModuleSummary | DamagedItem, PageByTime | PageByName>> {
    return readMarkedPage(page, {
      read: (wanted) => this.#queries.listModules(wanted),
      positionOf: ({ module, lastBuildAt }) => (page.sort === 'name' ? { name: module } : { time: lastBuildAt, key: module }),
      positionOfUndecodable: page.sort === 'name' ? undecodablePosition.byName : undecodablePosition.byTime,
    });
  }
}

/** Keeps the image of a build again that was pruned; @throws {Problem} `version-exists` where the compiler makes another of the source by now. */
async function restoreImage(
  connection: Connection,
  build: BuildRecord,
  { digest, image, compiler }: { readonly digest: string; readonly image: Uint8Array; readonly compiler: string },
  requester: Requester,
): Promise<BuildRecord> {
  const { id, module, version } = build;
  if (digest !== build.imageDigest)
    throw new Problem(
      'version-exists',
      `${module}@${version} was made by ${build.compiler}, and ${compiler} makes another image of its source: push it under a higher version`,
    );
  const restoredAt = new Date();
  await new BuildRecords(connection).storeImage(digest, new Uint8Array(image), await new RetentionTimeRecords(connection).now());
  await new BuildRecords(connection).setPruned([digest], null);
  await audit(connection, requester, restoredAt, [
    { action: 'build.image-restored', object: id, detail: { module, version, image: digest } },
  ]);
  return { ...build, imagePrunedAt: null };
}

function requireSameBuild(build: BuildRecord, request: NewBuildRequest): PushedBuild {
  const { module, version, language, source } = request;
  const isSameSource = build.sourceDigest === digestOf(source) && build.language === language;
  if (isSameSource && canonicalJson(readBuildOptions(build)) === canonicalJson(givenOptions(request)))
    return { build, warnings: [], isNew: false };
  if (isSameSource)
    throw new Problem(
      'version-exists',
      `${module}@${version} was compiled with other options: a version never changes, so push this build under a higher version`,
    );
  throw new Problem(
    'version-exists',
    `${module}@${version} has other content: a version never changes, so push this content under a higher version`,
  );
}

/** The options of a compilation as they are stated: those that were given. */
function givenOptions({ concurrency, features = [] }: Pick<NewBuildRequest, 'concurrency' | 'features'>): BuildOptions {
  return {
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(features.length === 0 ? {} : { features: [...new Set(features)].sort() }),
  };
}

function plainType<Type extends { readonly parameters: readonly string[]; readonly results: readonly string[] }>(type: Type) {
  return { ...type, parameters: [...type.parameters], results: [...type.results] };
}
