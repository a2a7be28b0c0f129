// Public keys of publishers. Signature policies can require their signatures of builds.

import { KeyError, type PublicKey, readPublicKey } from '../../proof/ed25519.ts';
import { newIdentifier } from '../../protocol/identifiers.ts';
import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { DamagedItem } from '../database/damaged-rows.ts';
import type { PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { invalidValue, notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { type PublisherKeyFilter, PublisherKeyQueries } from './queries.ts';
import type { PublisherKeyRecord } from './repository.ts';
import { PublisherKeyRecords } from './repository.ts';

/** Maximum number of keys that are not revoked. */
const keyLimit = 1_000;

export type NewPublisherKeyRequest = {
  readonly name: string;
  /** In PEM. */
  readonly publicKey: string;
};

export class PublisherKeys {
  readonly #store: Store;
  readonly #clock: Clock;

  constructor({ store, clock }: { readonly store: Store; readonly clock: Clock }) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Registers a key. A revoked key cannot be registered again. @throws {Problem} `invalid-value`, `name-taken`, `too-many-keys`. */
  async create(
    { name, publicKey }: NewPublisherKeyRequest,
    requester: Requester,
    toResponse: ToResponse<PublisherKeyRecord>,
  ): Promise<PublisherKeyRecord> {
    const { keyId, pem } = readKey(publicKey);
    return this.#store.transaction(async (connection) => {
      const known = await new PublisherKeyRecords(connection).findByKeyId(keyId);
      if (known !== null) {
        const status = known.revokedAt === null ? 'is already registered' : 'was revoked: create a new key pair';
        throw invalidValue('/publicKey', `this key, ${known.name} (${known.id}), ${status}`);
      }
      const taken = await new PublisherKeyRecords(connection).findByName(name);
      if (taken !== null)
        throw new Problem(
          'name-taken',
          `the name "${name}" is used by the publisher key ${taken.id}: choose another name, or revoke that key`,
        );
      if ((await new PublisherKeyRecords(connection).countInUse()) >= keyLimit)
        throw new Problem('too-many-keys', `limit reached: ${keyLimit} publisher keys. Revoke unused keys`);
      const [id, createdAt] = [newIdentifier('publisher key'), this.#clock.now()];
      const key: PublisherKeyRecord = { id, name, keyId, publicKey: pem, createdAt, createdBy: requester.actor, revokedAt: null };
      await new PublisherKeyRecords(connection).create(key);
      await audit(connection, requester, createdAt, [
        { action: 'publisher-key.created', object: id, detail: { name, keyId, publicKey: pem } },
      ]);
      await storeResponse(connection, requester, toResponse, key);
      return key;
    });
  }

  /** @throws {Problem} `not-found`. */
  async find(id: string): Promise<PublisherKeyRecord> {
    return findKey(this.#store.readConnection, id);
  }

  list(filter: PublisherKeyFilter, page: PageByTime): Promise<PageResult<PublisherKeyRecord | DamagedItem, PageByTime>> {
    return readMarkedPage(page, {
      read: (wanted) => new PublisherKeyQueries(this.#store.reader).list(filter, wanted),
      positionOf: ({ createdAt, id }) => ({ time: createdAt, key: id }),
      positionOfUndecodable: undecodablePosition.byTime,
    });
  }

  /** Revokes a key: its signatures do not count for loads requested from now on. @throws {Problem} `not-found`. */
  async revoke(id: string, requester: Requester): Promise<PublisherKeyRecord> {
    return this.#store.transaction(async (connection) => {
      const key = await findKey(connection, id);
      if (key.revokedAt !== null) return key;
      const revokedAt = this.#clock.now();
      await new PublisherKeyRecords(connection).revoke(id, revokedAt);
      const { name, keyId } = key;
      await audit(connection, requester, revokedAt, [{ action: 'publisher-key.revoked', object: id, detail: { name, keyId } }]);
      return { ...key, revokedAt };
    });
  }
}

function readKey(pem: string): PublicKey {
  try {
    return readPublicKey(pem);
  } catch (error) {
    if (error instanceof KeyError) throw invalidValue('/publicKey', error.message);
    throw error;
  }
}

async function findKey(connection: Connection, id: string): Promise<PublisherKeyRecord> {
  const key = await new PublisherKeyRecords(connection).find(id);
  if (key === null) throw notFound('publisher key', id);
  return key;
}
