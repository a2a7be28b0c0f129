// API keys: each has a role, which says what its holder may do. A key is shown once, when it is made; the service keeps a digest of it.

import { digestOf } from '../../machine/digest.ts';
import { newIdentifier } from '../../protocol/identifiers.ts';
import { audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import type { DamagedItem } from '../database/damaged-rows.ts';
import { LocalRecurringJob } from '../database/local-recurring-job.ts';
import type { PageByTime, TimeRange } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { RecurringJob } from '../database/recurring-job.ts';
import type { Store } from '../database/store.ts';
import { HostRecords } from '../hosts/repository.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { notFound, Problem } from '../problem.ts';
import { type Requester, systemActor } from '../requester.ts';
import { type KeyHolder, keyPrefix, type Role, roles } from '../roles.ts';
import { equalsInConstantTime, newSecret } from '../secrets.ts';
import { KeyQueries } from './queries.ts';
import type { KeyFilter, KeyRecord } from './repository.ts';
import { KeyRecords } from './repository.ts';

/** Keys that are not revoked. */
const keyLimit = 1_000;

/** How often it is put on disk when keys were last used, in milliseconds. */
const usesInterval = 60_000;

const keyPattern = new RegExp(`^${keyPrefix}([0-9a-f]{32})_[A-Za-z0-9_-]{43}$`);

export type NewKeyRequest = { readonly name: string; readonly role: Role; readonly host: string | null };
/** A key with its secret, which nobody can see again. */
export type CreatedKey = { readonly key: KeyRecord; readonly secret: string };

export class Keys {
  readonly #store: Store;
  /** When keys were last used, until that is on disk: not every request is worth a transaction. */
  readonly #uses = new Map<string, Date>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** @throws {Problem} `name-taken`, `too-many-keys`. */
  async create(request: NewKeyRequest, requester: Requester, toResponse: ToResponse<CreatedKey>): Promise<CreatedKey> {
    return this.#store.transaction(async (connection) => {
      const created = await createKey(connection, request, requester);
      await storeResponse(connection, requester, toResponse, created);
      return created;
    });
  }

  /**
   * Makes a key of the role `admin`, if there is no key at all or it is asked for.
   * @param keep Keeps its secret; if it throws, there is no such key.
   */
  async createAdmin(when: 'first start' | 'always', keep: (secret: string) => void): Promise<void> {
    await this.#store.transaction(async (connection) => {
      if (when === 'first start' && (await new KeyRecords(connection).count({})) > 0) return;
      const id = newIdentifier('key');
      const name = `admin-${id.slice(-8)}`;
      keep((await createKey(connection, { name, role: 'admin', host: null }, systemActor, id)).secret);
    });
  }

  /** @throws {Problem} `not-found`. */
  async find(id: string): Promise<KeyRecord> {
    return findKey(this.#store.readConnection, id);
  }

  list(filter: KeyFilter & TimeRange, page: PageByTime): Promise<PageResult<KeyRecord | DamagedItem, PageByTime>> {
    return readMarkedPage(page, {
      read: (wanted) => new KeyQueries(this.#store.reader).list(filter, wanted),
      positionOfUndecodable: undecodablePosition.byTime,
      positionOf: ({ createdAt, id }) => ({ time: createdAt, key: id }),
    });
  }

  /** Nobody can use the key any more, and a host that registered with it loses its token. A key that is revoked already stays so. @throws {Problem} `not-found`, `last-admin`. */
  async revoke(id: string, requester: Requester): Promise<KeyRecord> {
    return this.#store.transaction(async (connection) => {
      const key = await findKey(connection, id);
      if (key.revokedAt !== null) return key;
      if (key.role === 'admin' && (await new KeyRecords(connection).count({ role: 'admin', isRevoked: false })) === 1)
        throw new Problem('last-admin', `${key.name} is the only key of the role admin: make another one before you revoke it`);
      const revokedAt = new Date();
      await new KeyRecords(connection).revoke(id, revokedAt);
      const { name, role, host } = key;
      const hostsEnded = await new HostRecords(connection).revokeTokens(id);
      await audit(connection, requester, revokedAt, [{ action: 'key.revoked', object: id, detail: { name, role, host, hostsEnded } }]);
      return { ...key, revokedAt };
    });
  }

  /** Who shows this key. @throws {Problem} `unauthenticated`. */
  async authenticate(secret: string | null): Promise<KeyHolder> {
    const id = secret === null ? null : parseKeyId(secret);
    const key = id === null ? null : await new KeyRecords(this.#store.readConnection).find(id);
    if (secret === null || key === null || !equalsInConstantTime(digestOf(secret), key.secretDigest)) {
      throw new Problem(
        'unauthenticated',
        secret === null
          ? 'show an API key, as `Authorization: Bearer KEY`: an administrator makes them (POST /v1/keys), and the first is in the file admin-key beside the database'
          : 'the service does not know this key: check that it is whole, and of this service',
      );
    }
    if (key.revokedAt !== null) throw new Problem('unauthenticated', `the key ${key.name} was revoked: ask an administrator for another`);
    this.#uses.set(key.id, new Date());
    return { id: key.id, role: toRole(key.role), host: key.host };
  }

  /** Puts on disk when keys were last used, from now on: each replica of the service knows some of it. */
  recordUsesPeriodically(): RecurringJob {
    return new LocalRecurringJob(usesInterval, () => this.recordUses());
  }

  /** Puts on disk when keys were last used. */
  async recordUses(): Promise<void> {
    if (this.#uses.size === 0) return;
    const uses = [...this.#uses];
    this.#uses.clear();
    try {
      await this.#store.transaction(async (connection) => {
        for (const [id, usedAt] of uses) await new KeyRecords(connection).setLastUsed(id, usedAt);
      });
    } catch (error) {
      // The next time, where the key was not used since.
      for (const [id, usedAt] of uses) if (!this.#uses.has(id)) this.#uses.set(id, usedAt);
      throw error;
    }
  }
}

/** A stored role. */
export function toRole(text: string): Role {
  const role = roles.find((one) => one === text);
  if (role === undefined) throw new Error(`a key of the role ${text}, which this version does not know`);
  return role;
}

async function createKey(
  connection: Connection,
  { name, role, host }: NewKeyRequest,
  requester: Requester,
  id = newIdentifier('key'),
): Promise<CreatedKey> {
  const taken = await new KeyRecords(connection).findByName(name);
  if (taken !== null)
    throw new Problem('name-taken', `the key ${taken.id} has the name "${name}": choose another, or revoke that one first`);
  if ((await new KeyRecords(connection).count({ isRevoked: false })) >= keyLimit)
    throw new Problem('too-many-keys', `there are ${keyLimit} keys, as many as may be: revoke those that nobody uses`);
  const secret = `${keyPrefix}${id.slice(id.indexOf('_') + 1)}_${newSecret()}`;
  const createdAt = new Date();
  const createdBy = requester.actor;
  const key: KeyRecord = { id, name, role, host, secretDigest: digestOf(secret), createdAt, createdBy, lastUsedAt: null, revokedAt: null };
  await new KeyRecords(connection).create(key);
  await audit(connection, requester, createdAt, [{ action: 'key.created', object: id, detail: { name, role, host } }]);
  return { key, secret };
}

async function findKey(connection: Connection, id: string): Promise<KeyRecord> {
  const key = await new KeyRecords(connection).find(id);
  if (key === null) throw notFound('key', id);
  return key;
}

/** A key names itself, so that it is found by what is no secret and its secret is compared in constant time; null where it is none. */
function parseKeyId(secret: string): string | null {
  const [, digits] = keyPattern.exec(secret) ?? [];
  return digits === undefined ? null : `key_${digits}`;
}
