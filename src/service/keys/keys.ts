// API keys. The role of a key defines what its holder may do. The secret is shown once, at creation; the service stores its digest.

import { digestOf } from '../../machine/digest.ts';
import { newIdentifier } from '../../protocol/identifiers.ts';
import { formatLabelSelector, parseScope } from '../../protocol/label-selector.ts';
import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
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
import { invalidValue, notFound, Problem } from '../problem.ts';
import { type Requester, systemActor } from '../requester.ts';
import { type KeyHolder, keyPrefix, type Role, roles } from '../roles.ts';
import { equalsInConstantTime, newSecret } from '../secrets.ts';
import { KeyQueries } from './queries.ts';
import type { KeyFilter, KeyRecord } from './repository.ts';
import { KeyRecords } from './repository.ts';

/** Maximum number of valid keys. */
const keyLimit = 1_000;

/** Interval at which the times of last use are stored, in milliseconds. */
const usesInterval = 60_000;

const keyPattern = new RegExp(`^${keyPrefix}([0-9a-f]{32})_[A-Za-z0-9_-]{43}$`);

export type NewKeyRequest = {
  readonly name: string;
  readonly role: Role;
  readonly host: string | null;
  /** Null: never. */
  readonly expiresAt: Date | null;
  /** Null: the limit of the service. */
  readonly requestsPerMinute: number | null;
  /** The devices that it can use: a label selector, or several as `parseScope` reads them; null: all. Null for the roles `admin` and `agent`. */
  readonly scope: string | null;
};
/** A key with its secret, which is not shown again. */
export type CreatedKey = { readonly key: KeyRecord; readonly secret: string };

export class Keys {
  readonly #store: Store;
  readonly #clock: Clock;
  /** Times of last use that are not stored yet: they are batched, so that a request needs no transaction for it. */
  readonly #uses = new Map<string, Date>();

  constructor({ store, clock }: { readonly store: Store; readonly clock: Clock }) {
    this.#store = store;
    this.#clock = clock;
  }

  /** @throws {Problem} `name-taken`, `too-many-keys`, `invalid-value` if it would have expired already. */
  async create(request: NewKeyRequest, requester: Requester, toResponse: ToResponse<CreatedKey>): Promise<CreatedKey> {
    return this.#store.transaction(async (connection) => {
      const created = await createKey(connection, request, requester, this.#clock.now());
      await storeResponse(connection, requester, toResponse, created);
      return created;
    });
  }

  /**
   * Creates a key with the role `admin`: on the first start if no key exists, or always.
   * @param save Saves the secret. If it throws, the key is not created.
   */
  async createAdmin(when: 'first start' | 'always', save: (secret: string) => void): Promise<void> {
    await this.#store.transaction(async (connection) => {
      if (when === 'first start' && (await new KeyRecords(connection).hasAny())) return;
      const id = newIdentifier('key');
      const name = `admin-${id.slice(-8)}`;
      const request = { name, role: 'admin', host: null, expiresAt: null, requestsPerMinute: null, scope: null } as const;
      save((await createKey(connection, request, systemActor, this.#clock.now(), id)).secret);
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

  /**
   * Revokes a key, and the token of a host that registered with it. Revoking again changes nothing.
   * @throws {Problem} `not-found`, `last-admin`.
   */
  async revoke(id: string, requester: Requester): Promise<KeyRecord> {
    return this.#store.transaction(async (connection) => {
      const key = await findKey(connection, id);
      if (key.revokedAt !== null) return key;
      const revokedAt = this.#clock.now();
      if (await isLastAdmin(connection, key, revokedAt))
        throw new Problem(
          'last-admin',
          `${key.name} is the only key with the role admin that does not expire: create another before you revoke it`,
        );
      await new KeyRecords(connection).revoke(id, revokedAt);
      const { name, role, host, scope } = key;
      const hostsEnded = await new HostRecords(connection).revokeTokens(id);
      await audit(connection, requester, revokedAt, [
        { action: 'key.revoked', object: id, detail: { name, role, host, scope, hostsEnded } },
      ]);
      return { ...key, revokedAt };
    });
  }

  /** Returns the holder of a secret. @throws {Problem} `unauthenticated`. */
  async authenticate(secret: string | null): Promise<KeyHolder> {
    const id = secret === null ? null : parseKeyId(secret);
    const key = id === null ? null : await new KeyRecords(this.#store.readConnection).find(id);
    if (secret === null || key === null || !equalsInConstantTime(digestOf(secret), key.secretDigest)) {
      throw new Problem(
        'unauthenticated',
        secret === null
          ? 'missing API key: send it as "Authorization: Bearer KEY". Administrators create keys; the first key is in the file admin-key next to the database'
          : 'unknown API key: check that it is complete and belongs to this service',
      );
    }
    if (key.revokedAt !== null)
      throw new Problem('unauthenticated', `the API key ${key.name} was revoked: ask an administrator for a new key`);
    const now = this.#clock.now();
    if (key.expiresAt !== null && key.expiresAt <= now)
      throw new Problem(
        'unauthenticated',
        `the API key ${key.name} expired at ${key.expiresAt.toISOString()}: ask an administrator for a new key`,
      );
    this.#uses.set(key.id, now);
    const { host, expiresAt, requestsPerMinute } = key;
    const scope = key.scope === null ? null : parseScope(key.scope);
    return { id: key.id, role: toRole(key.role), host, expiresAt, requestsPerMinute, scope };
  }

  /** Starts storing times of last use periodically, on each replica. */
  recordUsesPeriodically(): RecurringJob {
    return new LocalRecurringJob(usesInterval, () => this.recordUses());
  }

  /** Stores the times of last use. */
  async recordUses(): Promise<void> {
    if (this.#uses.size === 0) return;
    const uses = [...this.#uses];
    this.#uses.clear();
    try {
      await this.#store.transaction(async (connection) => {
        for (const [id, usedAt] of uses) await new KeyRecords(connection).setLastUsed(id, usedAt);
      });
    } catch (error) {
      // Stored the next time, unless the key was used since.
      for (const [id, usedAt] of uses) if (!this.#uses.has(id)) this.#uses.set(id, usedAt);
      throw error;
    }
  }
}

/** Parses a stored role. */
export function toRole(text: string): Role {
  const role = roles.find((known) => known === text);
  if (role === undefined) throw new Error(`unknown role "${text}" of a key: the database may be from a newer version`);
  return role;
}

async function createKey(
  connection: Connection,
  { name, role, host, expiresAt, requestsPerMinute, scope }: NewKeyRequest,
  requester: Requester,
  createdAt: Date,
  id = newIdentifier('key'),
): Promise<CreatedKey> {
  if (expiresAt !== null && expiresAt <= createdAt)
    throw invalidValue('/expiresAt', `is not after the time of the service, ${createdAt.toISOString()}`);
  const taken = await new KeyRecords(connection).findByName(name, createdAt);
  if (taken !== null)
    throw new Problem('name-taken', `the name "${name}" is used by the key ${taken.id}: choose another name, or revoke that key`);
  if ((await new KeyRecords(connection).countValid({ at: createdAt })) >= keyLimit)
    throw new Problem('too-many-keys', `limit reached: ${keyLimit} keys. Revoke unused keys`);
  const secret = `${keyPrefix}${id.slice(id.indexOf('_') + 1)}_${newSecret()}`;
  const canonicalScope = scope === null ? null : formatLabelSelector(parseScope(scope));
  const terms = { name, role, host, expiresAt, requestsPerMinute, scope: canonicalScope };
  const createdBy = requester.actor;
  const key: KeyRecord = { id, ...terms, secretDigest: digestOf(secret), createdAt, createdBy, lastUsedAt: null, revokedAt: null };
  await new KeyRecords(connection).create(key);
  const detail = { ...terms, expiresAt: expiresAt?.toISOString() ?? null };
  await audit(connection, requester, createdAt, [{ action: 'key.created', object: id, detail }]);
  return { key, secret };
}

/** Returns whether revoking a key would leave no key with the role `admin` that does not expire. */
async function isLastAdmin(connection: Connection, { role, expiresAt }: KeyRecord, at: Date): Promise<boolean> {
  if (role !== 'admin' || expiresAt !== null) return false;
  return (await new KeyRecords(connection).countValid({ at, role: 'admin', isPermanent: true })) === 1;
}

async function findKey(connection: Connection, id: string): Promise<KeyRecord> {
  const key = await new KeyRecords(connection).find(id);
  if (key === null) throw notFound('key', id);
  return key;
}

/** Returns the identifier within a key, by which it is looked up, so that its secret can be compared in constant time. Null if it is malformed. */
function parseKeyId(secret: string): string | null {
  const [, digits] = keyPattern.exec(secret) ?? [];
  return digits === undefined ? null : `key_${digits}`;
}
