// Who follows the events: they are read from the audit trail, and the feed tells its followers when there may be new ones.

import type { AuditRecord } from '../audit-events/repository.ts';
import { AuditRecords } from '../audit-events/repository.ts';
import type { Store } from '../database/store.ts';
import { UndecodableRow } from '../database/undecodable-row.ts';
import { Problem } from '../problem.ts';
import { checkNotPruned } from './audit-trail.ts';
import { AuditQueries, numberOf } from './queries.ts';

/** What events are about: the part of an action before the dot. */
export const eventTypes = [
  'load',
  'rollout',
  'device',
  'host',
  'program',
  'build',
  'key',
  'signing-key',
  'publisher-key',
  'signature-policy',
  'audit',
] as const;
export type EventType = (typeof eventTypes)[number];

/** Events read at once. */
const batchSize = 500;
/** Each follower reads the database whenever there may be news. */
const followerLimit = 100;

type Follower = { hasEnded: boolean; wake: () => void };

export class EventFeed {
  readonly #store: Store;
  readonly #queries: AuditQueries;
  readonly #followers = new Set<Follower>();
  #closed = false;

  constructor(store: Store) {
    this.#store = store;
    this.#queries = new AuditQueries(store.reader);
  }

  /** How many follow the events. */
  get followers(): number {
    return this.#followers.size;
  }

  /** @throws {Problem} `pruned` where events after a number are not there any more; after 0 are those that there are. */
  async checkAvailable(after: number): Promise<void> {
    if (after > 0) checkNotPruned(after, (await new AuditRecords(this.#store.readConnection).head()).prunedThrough);
  }

  /** The number of the newest event; whoever follows after it gets those to come. */
  lastNumber(): Promise<number> {
    return new AuditRecords(this.#store.readConnection).lastNumber();
  }

  /**
   * The events of these types after a number, in order, and then those to come, until the signal is aborted or the feed is closed. An event
   * that cannot be decoded is left out: it must not end the stream.
   * Whoever follows counts from this call on, whether they read or not.
   * @throws {Problem} `busy` when there are as many followers as may be.
   */
  follow(after: number, types: readonly EventType[], signal: AbortSignal): AsyncGenerator<AuditRecord, void> {
    const follower: Follower = { hasEnded: this.#closed || signal.aborted, wake: () => {} };
    if (!follower.hasEnded) this.#add(follower, signal);
    return this.#read(follower, after, types);
  }

  /** There may be new events. */
  notify(): void {
    for (const { wake } of this.#followers) wake();
  }

  /** Ends what is sent to every follower; there will be no other. */
  close(): void {
    this.#closed = true;
    for (const follower of this.#followers) this.#end(follower);
  }

  #add(follower: Follower, signal: AbortSignal): void {
    if (this.#followers.size >= followerLimit)
      throw new Problem(
        'busy',
        `${followerLimit} clients follow the events, as many as may: end a stream that nobody needs and try again, or read GET /v1/audit`,
      );
    this.#followers.add(follower);
    signal.addEventListener('abort', () => this.#end(follower), { once: true });
  }

  #end(follower: Follower): void {
    this.#followers.delete(follower);
    follower.hasEnded = true;
    follower.wake();
  }

  async *#read(follower: Follower, from: number, types: readonly EventType[]): AsyncGenerator<AuditRecord, void> {
    let after = from;
    try {
      while (!follower.hasEnded) {
        // Before the database is read: what is announced meanwhile may be too late for that.
        const news = new Promise<void>((resolve) => {
          follower.wake = resolve;
        });
        // Every event up to this one is either read below or of another type, which is not looked at again.
        const newest = await this.lastNumber();
        const events = newest > after ? await this.#queries.listAfter(after, types, batchSize) : [];
        for (const event of events) {
          if (follower.hasEnded) return;
          after = numberOf(event);
          if (!(event instanceof UndecodableRow)) yield event;
        }
        if (events.length === batchSize) continue;
        after = Math.max(after, newest);
        await news;
      }
    } finally {
      this.#end(follower);
    }
  }
}
