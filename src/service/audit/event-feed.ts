// Followers of the event stream. They read the audit trail whenever the feed notifies them of new events.

import type { AuditRecord } from '../audit-events/repository.ts';
import { AuditRecords } from '../audit-events/repository.ts';
import type { Store } from '../database/store.ts';
import { UndecodableRow } from '../database/undecodable-row.ts';
import { Problem } from '../problem.ts';
import { checkNotPruned } from './audit-trail.ts';
import { AuditQueries, numberOf } from './queries.ts';

/** Event types: the part of an action before the dot. */
export const eventTypes = [
  'load',
  'rollout',
  'device',
  'host',
  'group',
  'channel',
  'assignment',
  'program',
  'build',
  'patch-set',
  'key',
  'user',
  'signing-key',
  'publisher-key',
  'signature-policy',
  'webhook',
  'audit',
] as const;
export type EventType = (typeof eventTypes)[number];

/** Events read at once. */
const batchSize = 500;
/** Maximum number of followers: each reads the database on every notification. */
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

  /** Number of followers. */
  get followers(): number {
    return this.#followers.size;
  }

  /** @throws {Problem} `pruned` if events after a number were pruned. Events after 0 are those that exist. */
  async checkAvailable(after: number): Promise<void> {
    if (after > 0) checkNotPruned(after, (await new AuditRecords(this.#store.readConnection).head()).prunedThrough);
  }

  /** Returns the number of the last event, after which only new events follow. */
  lastNumber(): Promise<number> {
    return new AuditRecords(this.#store.readConnection).lastNumber();
  }

  /**
   * Yields the events of these types after a number, in order, and then new events, until the signal is aborted or the feed is closed. Events that
   * cannot be decoded are skipped. A follower counts from this call on, even before it reads.
   * @throws {Problem} `busy` if the limit of followers is reached.
   */
  follow(after: number, types: readonly EventType[], signal: AbortSignal): AsyncGenerator<AuditRecord, void> {
    const follower: Follower = { hasEnded: this.#closed || signal.aborted, wake: () => {} };
    if (!follower.hasEnded) this.#add(follower, signal);
    return this.#read(follower, after, types);
  }

  /** Wakes all followers, because there may be new events. */
  notify(): void {
    for (const { wake } of this.#followers) wake();
  }

  /** Ends every follower's stream; later streams end at once. */
  close(): void {
    this.#closed = true;
    for (const follower of this.#followers) this.#end(follower);
  }

  #add(follower: Follower, signal: AbortSignal): void {
    if (this.#followers.size >= followerLimit)
      throw new Problem('busy', `limit reached: ${followerLimit} clients follow the events. Close an unused stream, or poll GET /v1/audit`);
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
        // Created before the read, so that a notification during the read is not lost.
        const news = new Promise<void>((resolve) => {
          follower.wake = resolve;
        });
        // Every event up to this one is read below, or is of another type and need not be read again.
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
