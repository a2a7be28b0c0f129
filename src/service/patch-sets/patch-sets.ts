// Patch sets: named, immutable sets of builds that a device loads in one step.

import { type Envelope, readEnvelope } from '../../proof/envelope.ts';
import { createPatchSetStatement } from '../../proof/patch-set-statement.ts';
import { statementPayloadType } from '../../proof/statement.ts';
import { newIdentifier, type PatchSetName } from '../../protocol/identifiers.ts';
import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { DamagedItem } from '../database/damaged-rows.ts';
import type { PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import type { SigningKeys } from '../signing-keys/signing-keys.ts';
import { type NamedBuild, readMembers } from './members.ts';
import { type PatchSetFilter, PatchSetQueries } from './queries.ts';
import { type PatchSetRecord, PatchSetRecords } from './repository.ts';

export type NewPatchSetRequest = {
  readonly name: PatchSetName;
  /** A semantic version. */
  readonly version: string;
  /** 2 to 16 builds of different modules. */
  readonly builds: readonly NamedBuild[];
};

export type CreatedPatchSet = { readonly patchSet: PatchSetRecord; readonly isNew: boolean };

type Uses = { readonly store: Store; readonly signingKeys: SigningKeys; readonly clock: Clock };

export class PatchSets {
  readonly #uses: Uses;

  constructor(uses: Uses) {
    this.#uses = uses;
  }

  /**
   * Creates a patch set. The same builds under the same name and version are the same set; a version never changes.
   * @throws {Problem} `version-exists`, or why the builds cannot form a set: `invalid-value`, `image-pruned`, `build-yanked`.
   */
  async create(request: NewPatchSetRequest, requester: Requester, toResponse: ToResponse<CreatedPatchSet>): Promise<CreatedPatchSet> {
    const { store, signingKeys, clock } = this.#uses;
    return store.transaction(async (connection) => {
      const existing = await new PatchSetRecords(connection).findByVersion(request.name, request.version);
      if (existing !== null) return requireSameBuilds(existing, request);
      await signingKeys.refresh(connection);
      const patchSet = await prepare(connection, signingKeys, request, { ...requester, at: clock.now() });
      await new PatchSetRecords(connection).create(patchSet);
      const { id, name, version, members, createdAt } = patchSet;
      const detail = {
        name,
        version,
        builds: members.map((member) => `${member.module}@${member.version}`),
        images: Object.fromEntries(members.map(({ module, imageDigest }) => [module, imageDigest])),
      };
      await audit(connection, requester, createdAt, [{ action: 'patch-set.created', object: id, detail }]);
      const created = { patchSet, isNew: true };
      await storeResponse(connection, requester, toResponse, created);
      return created;
    });
  }

  /** @throws {Problem} `not-found`. */
  async find(id: string): Promise<PatchSetRecord> {
    const patchSet = await new PatchSetRecords(this.#uses.store.readConnection).find(id);
    if (patchSet === null) throw notFound('patch set', id);
    return patchSet;
  }

  /** Returns the envelope of the provenance of a patch set. @throws {Problem} `not-found`. */
  async findProvenance(id: string): Promise<Envelope> {
    const { name, version, envelope } = await this.find(id);
    const read = readEnvelope(envelope);
    if (read === null)
      throw new Problem(
        'not-found',
        `patch set ${name}@${version} has no readable provenance: create a set of the same builds under a higher version`,
      );
    return read;
  }

  list(filter: PatchSetFilter, page: PageByTime): Promise<PageResult<PatchSetRecord | DamagedItem, PageByTime>> {
    return readMarkedPage(page, {
      read: (wanted) => new PatchSetQueries(this.#uses.store.reader).list(filter, wanted),
      positionOf: ({ createdAt, id }) => ({ time: createdAt, key: id }),
      positionOfUndecodable: undecodablePosition.byTime,
      bytesOf: ({ members }) => members.reduce((sum, { envelope }) => sum + (envelope?.length ?? 0), 0),
    });
  }
}

/** Returns the rows of a new patch set, with its signed provenance. @throws {Problem} as `readMembers`. */
async function prepare(
  connection: Connection,
  signingKeys: SigningKeys,
  { name, version, builds }: NewPatchSetRequest,
  { actor, requestId, at: createdAt }: Requester & { readonly at: Date },
): Promise<PatchSetRecord> {
  const members = (await readMembers(connection, builds))
    .map(({ id, ...build }) => ({
      module: build.module,
      version: build.version,
      buildId: id,
      imageDigest: build.imageDigest,
      imagePrunedAt: build.imagePrunedAt,
      yankReason: build.yankReason,
      envelope: build.envelope,
    }))
    .toSorted((left, right) => (left.module < right.module ? -1 : 1));
  const statement = createPatchSetStatement({
    name,
    version,
    members,
    createdBy: actor,
    origin: signingKeys.origin,
    requestId: requestId || null,
    finishedAt: createdAt,
  });
  const envelope = JSON.stringify(signingKeys.seal(statementPayloadType, statement));
  return { id: newIdentifier('patch set'), name, version, createdAt, createdBy: actor, envelope, members };
}

/** @throws {Problem} `version-exists` if the patch set has other builds than the request. */
function requireSameBuilds(patchSet: PatchSetRecord, { builds }: NewPatchSetRequest): CreatedPatchSet {
  const { name, version, members } = patchSet;
  const versions = new Map(builds.map((build) => [build.module, build.version]));
  const isSame = members.length === versions.size && members.every((member) => versions.get(member.module) === member.version);
  if (isSame) return { patchSet, isNew: false };
  const contained = members.map((member) => `${member.module}@${member.version}`).join(', ');
  throw new Problem(
    'version-exists',
    `the patch set ${name}@${version} contains ${contained}, and a version never changes: create this set under a higher version`,
  );
}
