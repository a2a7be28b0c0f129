// Device hosts: who they are, and whether they are heard of.

import { digestOf } from '../../machine/digest.ts';
import type { DamagedItem } from '../database/damaged-rows.ts';
import type { PageByName, PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { unreadablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { Problem } from '../problem.ts';
import { equalsInConstantTime, slowDigest } from '../secrets.ts';
import { type HostFilter, HostQueries } from './queries.ts';
import type { Reachability } from './reachability.ts';
import type { HostWithDevices } from './repository.ts';
import { HostRecords } from './repository.ts';

const joinTokenPrefix = 'join-token:';

export class Hosts {
  readonly #store: Store;
  readonly #reachability: Reachability;
  readonly #joinTokenDigest: string;
  /** What is kept of the join token with the hosts that have registered with it. */
  readonly joinTokenCredential: string;

  /** @param joinToken What a host must show to register. */
  constructor(store: Store, reachability: Reachability, joinToken: string) {
    this.#store = store;
    this.#reachability = reachability;
    this.#joinTokenDigest = digestOf(joinToken);
    this.joinTokenCredential = `${joinTokenPrefix}${slowDigest(joinToken, 'patchbay join token')}`;
  }

  /** Lets those register who have the join token. @throws {Problem} `unauthenticated`. */
  checkJoinToken(token: string | null): void {
    if (token === null || !equalsInConstantTime(digestOf(token), this.#joinTokenDigest)) {
      throw new Problem(
        'unauthenticated',
        'a host registers with the join token, as `Authorization: Bearer TOKEN`: the service keeps it in the file join-token beside its database; or with a key of the role agent',
      );
    }
  }

  /** The host whose token this is; it has been heard of. @throws {Problem} `unauthenticated`. */
  async authenticate(token: string | null): Promise<string> {
    // Found by its digest, of which an attacker cannot choose a prefix: the time that it takes says nothing of the token.
    const host = token === null ? null : await new HostRecords(this.#store.readConnection).findByToken(digestOf(token));
    // A host that registered with a join token which has been replaced since registers again, with the new one.
    const isOutdated = host?.credential?.startsWith(joinTokenPrefix) && host.credential !== this.joinTokenCredential;
    if (host === null || isOutdated) {
      throw new Problem(
        'unauthenticated',
        'a host shows the token that it got when it last registered, as `Authorization: Bearer TOKEN`: register again for a new one',
      );
    }
    await this.#reachability.recordContact(host.id, host.isUnreachable);
    return host.id;
  }

  /** How often a host is to say that it is there, in milliseconds, where it says nothing else. */
  get heartbeatInterval(): number {
    return this.#reachability.heartbeatInterval;
  }

  list(filter: HostFilter, page: PageByTime | PageByName): Promise<PageResult<HostWithDevices | DamagedItem, PageByTime | PageByName>> {
    const hosts = new HostQueries(this.#store.reader);
    return readMarkedPage(page, {
      read: (wanted) => hosts.list(filter, wanted),
      positionOfUnreadable: page.sort === 'name' ? unreadablePosition.byName : unreadablePosition.byTime,
      positionOf: ({ id, name, registeredAt }) => (page.sort === 'name' ? { name } : { time: registeredAt, key: id }),
    });
  }
}
