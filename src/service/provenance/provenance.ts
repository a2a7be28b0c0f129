// The provenance of builds: what the service states of each, and signs; publishers put their signatures to it.

import { isSignedBy } from '../../proof/ed25519.ts';
import { type Envelope, preAuthEncoding, readEnvelope, signatureLimit } from '../../proof/envelope.ts';
import { audit } from '../audit-events/entry.ts';
import { AuditRecords } from '../audit-events/repository.ts';
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

/** Builds from before that get their statements in one transaction. */
const batchSize = 500;

export type PublisherSignature = {
  readonly keyId: string;
  /** Base64. */
  readonly signature: string;
};

export class Provenance {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** The statement of a build, with its signatures. @throws {Problem} `not-found`. */
  async find(module: string, version: string): Promise<Envelope> {
    const build = await findBuild(this.#store.readConnection, module, version);
    return requireEnvelope(build);
  }

  /** The statement of the build, or of the driver, that an image is of. @throws {Problem} `not-found`. */
  async findByImage(digest: string): Promise<Envelope> {
    const build = await new BuildRecords(this.#store.readConnection).findByImageDigest(digest);
    if (build !== null) return requireEnvelope(build);
    const statement = await new BuildQueries(this.#store.reader).findDriverStatement(digest);
    const envelope = statement === null ? null : readEnvelope(statement);
    if (envelope === null) throw notFound('signed statement of the image', digest, 'push its source, or start its program again');
    return envelope;
  }

  /**
   * Puts a publisher's signature to the statement of a build; the same again changes nothing.
   * @throws {Problem} `not-found`, `invalid-value`, `too-many-signatures`.
   */
  async sign(module: string, version: string, { keyId, signature }: PublisherSignature, requester: Requester): Promise<BuildRecord> {
    return this.#store.transaction(async (connection) => {
      const build = await findBuild(connection, module, version);
      const envelope = requireEnvelope(build);
      const key = await new PublisherKeyRecords(connection).findByKeyId(keyId);
      if (key === null) throw invalidValue('/keyId', `no publisher key ${keyId} is registered: an administrator registers publisher keys`);
      if (key.revokedAt !== null) throw invalidValue('/keyId', `the publisher key ${key.name} was revoked: sign with another`);
      if (!isSignedBy({ pem: key.publicKey }, preAuthEncoding(envelope), Buffer.from(signature, 'base64')))
        throw invalidValue(
          '/signature',
          `it is not the signature of ${key.name} under the statement of ${module}@${version}: sign the pre-authentication encoding of the envelope of GET …/provenance, as "patchbay build sign" does`,
        );
      const others = envelope.signatures.filter(({ keyid }) => keyid !== keyId);
      const isThere = envelope.signatures.some(({ keyid, sig }) => keyid === keyId && sig === signature);
      if (isThere) return build;
      if (others.length >= signatureLimit)
        throw new Problem('too-many-signatures', `${module}@${version} has ${signatureLimit} signatures, as many as may be`);
      const signed = JSON.stringify({ ...envelope, signatures: [...others, { keyid: keyId, sig: signature }] });
      await new BuildRecords(connection).setStatement(build.id, { pushedBy: build.pushedBy, envelope: signed });
      const detail = { module, version, image: build.imageDigest, publisherKey: key.id, keyId };
      await audit(connection, requester, new Date(), [{ action: 'build.signed', object: build.id, detail }]);
      return { ...build, envelope: signed };
    });
  }
}

/**
 * Gives the builds from before there were statements theirs. Only where the audit trail tells of the same image: whoever can change the database
 * is not to have the service sign what they made of it by taking the statement away.
 */
export async function backfillProvenance({
  store,
  signingKeys,
}: {
  readonly store: Store;
  readonly signingKeys: SigningKeys;
}): Promise<void> {
  let after = '';
  for (;;) {
    const builds = await new BuildQueries(store.reader).listWithoutProvenance(after, batchSize);
    const last = builds.at(-1);
    if (last === undefined) return;
    after = last.id;
    await store.transaction((connection) => signAuditedBuilds(connection, signingKeys, withoutMarks(builds)));
  }
}

async function signAuditedBuilds(connection: Connection, signingKeys: SigningKeys, builds: readonly BuildRecord[]): Promise<void> {
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
    new Date(),
    stated.map(({ id, module, version, imageDigest }) => ({
      action: 'build.stated',
      object: id,
      detail: { module, version, image: imageDigest },
    })),
  );
}

/** Whether the audit trail's event of a build's creation is of a build like this. */
function describesBuild(detail: unknown, { module, version, language, imageDigest }: BuildRecord): boolean {
  if (typeof detail !== 'object' || detail === null) return false;
  const told = new Map<string, unknown>(Object.entries(detail));
  return (
    told.get('module') === module &&
    told.get('version') === version &&
    told.get('language') === language &&
    told.get('image') === imageDigest
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
