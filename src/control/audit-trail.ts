// The audit trail as it is read: page by page, or exported whole, for whoever checks it elsewhere.

import type { ExportStart } from '../proof/audit-export.ts';
import { Envelope } from '../proof/envelope.ts';
import { hashText, wholeSubtrees } from '../proof/merkle-tree.ts';
import type { AuditFilter, AuditRecord } from '../store/records/audit.ts';
import type { PageByTime } from '../store/records/page.ts';
import type { Store } from '../store/store.ts';
import type { Checkpoints } from './checkpoints.ts';
import { type PageOf, readMarkedPage } from './context.ts';
import type { DamagedItem } from './damaged-rows.ts';
import { invalidQuery, Problem } from './problem.ts';

/** Events read at once. */
const batchSize = 500;

/** An event, or the number of one that the database cannot read any more. */
export type ExportedEvent = AuditRecord | { readonly number: number; readonly unreadable: string };

export class AuditTrail {
  readonly #store: Store;
  readonly #checkpoints: Checkpoints;

  constructor(store: Store, checkpoints: Checkpoints) {
    this.#store = store;
    this.#checkpoints = checkpoints;
  }

  list(filter: AuditFilter, page: PageByTime<number>): Promise<PageOf<AuditRecord | DamagedItem, PageByTime<number>>> {
    return readMarkedPage(page, {
      read: (wanted) => this.#store.records.audit.list(filter, wanted),
      readRowByRow: (wanted) => this.#store.records.audit.listRowByRow(filter, wanted),
      positionOf: ({ at, number }) => ({ time: at, key: number }),
      bytesOf: ({ detail }) => JSON.stringify(detail).length,
    });
  }

  /**
   * The events after a number that there are now, in their order, with what is needed to check them.
   * @param given Where it is not said, from the first that has not been pruned.
   * @throws {Problem} `pruned`, `invalid-value`.
   */
  async export(given: number | undefined): Promise<{ readonly start: ExportStart; readonly events: AsyncGenerator<ExportedEvent, void> }> {
    const { number: until, prunedThrough } = await this.#store.records.audit.head();
    const after = given ?? prunedThrough;
    checkNotPruned(after, prunedThrough);
    if (after > until) throw invalidQuery('after', `the newest event is ${until}: there is none after ${after}`);
    const read = await this.#checkpoints.reader(until);
    const subtrees: string[] = [];
    for (const { level, index } of wholeSubtrees(after)) subtrees.push(hashText(await read(level, index)));
    const previous = after === 0 ? null : hashText(await read(0, after - 1));
    const endorsements = (await this.#store.records.signingKeys.all()).flatMap(({ endorsement }) =>
      endorsement === null ? [] : [Envelope.parse(endorsement)],
    );
    const start = { origin: this.#checkpoints.origin, after, until, previous, endorsements, subtrees };
    return { start, events: this.#events(after, until) };
  }

  async *#events(after: number, until: number): AsyncGenerator<ExportedEvent, void> {
    for (let last = after; last < until; ) {
      const events = await this.#batch(last, Math.min(batchSize, until - last));
      // Those that are missing are for whoever checks the export to find; it is not to seem shorter because of them.
      if (events.length === 0) return;
      for (const event of events) if (event.number <= until) yield event;
      last = events.at(-1)?.number ?? until;
      checkNotPruned(last, (await this.#store.records.audit.head()).prunedThrough);
    }
  }

  /** Where somebody has written what is no event, the events beside it are still read. */
  async #batch(after: number, limit: number): Promise<ExportedEvent[]> {
    const { audit } = this.#store.records;
    try {
      return (await audit.after(after, limit)).map(readableOrMark);
    } catch (error) {
      if (limit > 1) {
        const first = await this.#batch(after, Math.ceil(limit / 2));
        const last = first.at(-1)?.number ?? after;
        return first.length < Math.ceil(limit / 2) ? first : [...first, ...(await this.#batch(last, Math.floor(limit / 2)))];
      }
      return [{ number: after + 1, unreadable: String(error).slice(0, 500) }];
    }
  }
}

/** A time that is none is read without an error, and cannot be told. */
function readableOrMark(event: AuditRecord): ExportedEvent {
  return Number.isNaN(event.at.getTime()) ? { number: event.number, unreadable: 'the time `at` is not one' } : event;
}

/** @throws {Problem} `pruned`. */
export function checkNotPruned(after: number, prunedThrough: number): void {
  if (after < prunedThrough)
    throw new Problem('pruned', `the events up to ${prunedThrough} have been pruned: ask for those after ${prunedThrough}`);
}
