// Builds: compiles pushed sources and prebuilt modules to images that devices can load. A failed compilation stores nothing.

import { createDiagnostic } from '../../compiler/compile-error.ts';
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
import type { Clock } from '../clock/service-clock.ts';
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
import { type Dependent, dependenciesOf, findDependents } from './dependencies.ts';
import { type BuildFilter, BuildQueries, type ModuleSummary } from './queries.ts';
import type { BuildRecord } from './repository.ts';
import { BuildRecords } from './repository.ts';
import { describeLossSincePrevious } from './state-loss.ts';

export type NewBuildRequest = {
  readonly module: ModuleName;
  readonly version: string;
  readonly language: Language;
  readonly source: string | Uint8Array;
} & BuildSettings;

/** The options of a push. */
type BuildSettings = Pick<CompileRequest, 'concurrency' | 'features' | 'dependencies'>;

/** A build, and the warnings about it if it is new. */
export type PushedBuild = { readonly build: BuildRecord; readonly warnings: readonly Diagnostic[]; readonly isNew: boolean };

/** Attempts to assign a version while concurrent pushes take it. */
const assignmentLimit = 10;

type Uses = { readonly store: Store; readonly compiler: Compiler; readonly signingKeys: SigningKeys; readonly clock: Clock };

export class Builds {
  readonly #uses: Uses;
  readonly #queries: BuildQueries;

  constructor(uses: Uses) {
    this.#uses = uses;
    this.#queries = new BuildQueries(uses.store.reader);
  }

  /**
   * Compiles a source and stores the build. The same source under the same version is the same build; a version never changes.
   * @throws {Problem} `invalid-value`, `version-exists`, `busy`, or the problem that the compiler found.
   */
  async push(request: NewBuildRequest, requester: Requester, toResponse: ToResponse<PushedBuild>): Promise<PushedBuild> {
    const { module, version, language, dependencies = {} } = request;
    if (Object.hasOwn(dependencies, module))
      throw invalidValue(
        language === 'wasm' ? 'query:dependency' : `/dependencies/${module}`,
        `${module} cannot depend on itself: remove the dependency`,
      );
    if (!isVersionBump(version)) return this.#push(request, requester, toResponse);
    for (let attempt = 0; attempt < assignmentLimit; attempt += 1) {
      const records = new BuildRecords(this.#uses.store.readConnection);
      const versions = await records.versions(module);
      const assigned = bumpVersion(versions, version, await records.usableVersions(module));
      if (assigned === null)
        throw invalidValue(
          '/version',
          `there is no ${version} after ${highestVersion(versions)}, the highest version of ${module} (limit of a number: 9007199254740991). Name the version explicitly`,
        );
      try {
        return await this.#push({ ...request, version: assigned }, requester, toResponse);
      } catch (error) {
        // A concurrent push took this version: assign the next one.
        if (!(error instanceof Problem && error.kind === 'version-exists')) throw error;
      }
    }
    throw new Problem('busy', `too many concurrent pushes of ${module}: try again`);
  }

  async #push(request: NewBuildRequest, requester: Requester, toResponse: ToResponse<PushedBuild>): Promise<PushedBuild> {
    const { module, version, language, dependencies = {} } = request;
    if (!isVersion(version)) {
      throw invalidValue(
        '/version',
        `"${version}" is not a semantic version (semver.org): expected for example 1.4.2, 2.0.0-rc.1, or ${Object.keys(versionBumps).join(', ')}`,
      );
    }
    const existing = await new BuildRecords(this.#uses.store.readConnection).find(module, version);
    if (existing !== null && existing.imagePrunedAt === null) return requireSameBuild(existing, request);
    if (existing !== null) requireSameBuild(existing, request);
    const startedAt = this.#uses.clock.now();
    const { compiled, warnings: compilerWarnings } = requireCompiled(
      await this.#uses.compiler.compileModule(request, requester.actor),
      `${module}@${version}`,
    );
    const createdAt = this.#uses.clock.now();
    const id = newIdentifier('build');
    const image = {
      imageBytes: compiled.image.length,
      hasState: compiled.hasState,
      interface: { exports: compiled.interface.exports.map(plainType), imports: compiled.interface.imports.map(plainType) },
    };
    const stateLoss = await describeLossSincePrevious(new BuildRecords(this.#uses.store.readConnection), module, { version, ...image });
    const warnings = [...compilerWarnings, ...(stateLoss === null ? [] : [createDiagnostic(stateLoss, 'warning')])];
    const stored = await this.#uses.store.transaction(async (connection) => {
      const known = await new BuildRecords(connection).find(module, version);
      if (known !== null && known.imagePrunedAt === null) return known;
      if (known !== null) return restoreImage(connection, known, compiled, { requester, at: createdAt });
      await new BuildRecords(connection).storeImage(
        compiled.digest,
        new Uint8Array(compiled.image),
        await new RetentionTimeRecords(connection).now(),
      );
      const { compiler, sourceDigest, digest: imageDigest } = compiled;
      const facts = { module, version, language, compiler, sourceDigest, imageDigest, pushedBy: requester.actor };
      await this.#uses.signingKeys.refresh(connection);
      // Signed after the refresh: the key may have been rotated during the compilation.
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
        ...image,
        createdAt,
      });
      const providers = dependenciesOf({ interface: image.interface, dependencies }).map((dependency) => dependency.module);
      await new BuildRecords(connection).recordDependencies(build, providers);
      const detail = { module, version, language, image: imageDigest, bytes: compiled.image.length, source: sourceDigest };
      await audit(connection, requester, createdAt, [{ action: 'build.created', object: build.id, detail }]);
      await storeResponse(connection, requester, toResponse, { build, warnings, isNew: true });
      return build;
    });
    return stored.id === id ? { build: stored, warnings, isNew: true } : requireSameBuild(stored, request);
  }

  /** @throws {Problem} `not-found`. */
  async find(module: string, version: string): Promise<BuildRecord> {
    const build = await new BuildRecords(this.#uses.store.readConnection).find(module, version);
    if (build === null) throw notFound('build', `${module}@${version}`);
    return build;
  }

  /** Returns a build with the modules that depend on its module. @throws {Problem} `not-found`. */
  async findWithDependents(module: string, version: string): Promise<{ build: BuildRecord; dependents: Dependent[] }> {
    const build = await this.find(module, version);
    return { build, dependents: await findDependents(this.#uses.store.readConnection, build) };
  }

  /** Returns the bytes of an image. @throws {Problem} `not-found`. */
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

  /** Lists modules by name, or by the time of the last build. */
  listModules(page: PageByTime | PageByName): Promise<PageResult<ModuleSummary | DamagedItem, PageByTime | PageByName>> {
    return readMarkedPage(page, {
      read: (wanted) => this.#queries.listModules(wanted),
      positionOf: ({ module, lastBuildAt }) => (page.sort === 'name' ? { name: module } : { time: lastBuildAt, key: module }),
      positionOfUndecodable: page.sort === 'name' ? undecodablePosition.byName : undecodablePosition.byTime,
    });
  }
}

/** Stores the image of a pruned build again. @throws {Problem} `version-exists` if the current compiler produces a different image. */
async function restoreImage(
  connection: Connection,
  build: BuildRecord,
  { digest, image, compiler }: { readonly digest: string; readonly image: Uint8Array; readonly compiler: string },
  { requester, at }: { readonly requester: Requester; readonly at: Date },
): Promise<BuildRecord> {
  const { id, module, version } = build;
  if (digest !== build.imageDigest)
    throw new Problem(
      'version-exists',
      `${module}@${version} was compiled by ${build.compiler}; ${compiler} produces a different image. Push the source under a higher version`,
    );
  await new BuildRecords(connection).storeImage(digest, new Uint8Array(image), await new RetentionTimeRecords(connection).now());
  await new BuildRecords(connection).setPruned([digest], null);
  await audit(connection, requester, at, [{ action: 'build.image-restored', object: id, detail: { module, version, image: digest } }]);
  return { ...build, imagePrunedAt: null };
}

/** @throws {Problem} `version-exists` if the build has another source or other options than the request. */
function requireSameBuild(build: BuildRecord, request: NewBuildRequest): PushedBuild {
  const { module, version, language, source } = request;
  const isSameSource = build.sourceDigest === digestOf(source) && build.language === language;
  if (isSameSource && canonicalJson(readBuildOptions(build)) === canonicalJson(givenOptions(request)))
    return { build, warnings: [], isNew: false };
  if (isSameSource)
    throw new Problem(
      'version-exists',
      `${module}@${version} was compiled with other options, and a version never changes: push this build under a higher version`,
    );
  throw new Problem(
    'version-exists',
    `${module}@${version} has another source, and a version never changes: push this source under a higher version`,
  );
}

/** Returns the given options of a request, as the provenance states them. */
function givenOptions({ concurrency, features = [], dependencies = {} }: BuildSettings): BuildOptions {
  return {
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(features.length === 0 ? {} : { features: [...new Set(features)].sort() }),
    ...(Object.keys(dependencies).length === 0 ? {} : { dependencies }),
  };
}

function plainType<Type extends { readonly parameters: readonly string[]; readonly results: readonly string[] }>(type: Type) {
  return { ...type, parameters: [...type.parameters], results: [...type.results] };
}
