// The provenance of builds and drivers, and publishers' signatures of builds.

import { isSignedBy } from '../../proof/ed25519.ts';
import { type Envelope, preAuthEncoding, readEnvelope, signatureLimit } from '../../proof/envelope.ts';
import { audit } from '../audit-events/entry.ts';
import { AuditRecords } from '../audit-events/repository.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import { withoutMarks } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { missingProvenance, readBuildEnvelope, signProvenance } from '../modules/build-provenance.ts';
import { BuildQueries } from '../modules/queries.ts';
import type { BuildRecord } from '../modules/repository.ts';
import { BuildRecords } from '../modules/repository.ts';
import { invalidValue, notFound, Problem } from '../problem.ts';
import { PublisherKeyRecords } from '../publisher-keys/repository.ts';
import { type Requester, systemActor } from '../requester.ts';
import type { SigningKeys } from '../signing-keys/signing-keys.ts';

/** Builds signed in one transaction. */
const batchSize = 500;

export type PublisherSignature = {
  readonly keyId: string;
  /** Base64. */
  readonly signature: string;
};

export class Provenance {
  readonly #store: Store;
  readonly #clock: Clock;

  constructor({ store, clock }: { readonly store: Store; readonly clock: Clock }) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Returns the envelope of a build. @throws {Problem} `not-found`. */
  async find(module: string, version: string): Promise<Envelope> {
    const build = await findBuild(this.#store.readConnection, module, version);
    return requireEnvelope(build);
  }

  /** Returns the envelope of the build or driver with an image. @throws {Problem} `not-found`. */
  async findByImage(digest: string): Promise<Envelope> {
    const build = await new BuildRecords(this.#store.readConnection).findByImageDigest(digest);
    if (build !== null) return requireEnvelope(build);
    const statement = await new BuildQueries(this.#store.reader).findDriverStatement(digest);
    const envelope = statement === null ? null : readEnvelope(statement);
    if (envelope === null) throw new Problem('not-found', `image ${digest} has no provenance: push its source, or start its program again`);
    return envelope;
  }

  /**
   * Adds a publisher's signature to the envelope of a build. Adding the same signature again changes nothing.
   * @throws {Problem} `not-found`, `invalid-value`, `too-many-signatures`.
   */
  async sign(module: string, version: string, { keyId, signature }: PublisherSignature, requester: Requester): Promise<BuildRecord> {
    return this.#store.transaction(async (connection) => {
      const build = await findBuild(connection, module, version);
      const envelope = requireEnvelope(build);
      const key = await new PublisherKeyRecords(connection).findByKeyId(keyId);
      if (key === null) throw invalidValue('/keyId', `unknown publisher key ${keyId}: ask an administrator to register it`);
      if (key.revokedAt !== null) throw invalidValue('/keyId', `the publisher key ${key.name} was revoked: sign with another key`);
      if (!isSignedBy({ pem: key.publicKey }, preAuthEncoding(envelope), Buffer.from(signature, 'base64')))
        throw invalidValue(
          '/signature',
          `the signature does not match the key ${key.name} and the provenance of ${module}@${version}: sign the DSSE pre-authentication encoding of its envelope, as "patchbay build sign" does`,
        );
      const others = envelope.signatures.filter(({ keyid }) => keyid !== keyId);
      const isSigned = envelope.signatures.some(({ keyid, sig }) => keyid === keyId && sig === signature);
      if (isSigned) return build;
      if (others.length >= signatureLimit)
        throw new Problem('too-many-signatures', `limit reached: ${module}@${version} has ${signatureLimit} signatures`);
      const signed = JSON.stringify({ ...envelope, signatures: [...others, { keyid: keyId, sig: signature }] });
      await new BuildRecords(connection).setStatement(build.id, { pushedBy: build.pushedBy, envelope: signed });
      const detail = { module, version, image: build.imageDigest, publisherKey: key.id, keyId };
      await audit(connection, requester, this.#clock.now(), [{ action: 'build.signed', object: build.id, detail }]);
      return { ...build, envelope: signed };
    });
  }
}

/**
 * Signs the provenance of builds from versions without provenance. A build is signed only if the audit trail confirms its image: otherwise someone with
 * write access to the database could replace an image, delete the provenance, and have the service sign the result.
 */
export async function backfillProvenance(uses: {
  readonly store: Store;
  readonly signingKeys: SigningKeys;
  readonly clock: Clock;
}): Promise<void> {
  const { store, signingKeys, clock } = uses;
  let after = '';
  for (;;) {
    const builds = await new BuildQueries(store.reader).listWithoutProvenance(after, batchSize);
    const last = builds.at(-1);
    if (last === undefined) return;
    after = last.id;
    await store.transaction((connection) => signAuditedBuilds(connection, signingKeys, withoutMarks(builds), clock.now()));
  }
}

async function signAuditedBuilds(
  connection: Connection,
  signingKeys: SigningKeys,
  builds: readonly BuildRecord[],
  at: Date,
): Promise<void> {
  await signingKeys.refresh(connection);
  const ids = builds.map(({ id }) => id);
  const creations = new Map((await new AuditRecords(connection).findByAction('build.created', ids)).map((event) => [event.object, event]));
  const stated: BuildRecord[] = [];
  for (const build of builds) {
    const { module, version, language, compiler, sourceDigest, imageDigest } = build;
    const creation = creations.get(build.id);
    if (creation === undefined || !describesBuild(creation.detail, build)) continue;
    const { actor: pushedBy, requestId } = creation;
    const facts = { module, version, language, compiler, sourceDigest, imageDigest, pushedBy, requestId };
    const envelope = signProvenance(signingKeys, { ...facts, startedAt: null, finishedAt: build.createdAt });
    await new BuildRecords(connection).setStatement(build.id, { pushedBy, envelope });
    stated.push(build);
  }
  await audit(
    connection,
    systemActor,
    at,
    stated.map(({ id, module, version, imageDigest }) => ({
      action: 'build.stated',
      object: id,
      detail: { module, version, image: imageDigest },
    })),
  );
}

/** Returns whether the detail of a `build.created` event describes this build. */
function describesBuild(detail: unknown, { module, version, language, imageDigest }: BuildRecord): boolean {
  if (typeof detail !== 'object' || detail === null) return false;
  const facts = new Map<string, unknown>(Object.entries(detail));
  return (
    facts.get('module') === module &&
    facts.get('version') === version &&
    facts.get('language') === language &&
    facts.get('image') === imageDigest
  );
}

async function findBuild(connection: Connection, module: string, version: string): Promise<BuildRecord> {
  const build = await new BuildRecords(connection).find(module, version);
  if (build === null) throw notFound('build', `${module}@${version}`);
  return build;
}

function requireEnvelope(build: BuildRecord): Envelope {
  const envelope = readBuildEnvelope(build);
  if (envelope === null) throw missingProvenance(build);
  return envelope;
}
