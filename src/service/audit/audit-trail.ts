// The audit trail as it is read: page by page, or exported whole, for whoever checks it elsewhere.

import type { ExportHeader } from '../../proof/audit-export.ts';
import { Envelope } from '../../proof/envelope.ts';
import { completeSubtrees, formatHash } from '../../proof/merkle-tree.ts';
import type { AuditRecord } from '../audit-events/repository.ts';
import { AuditRecords } from '../audit-events/repository.ts';
import type { DamagedItem } from '../database/damaged-rows.ts';
import type { PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { UndecodableRow } from '../database/undecodable-row.ts';
import { invalidQuery, Problem } from '../problem.ts';
import { SigningKeyRecords } from '../signing-keys/repository.ts';
import type { Checkpoints } from './checkpoints.ts';
import { type AuditFilter, AuditQueries } from './queries.ts';

/** Events read at once. */
const batchSize = 500;

/** An event, or the number of one that the database cannot read any more. */
export type ExportedEvent = AuditRecord | { readonly number: number; readonly unreadable: string };

export class AuditTrail {
  readonly #store: Store;
  readonly #queries: AuditQueries;
  readonly #checkpoints: Checkpoints;

  constructor(store: Store, checkpoints: Checkpoints) {
    this.#store = store;
    this.#queries = new AuditQueries(store.reader);
    this.#checkpoints = checkpoints;
  }

  list(filter: AuditFilter, page: PageByTime<number>): Promise<PageResult<AuditRecord | DamagedItem, PageByTime<number>>> {
    return readMarkedPage(page, {
      read: (wanted) => this.#queries.list(filter, wanted),
      positionOfUndecodable: undecodablePosition.byTimeAndNumber,
      positionOf: ({ at, number }) => ({ time: at, key: number }),
      bytesOf: ({ detail }) => JSON.stringify(detail).length,
    });
  }

  /**
   * The events after a number that there are now, in their order, with what is needed to check them.
   * @param given Where it is not said, from the first that has not been pruned.
   * @throws {Problem} `pruned`, `invalid-value`.
   */
  async export(given: number | undefined): Promise<{ readonly start: ExportHeader; readonly events: AsyncGenerator<ExportedEvent, void> }> {
    const { number: until, prunedThrough } = await new AuditRecords(this.#store.readConnection).head();
    const after = given ?? prunedThrough;
    checkNotPruned(after, prunedThrough);
    if (after > until) throw invalidQuery('after', `the newest event is ${until}: there is none after ${after}`);
    const read = await this.#checkpoints.reader(until);
    const subtrees: string[] = [];
    for (const { level, index } of completeSubtrees(after)) subtrees.push(formatHash(await read(level, index)));
    const previous = after === 0 ? null : formatHash(await read(0, after - 1));
    const endorsements = (await new SigningKeyRecords(this.#store.readConnection).all()).flatMap(({ endorsement }) =>
      endorsement === null ? [] : [Envelope.parse(endorsement)],
    );
    const start = { origin: this.#checkpoints.origin, after, until, previous, endorsements, subtrees };
    return { start, events: this.#events(after, until) };
  }

  async *#events(after: number, until: number): AsyncGenerator<ExportedEvent, void> {
    for (let last = after; last < until; ) {
      const found = await this.#queries.after(last, Math.min(batchSize, until - last));
      const events = found.map(toExportedEvent);
      // Those that are missing are for whoever checks the export to find; it is not to seem shorter because of them.
      if (events.length === 0) return;
      for (const event of events) if (event.number <= until) yield event;
      last = events.at(-1)?.number ?? until;
      checkNotPruned(last, (await new AuditRecords(this.#store.readConnection).head()).prunedThrough);
    }
  }
}

function toExportedEvent(event: AuditRecord | UndecodableRow): ExportedEvent {
  return event instanceof UndecodableRow ? { number: Number(event.id), unreadable: event.fault } : event;
}

/** @throws {Problem} `pruned`. */
export function checkNotPruned(after: number, prunedThrough: number): void {
  if (after < prunedThrough)
    throw new Problem('pruned', `the events up to ${prunedThrough} have been pruned: ask for those after ${prunedThrough}`);
}
