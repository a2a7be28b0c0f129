// Device hosts: authentication, heartbeats and lists.

import { digestOf } from '../../machine/digest.ts';
import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { DamagedItem } from '../database/damaged-rows.ts';
import type { PageByName, PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { decommissioned, nameTaken, notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { equalsInConstantTime, slowDigest } from '../secrets.ts';
import { type HostFilter, HostQueries } from './queries.ts';
import type { Reachability } from './reachability.ts';
import type { HostWithDevices } from './repository.ts';
import { HostRecords } from './repository.ts';

const joinTokenPrefix = 'join-token:';

/** The part of a host that its ETag covers. */
export type HostNames = Pick<HostWithDevices, 'id' | 'name' | 'registeredName'>;

export class Hosts {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #reachability: Reachability;
  readonly #joinToken: string;
  readonly #joinTokenDigest: string;
  #joinTokenCredential: string | null = null;

  /** @param joinToken The bearer token that a host needs to register. */
  constructor({ store, clock }: { readonly store: Store; readonly clock: Clock }, reachability: Reachability, joinToken: string) {
    this.#store = store;
    this.#clock = clock;
    this.#reachability = reachability;
    this.#joinToken = joinToken;
    this.#joinTokenDigest = digestOf(joinToken);
  }

  /** The digest of the join token, stored with each host that registered with it. Computed on first use, because it is slow. */
  get joinTokenCredential(): string {
    this.#joinTokenCredential ??= `${joinTokenPrefix}${slowDigest(this.#joinToken, 'patchbay join token')}`;
    return this.#joinTokenCredential;
  }

  /** Checks the join token of a registration. @throws {Problem} `unauthenticated`. */
  checkJoinToken(token: string | null): void {
    if (token === null || !equalsInConstantTime(digestOf(token), this.#joinTokenDigest)) {
      throw new Problem(
        'unauthenticated',
        'registration requires `Authorization: Bearer TOKEN` with the join token (the file join-token beside the database of the service) or with an API key of the role agent',
      );
    }
  }

  /** Returns the identifier of the host with this token, and records contact with it. @throws {Problem} `unauthenticated`. */
  async authenticate(token: string | null): Promise<string> {
    // Looked up by digest. An attacker cannot choose a prefix of a digest, so the duration reveals nothing about the token.
    const host = token === null ? null : await new HostRecords(this.#store.readConnection).findByToken(digestOf(token));
    // If the join token was replaced, hosts that registered with the old one must register again.
    const isOutdated = host?.credential?.startsWith(joinTokenPrefix) && host.credential !== this.joinTokenCredential;
    if (host === null || isOutdated) {
      throw new Problem(
        'unauthenticated',
        'the request requires `Authorization: Bearer TOKEN` with the token of the last registration of the host: register again to get a new one',
      );
    }
    await this.#reachability.recordContact(host.id, host.isUnreachable);
    return host.id;
  }

  /** The heartbeat interval of hosts, in milliseconds. */
  get heartbeatInterval(): number {
    return this.#reachability.heartbeatInterval;
  }

  /** The time without contact after which a host is unreachable, in milliseconds. */
  get silenceLimit(): number {
    return this.#reachability.limit;
  }

  /** @throws {Problem} `not-found`. */
  async get(id: string): Promise<HostWithDevices> {
    const host = await new HostRecords(this.#store.readConnection).find(id);
    if (host === null) throw notFound('host', id);
    return host;
  }

  /**
   * Renames a host. Its agent continues to register with the name that it had. Does nothing if the name is the same.
   * @param isExpected Whether the current names match the client's precondition.
   * @throws {Problem} `not-found`, `decommissioned`, `precondition-failed`, `name-taken`.
   */
  async rename(id: string, name: string, isExpected: (current: HostNames) => boolean, requester: Requester): Promise<void> {
    await this.#store.transaction(async (connection) => {
      const records = new HostRecords(connection);
      const host = await records.find(id);
      if (host === null) throw notFound('host', id);
      if (host.decommissionedAt !== null) throw decommissioned('host', host.name);
      if (!isExpected(host))
        throw new Problem('precondition-failed', `the host is now called ${host.name}: read it again, then repeat the request`);
      if (host.name === name) return;
      const holder = (await records.findByName(name)).find((other) => other.id !== id);
      if (holder !== undefined) throw nameTaken('host', name, holder);
      const registered = host.registeredName ?? host.name;
      await records.rename(id, name, registered === name ? null : registered);
      const detail = { before: host.name, after: name, registeredName: registered };
      await audit(connection, requester, this.#clock.now(), [{ action: 'host.renamed', object: id, detail }]);
    });
  }

  list(filter: HostFilter, page: PageByTime | PageByName): Promise<PageResult<HostWithDevices | DamagedItem, PageByTime | PageByName>> {
    const hosts = new HostQueries(this.#store.reader);
    return readMarkedPage(page, {
      read: (chunkPage) => hosts.list(filter, chunkPage),
      positionOfUndecodable: page.sort === 'name' ? undecodablePosition.byName : undecodablePosition.byTime,
      positionOf: ({ id, name, registeredAt }) => (page.sort === 'name' ? { name } : { time: registeredAt, key: id }),
    });
  }
}
