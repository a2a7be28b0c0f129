// Lists and exports the audit trail. An export can be verified without the service.

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

/** An event, or the number of an event whose row cannot be read. */
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
   * Exports the events after a number up to the current last one, in order, with the hashes and keys needed to verify them.
   * @param given Default: all events that are not pruned.
   * @throws {Problem} `pruned`, `invalid-value`.
   */
  async export(given: number | undefined): Promise<{ readonly start: ExportHeader; readonly events: AsyncGenerator<ExportedEvent, void> }> {
    const { number: until, prunedThrough } = await new AuditRecords(this.#store.readConnection).head();
    const after = given ?? prunedThrough;
    checkNotPruned(after, prunedThrough);
    if (after > until) throw invalidQuery('after', `expected ${until} or less (the number of the last event), received ${after}`);
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
      // `until` in the first line stays as it is, so that a verifier finds events that are missing at the end.
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
    throw new Problem('pruned', `events up to ${prunedThrough} were pruned: request events after ${prunedThrough}`);
}
