// Device hosts.

import { readInChunks, splitIntoChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { HostModel } from '../database/generated/models.ts';
import { PreparedQuery, RowStatement } from '../database/prepared-statements.ts';
import { withoutMarks } from '../database/readable-rows.ts';

export type HostRecord = Omit<HostModel, 'heartbeatCount' | 'streamId' | 'credential'> & Partial<Pick<HostModel, 'credential'>>;
/** Of a host that is not known to be unreachable. */
export type HeartbeatCount = { readonly id: string; readonly count: number };
/** The host that a token is of, and what it registered with. */
export type TokenHost = { readonly id: string; readonly isUnreachable: boolean; readonly credential: string | null };
export type KnownHost = Pick<HostModel, 'id' | 'bootId'> & { readonly isUnreachable: boolean };
export type HostWithDevices = HostRecord & { readonly devices: number };

/** How lists call a host. */
const hostRow = { kind: 'host', table: 'Host', key: ['id'] } as const;

// Whether a host is unreachable is decided by the database here: a time that cannot be decoded keeps no host from being found.
const hostOfToken = new PreparedQuery({ digest: 'text' }, (sql, { digest }) =>
  sql
    .selectFrom('Host')
    .select((host) => ['id', 'credential', host('unreachableSince', 'is not', null).as('isUnreachable')])
    .where('tokenDigest', '=', digest),
);

const bootOfHost = new PreparedQuery({ id: 'text' }, (sql, { id }) =>
  sql
    .selectFrom('Host')
    .select((host) => ['name', 'bootId', host('tokenDigest', 'is not', null).as('isRegistered')])
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
    // A count that is no number is 0 by this: it keeps no other from being read.
    .select(({ cast }) => ['id', cast<number>('heartbeatCount', 'integer').as('count')])
    .where('unreachableSince', 'is', null),
);

export class HostRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** What identifies the host of a name, and its boot. */
  async findByName(name: string): Promise<KnownHost | null> {
    // Compared by the database, so that a host whose row is damaged can register: then the row is written again.
    const host = await this.#connection.sql
      .selectFrom('Host')
      .select((row) => ['id', 'bootId', row('unreachableSince', 'is not', null).as('isUnreachable')])
      .where('name', '=', name)
      .executeTakeFirst();
    return host === undefined ? null : { ...host, isUnreachable: Boolean(host.isUnreachable) };
  }

  async findByIdOrName(text: string): Promise<Pick<HostRecord, 'id'> | null> {
    const hosts = this.#connection.sql.selectFrom('Host').select('id');
    const found = await hosts.where((host) => host.or({ id: text, name: text })).executeTakeFirst();
    return found ?? null;
  }

  /** The host that was given the token of this digest when it last registered. */
  async findByToken(tokenDigest: string): Promise<TokenHost | null> {
    const [host] = await this.#connection.query(hostOfToken, { digest: tokenDigest });
    return host === undefined ? null : { ...host, isUnreachable: Boolean(host.isUnreachable) };
  }

  /** The boot that a host has registered last, its name, and whether it has a token. */
  async bootOf(id: string): Promise<{ readonly name: string; readonly bootId: string; readonly isRegistered: boolean } | null> {
    const [host] = await this.#connection.query(bootOfHost, { id });
    return host === undefined ? null : { ...host, isRegistered: Boolean(host.isRegistered) };
  }

  /** Hosts that registered with a credential have no token any more, and their streams of orders end. Returns which. */
  async revokeTokens(credential: string): Promise<string[]> {
    const ended = this.#connection.sql.updateTable('Host').set({ tokenDigest: null }).where('credential', '=', credential);
    const ids = (await ended.returning('id').execute()).map(({ id }) => id);
    await this.endStreams(ids);
    return ids;
  }

  /** The hosts that are not known to be unreachable, each with a number that rises while it is heard of. */
  async heartbeatCounts(): Promise<HeartbeatCount[]> {
    return this.#connection.query(selectHeartbeatCounts, {});
  }

  /** Those of these hosts that are unreachable. */
  async filterUnreachable(ids: readonly string[]): Promise<string[]> {
    const hosts = await readInChunks(ids, (some) =>
      this.#connection.sql.selectFrom('Host').select('id').where('id', 'in', some).where('unreachableSince', 'is not', null).execute(),
    );
    return hosts.map(({ id }) => id);
  }

  /** Notes that hosts were heard of. */
  async countHeartbeats(ids: Iterable<string>): Promise<void> {
    await this.#connection.executeForRows(
      incrementHeartbeats,
      [...ids].map((id) => ({ id })),
    );
  }

  /** Notes that hosts are heard of (null), or since when they are not. */
  async setUnreachable(ids: readonly string[], unreachableSince: Date | null): Promise<void> {
    for (const some of splitIntoChunks(ids))
      await this.#connection.sql.updateTable('Host').set({ unreachableSince }).where('id', 'in', some).execute();
  }

  /** A host follows its orders in this stream; any other of it ends, wherever it is. */
  async setStream(id: string, streamId: string): Promise<void> {
    await this.#connection.sql.updateTable('Host').set({ streamId }).where('id', '=', id).execute();
    this.#connection.commitEffects.endedStreams.add(id);
  }

  /** What hosts follow their orders in ends, wherever it is. */
  async endStreams(ids: readonly string[]): Promise<void> {
    for (const some of splitIntoChunks(ids))
      await this.#connection.sql.updateTable('Host').set({ streamId: null }).where('id', 'in', some).execute();
    for (const id of ids) this.#connection.commitEffects.endedStreams.add(id);
  }

  /** Makes the host, or renews the one of that name: it has just been heard of. */
  async save(host: HostRecord): Promise<void> {
    const { id, ...rest } = host;
    await this.#connection.sql
      .insertInto('Host')
      .values({ ...host, heartbeatCount: 1 })
      .onConflict((conflict) =>
        conflict.column('id').doUpdateSet((saved) => ({ ...rest, heartbeatCount: saved('Host.heartbeatCount', '+', 1) })),
      )
      .execute();
  }

  /** Every host with the number of its devices. */
  async listAll(): Promise<HostWithDevices[]> {
    const query = this.#connection.sql
      .selectFrom('Host')
      .selectAll('Host')
      .select(({ selectFrom }) =>
        selectFrom('Device')
          .select(({ fn }) => fn.countAll<number | bigint>().as('count'))
          .whereRef('Device.hostId', '=', 'Host.id')
          .as('devices'),
      );
    const hosts = withoutMarks(await this.#connection.queryReadable(query, hostRow));
    return hosts.map((host) => ({ ...host, devices: Number(host.devices) }));
  }
}
