// Device hosts.

import type { Kysely } from 'kysely';
import { type AgentCapability, agentCapabilities } from '../../protocol/agent.ts';
import { isHostId } from '../../protocol/identifiers.ts';
import { readInChunks, splitIntoChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { HostModel } from '../database/generated/models.ts';
import { PreparedQuery, RowStatement } from '../database/prepared-statements.ts';
import { withoutMarks } from '../database/readable-rows.ts';
import type { Tables } from '../database/tables.ts';

type DecommissioningColumn = 'decommissionedAt' | 'decommissionReason' | 'decommissionedBy';
type OptionalColumn = 'credential' | 'capabilities' | 'registeredName' | 'address' | DecommissioningColumn;
export type HostRecord = Omit<HostModel, 'heartbeatCount' | 'unreachableMilliseconds' | 'streamId' | 'streamQuestion' | OptionalColumn> &
  Partial<Pick<HostModel, OptionalColumn>>;
export const hostStatuses = ['connected', 'unreachable', 'decommissioned'] as const;
export type HostStatus = (typeof hostStatuses)[number];
/** The name of a host, and the kinds of orders that it executes besides those that every host executes. */
export type CapableHost = Pick<HostModel, 'name'> & { readonly capabilities: readonly AgentCapability[] };
/** The heartbeat count of a host that is not marked as unreachable. */
export type HeartbeatCount = { readonly id: string; readonly count: number };
/** The host of a token, and the credential that it registered with. */
export type TokenHost = { readonly id: string; readonly isUnreachable: boolean; readonly credential: string | null };
export type KnownHost = Pick<HostModel, 'id' | 'name' | 'registeredName' | 'bootId' | 'address'> & {
  readonly isUnreachable: boolean;
  /** Whether its token is valid. */
  readonly isRegistered: boolean;
};
/** The order stream of a host, and the open question whether it is open. */
export type KnownStream = Pick<HostModel, 'streamId' | 'streamQuestion'>;
/** `devices` counts those that are not decommissioned. */
export type HostWithDevices = HostRecord &
  Pick<HostModel, 'capabilities' | 'registeredName' | DecommissioningColumn> & { readonly devices: number };

/** How error messages name a row. */
const hostRow = { kind: 'host', table: 'Host', key: ['id'] } as const;

// Compared in SQL, so that a host with an undecodable time is still found.
const hostOfToken = new PreparedQuery({ digest: 'text' }, (sql, { digest }) =>
  sql
    .selectFrom('Host')
    .select((host) => ['id', 'credential', host('unreachableSince', 'is not', null).as('isUnreachable')])
    .where('tokenDigest', '=', digest),
);

const bootOfHost = new PreparedQuery({ id: 'text' }, (sql, { id }) =>
  sql
    .selectFrom('Host')
    .select((host) => [
      'name',
      'bootId',
      host('tokenDigest', 'is not', null).as('isRegistered'),
      host('decommissionedAt', 'is not', null).as('isDecommissioned'),
    ])
    .where('id', '=', id),
);

const incrementHeartbeats = new RowStatement({ id: 'text' }, (sql, { id }) =>
  sql
    .updateTable('Host')
    .set((host) => ({ heartbeatCount: host('heartbeatCount', '+', 1) }))
    .where('Host.id', '=', id),
);

const selectHeartbeatCounts = new PreparedQuery({}, (sql) =>
  sql
    .selectFrom('Host')
    // The cast turns an invalid count into 0, so that it does not block reading the others.
    .select(({ cast }) => ['id', cast<number>('heartbeatCount', 'integer').as('count')])
    .where('unreachableSince', 'is', null)
    .where('decommissionedAt', 'is', null),
);

/** A host whose boot is checked. */
type RegisteredBoot = Pick<HostModel, 'name' | 'bootId'> & { readonly isRegistered: boolean; readonly isDecommissioned: boolean };

const hostsWithDevices = (sql: Kysely<Tables>) =>
  sql
    .selectFrom('Host')
    .selectAll('Host')
    .select(({ selectFrom }) =>
      selectFrom('Device')
        .select(({ fn }) => fn.countAll<number | bigint>().as('count'))
        .whereRef('Device.hostId', '=', 'Host.id')
        .where('Device.decommissionedAt', 'is', null)
        .as('devices'),
    );

const unreachableHosts = new PreparedQuery({ ids: 'list' }, (sql, { ids }) =>
  sql
    .selectFrom('Host')
    .select('id')
    .where(({ ref }) => ids.includes(ref('id')))
    .where('unreachableSince', 'is not', null),
);

export class HostRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Returns the hosts that have this name or register with it: the one with the name, and the one that registers with it. Leaves out decommissioned ones. */
  async findByName(name: string): Promise<KnownHost[]> {
    // Compared in SQL, so that a host with a damaged row can register, which rewrites the row.
    const hosts = await this.#connection.sql
      .selectFrom('Host')
      .select((row) => [
        'id',
        'name',
        'registeredName',
        'bootId',
        'address',
        row('unreachableSince', 'is not', null).as('isUnreachable'),
        row('tokenDigest', 'is not', null).as('isRegistered'),
      ])
      .where('decommissionedAt', 'is', null)
      .where((host) => host.or({ name, registeredName: name }))
      .execute();
    return hosts.map((host) => ({ ...host, isUnreachable: Boolean(host.isUnreachable), isRegistered: Boolean(host.isRegistered) }));
  }

  /** Whether a host that registers with this name was decommissioned during this boot. */
  async wasDecommissioned(name: string, bootId: string): Promise<boolean> {
    const hosts = this.#connection.sql
      .selectFrom('Host')
      .select('id')
      .where('bootId', '=', bootId)
      .where('decommissionedAt', 'is not', null);
    return (await hosts.where((host) => host.or({ name, registeredName: name })).executeTakeFirst()) !== undefined;
  }

  /** Returns the host with this identifier, or the one with this name that is not decommissioned. A text in the form of an identifier is an identifier. */
  async findByIdOrName(idOrName: string): Promise<Pick<HostRecord, 'id'> | null> {
    const hosts = this.#connection.sql.selectFrom('Host').select('id');
    const found = isHostId(idOrName)
      ? hosts.where('id', '=', idOrName)
      : hosts.where('name', '=', idOrName).where('decommissionedAt', 'is', null);
    return (await found.executeTakeFirst()) ?? null;
  }

  /** Returns a host with its device count. */
  async find(id: string): Promise<HostWithDevices | null> {
    const host = await hostsWithDevices(this.#connection.sql).where('Host.id', '=', id).executeTakeFirst();
    return host === undefined ? null : { ...host, devices: Number(host.devices) };
  }

  /** Sets the name of a host. @param registeredName The name that it registers with; null: the same. */
  async rename(id: string, name: string, registeredName: string | null): Promise<void> {
    await this.#connection.sql.updateTable('Host').set({ name, registeredName }).where('id', '=', id).execute();
  }

  /** Decommissions a host: revokes its token, and ends its order stream. */
  async decommission(id: string, end: Pick<HostModel, DecommissioningColumn>): Promise<void> {
    await this.#connection.sql
      .updateTable('Host')
      .set({ ...end, tokenDigest: null })
      .where('id', '=', id)
      .execute();
    await this.endStreams([id]);
  }

  /** Returns the name and the capabilities of the host. */
  async findCapabilities(id: string): Promise<CapableHost | null> {
    const host = await this.#connection.sql.selectFrom('Host').select(['name', 'capabilities']).where('id', '=', id).executeTakeFirst();
    return host === undefined ? null : { name: host.name, capabilities: decodeCapabilities(host.capabilities) };
  }

  /** Returns those of these hosts that do not have a capability, sorted by name. */
  async findWithoutCapability(
    ids: readonly string[],
    capability: AgentCapability,
  ): Promise<{ readonly id: string; readonly name: string }[]> {
    const hosts = await readInChunks(ids, (chunk) =>
      this.#connection.sql.selectFrom('Host').select(['id', 'name', 'capabilities']).where('id', 'in', chunk).execute(),
    );
    return hosts
      .filter(({ capabilities }) => !decodeCapabilities(capabilities).includes(capability))
      .toSorted((left, right) => (left.name < right.name ? -1 : 1));
  }

  /** Returns which of these hosts are unreachable. */
  async findUnreachable(ids: readonly string[]): Promise<Set<string>> {
    if (ids.length === 0) return new Set();
    const hosts = await this.#connection.query(unreachableHosts, { ids });
    return new Set(hosts.map(({ id }) => id));
  }

  /** Returns the host with this token digest. */
  async findByToken(tokenDigest: string): Promise<TokenHost | null> {
    const [host] = await this.#connection.query(hostOfToken, { digest: tokenDigest });
    return host === undefined ? null : { ...host, isUnreachable: Boolean(host.isUnreachable) };
  }

  /** Returns the name and last registered boot of a host, whether it has a token, and whether it is decommissioned. */
  async bootOf(id: string): Promise<RegisteredBoot | null> {
    const [host] = await this.#connection.query(bootOfHost, { id });
    if (host === undefined) return null;
    return { ...host, isRegistered: Boolean(host.isRegistered), isDecommissioned: Boolean(host.isDecommissioned) };
  }

  /** Returns the last registered boot and the reachability of hosts, by identifier. */
  async bootsOf(ids: readonly string[]): Promise<Map<string, { readonly bootId: string; readonly isReachable: boolean }>> {
    const hosts = await readInChunks(ids, (chunk) =>
      this.#connection.sql
        .selectFrom('Host')
        .select((host) => ['id', 'bootId', host('unreachableSince', 'is', null).as('isReachable')])
        .where('id', 'in', chunk)
        .execute(),
    );
    return new Map(hosts.map(({ id, bootId, isReachable }) => [id, { bootId, isReachable: Boolean(isReachable) }]));
  }

  /** Revokes the tokens of hosts that registered with a credential, and ends their order streams. Returns the identifiers of the hosts. */
  async revokeTokens(credential: string): Promise<string[]> {
    const ended = this.#connection.sql.updateTable('Host').set({ tokenDigest: null }).where('credential', '=', credential);
    const ids = (await ended.returning('id').execute()).map(({ id }) => id);
    await this.endStreams(ids);
    return ids;
  }

  /** Returns the heartbeat counts of the hosts that are not marked as unreachable. A count rises while the host sends requests. */
  async heartbeatCounts(): Promise<HeartbeatCount[]> {
    return this.#connection.query(selectHeartbeatCounts, {});
  }

  /** Returns which of these hosts are marked as unreachable. Leaves out decommissioned ones. */
  async filterUnreachable(ids: readonly string[]): Promise<string[]> {
    const hosts = await readInChunks(ids, (chunk) =>
      this.#connection.sql
        .selectFrom('Host')
        .select('id')
        .where('id', 'in', chunk)
        .where('unreachableSince', 'is not', null)
        .where('decommissionedAt', 'is', null)
        .execute(),
    );
    return hosts.map(({ id }) => id);
  }

  /** Increments the heartbeat counts of hosts. */
  async countHeartbeats(ids: Iterable<string>): Promise<void> {
    await this.#connection.executeForRows(
      incrementHeartbeats,
      [...ids].map((id) => ({ id })),
    );
  }

  /** Adds the time for which a service has found hosts unreachable, in milliseconds. */
  async addUnreachableTime(milliseconds: number): Promise<void> {
    if (milliseconds <= 0) return;
    await this.#connection.sql
      .updateTable('Host')
      .set((host) => ({ unreachableMilliseconds: host('unreachableMilliseconds', '+', BigInt(milliseconds)) }))
      .where('unreachableSince', 'is not', null)
      .where('decommissionedAt', 'is', null)
      .execute();
  }

  /** Returns the first hosts that services have found unreachable for a time, in milliseconds. */
  async unreachableFor(milliseconds: number, limit: number): Promise<string[]> {
    const hosts = this.#connection.sql
      .selectFrom('Host')
      .select('id')
      .where('unreachableSince', 'is not', null)
      .where('decommissionedAt', 'is', null)
      .where('unreachableMilliseconds', '>=', BigInt(Math.ceil(milliseconds)));
    return (await hosts.orderBy('id').limit(limit).execute()).map(({ id }) => id);
  }

  /** Marks hosts as unreachable since a time, or as connected (null). */
  async setUnreachable(ids: readonly string[], unreachableSince: Date | null): Promise<void> {
    for (const chunk of splitIntoChunks(ids))
      await this.#connection.sql
        .updateTable('Host')
        .set({ unreachableSince, unreachableMilliseconds: 0n })
        .where('id', 'in', chunk)
        .execute();
  }

  /**
   * Makes this the order stream of a host, if the boot is the last registered one. Ends its earlier stream on any replica.
   * @returns Whether the boot is the last registered one.
   */
  async setStream(id: string, bootId: string, streamId: string): Promise<boolean> {
    const ofBoot = this.#connection.sql.updateTable('Host').set({ streamId }).where('id', '=', id).where('bootId', '=', bootId);
    const isSet = (await ofBoot.returning('id').execute()).length > 0;
    if (isSet) this.#connection.commitEffects.endedStreams.add(id);
    return isSet;
  }

  /** Records that the order stream of a host has ended, unless another one has begun. */
  async clearStream(id: string, streamId: string): Promise<void> {
    const ended = this.#connection.sql.updateTable('Host').set({ streamId: null });
    await ended.where('id', '=', id).where('streamId', '=', streamId).execute();
  }

  /** Returns the recorded order stream of a host. */
  async streamOf(id: string): Promise<KnownStream | null> {
    const host = this.#connection.sql.selectFrom('Host').select(['streamId', 'streamQuestion']).where('id', '=', id);
    return (await host.executeTakeFirst()) ?? null;
  }

  /** Asks all replicas whether one of them has the recorded order stream of a host. That replica sets the question to null. */
  async askForStream(id: string, question: string): Promise<void> {
    await this.#connection.sql.updateTable('Host').set({ streamQuestion: question }).where('id', '=', id).execute();
    this.#connection.commitEffects.endedStreams.add(id);
  }

  /** Confirms that the order stream of a host is open. */
  async confirmStream(id: string, streamId: string, question: string): Promise<void> {
    const confirmed = this.#connection.sql.updateTable('Host').set({ streamQuestion: null });
    await confirmed.where('id', '=', id).where('streamId', '=', streamId).where('streamQuestion', '=', question).execute();
  }

  /** Ends the order streams of hosts on every replica. */
  async endStreams(ids: readonly string[]): Promise<void> {
    for (const chunk of splitIntoChunks(ids))
      await this.#connection.sql.updateTable('Host').set({ streamId: null }).where('id', 'in', chunk).execute();
    for (const id of ids) this.#connection.commitEffects.endedStreams.add(id);
  }

  /** Inserts or updates a host, and increments its heartbeat count. */
  async save(host: HostRecord): Promise<void> {
    const { id, ...rest } = host;
    await this.#connection.sql
      .insertInto('Host')
      .values({ ...host, heartbeatCount: 1 })
      .onConflict((conflict) =>
        conflict
          .column('id')
          .doUpdateSet((saved) => ({ ...rest, unreachableMilliseconds: 0n, heartbeatCount: saved('Host.heartbeatCount', '+', 1) })),
      )
      .execute();
  }

  /** Returns every host that is not decommissioned, with its device count. */
  async listAll(): Promise<HostWithDevices[]> {
    const query = hostsWithDevices(this.#connection.sql).where('decommissionedAt', 'is', null);
    const hosts = withoutMarks(await this.#connection.queryReadable(query, hostRow));
    return hosts.map((host) => ({ ...host, devices: Number(host.devices) }));
  }
}

/** Encodes the capabilities of a registration for the database. Leaves out those that this service does not know. */
export function encodeCapabilities(capabilities: readonly string[]): string {
  return agentCapabilities.filter((known) => capabilities.includes(known)).join(' ');
}

/** Returns the stored capabilities that this service knows. */
export function decodeCapabilities(stored: string): AgentCapability[] {
  const named = stored.split(' ');
  return agentCapabilities.filter((known) => named.includes(known));
}
