// Signed checkpoints of the audit trail, with inclusion proofs for events and consistency proofs between checkpoints.

import { setTimeout as delay } from 'node:timers/promises';
import { writeCheckpoint } from '../../proof/checkpoint.ts';
import { computeRoot, consistencyProof, type Hash, inclusionProof, isSameHash, type ReadSubtree } from '../../proof/merkle-tree.ts';
import { AuditRecords } from '../audit-events/repository.ts';
import type { Clock } from '../clock/service-clock.ts';
import { checkLink } from '../database/audit-chain.ts';
import type { DamagedItem } from '../database/damaged-rows.ts';
import type { PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { RecurringJob } from '../database/recurring-job.ts';
import type { Store } from '../database/store.ts';
import { UndecodableRow } from '../database/undecodable-row.ts';
import { invalidQuery, notFound, Problem } from '../problem.ts';
import type { SigningKeys } from '../signing-keys/signing-keys.ts';
import { CheckpointQueries } from './checkpoint-queries.ts';
import type { CheckpointRecord } from './checkpoint-repository.ts';
import { CheckpointRecords } from './checkpoint-repository.ts';
import { storeCompleteTiles, subtreeReader } from './merkle-tiles.ts';
import { AuditQueries, numberOf } from './queries.ts';

/** Interval of checkpoints while there are new events, in milliseconds. */
const interval = 60_000;
/** Events read at once. */
const batchSize = 500;

export type Proof =
  | {
      readonly kind: 'inclusion';
      readonly event: number;
      readonly hash: Hash;
      readonly hashes: readonly Hash[];
    }
  | { readonly kind: 'consistency'; readonly from: number; readonly fromRoot: Hash; readonly hashes: readonly Hash[] };

type Uses = { readonly store: Store; readonly clock: Clock; readonly signingKeys: SigningKeys };

export class Checkpoints {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #queries: CheckpointQueries;
  readonly #signingKeys: SigningKeys;
  /** Serializes the creation of tiles. */
  #queue: Promise<unknown> = Promise.resolve();
  #fault: string | null = null;

  constructor({ store, clock, signingKeys }: Uses) {
    this.#store = store;
    this.#clock = clock;
    this.#queries = new CheckpointQueries(store.reader);
    this.#signingKeys = signingKeys;
  }

  /** Identifies the trail in its checkpoints. */
  get origin(): string {
    return this.#signingKeys.origin;
  }

  /** Why the trail is broken, found by the last check before a signature; null if it is intact. */
  get fault(): string | null {
    return this.#fault;
  }

  /** Starts creating checkpoints periodically, on one replica at a time. */
  createPeriodically(): RecurringJob {
    return this.#store.scheduleJob('checkpoints', interval, async () => {
      await this.create();
    });
  }

  /**
   * Creates a checkpoint of all events, or returns the newest one if there are no events since. First verifies the events since the newest checkpoint,
   * so that the service signs only what it has written.
   * @throws {Problem} `trail-broken`.
   */
  create(): Promise<{ readonly checkpoint: CheckpointRecord; readonly isNew: boolean }> {
    return this.#serialize(async () => {
      const { reader, readConnection } = this.#store;
      const newest = await this.#queries.newest();
      const head = await new AuditRecords(readConnection).head();
      if (newest?.size === head.number) return { checkpoint: newest, isNew: false };
      this.#fault = await this.#findFault(newest, head.number);
      if (this.#fault !== null) throw brokenTrail(this.#fault);
      await storeCompleteTiles(this.#store, head.number);
      const read = subtreeReader(reader);
      if (newest !== null && !isSameHash(await computeRoot(read, newest.size), newest.root)) {
        this.#fault = `the audit trail does not match the checkpoint of ${newest.at.toISOString()} over ${newest.size} events`;
        throw brokenTrail(this.#fault);
      }
      const root = await computeRoot(read, head.number);
      return { checkpoint: await this.#sign(head.number, root), isNew: true };
    });
  }

  /** @throws {Problem} `not-found`. */
  async find(size: number): Promise<CheckpointRecord> {
    const checkpoint = await new CheckpointRecords(this.#store.readConnection).find(size);
    if (checkpoint === null) throw notFound('checkpoint of', `${size} events`);
    return checkpoint;
  }

  list(page: PageByTime<number>): Promise<PageResult<CheckpointRecord | DamagedItem, PageByTime<number>>> {
    return readMarkedPage(page, {
      read: (wanted) => this.#queries.list(wanted),
      positionOf: ({ at, size }) => ({ time: at, key: size }),
      positionOfUndecodable: undecodablePosition.byTimeAndNumber,
    });
  }

  /** Proves that a checkpoint contains an event, even a pruned one. @throws {Problem} `invalid-value`. */
  async proveInclusion({ size }: CheckpointRecord, event: number): Promise<Proof> {
    if (event < 1 || event > size) throw invalidQuery('event', `expected an event of the checkpoint, 1 to ${size}; received ${event}`);
    const read = await this.reader(size);
    return { kind: 'inclusion', event, hash: await read(0, event - 1), hashes: await inclusionProof(read, event - 1, size) };
  }

  /** Proves that a checkpoint contains all events of an earlier one unchanged. @throws {Problem} `invalid-value`. */
  async proveConsistency({ size }: CheckpointRecord, from: number): Promise<Proof> {
    if (from < 1 || from > size) throw invalidQuery('from', `expected the size of an earlier checkpoint, 1 to ${size}; received ${from}`);
    const read = await this.reader(size);
    return { kind: 'consistency', from, fromRoot: await computeRoot(read, from), hashes: await consistencyProof(read, from, size) };
  }

  /** Returns a reader for the tree over the first `size` events. */
  reader(size: number): Promise<ReadSubtree> {
    return this.#serialize(async () => {
      await storeCompleteTiles(this.#store, size);
      return subtreeReader(this.#store.reader);
    });
  }

  /** Returns why the events after a checkpoint are not what the service wrote; null if they are. */
  async #findFault(checkpoint: CheckpointRecord | null, newest: number): Promise<string | null> {
    const { reader } = this.#store;
    const trail = new AuditQueries(reader);
    let last = checkpoint?.size ?? 0;
    if (newest < last) return `the audit trail ends at event ${newest}, before the last checkpoint, over ${last} events`;
    let previous: Hash = last === 0 ? new Uint8Array() : await subtreeReader(reader)(0, last - 1);
    while (last < newest) {
      const events = (await trail.after(last, batchSize)).filter((event) => numberOf(event) <= newest);
      for (const event of events) {
        if (event instanceof UndecodableRow) return `event ${event.id} of the audit trail cannot be read: ${event.fault}`;
        const fault = checkLink(event, { number: last, hash: previous });
        if (fault !== null) return fault;
        last = event.number;
        previous = event.hash;
      }
      if (events.length === 0) return `event ${last + 1} of the audit trail is missing`;
      // Yields to the event loop.
      await delay(0);
    }
    return null;
  }

  #sign(size: number, root: Hash): Promise<CheckpointRecord> {
    return this.#store.transaction(async (connection) => {
      // Another replica may have signed the same checkpoint in the meantime.
      const known = await new CheckpointRecords(connection).find(size);
      if (known !== null) return known;
      await this.#signingKeys.refresh(connection);
      const at = this.#clock.now();
      const key = this.#signingKeys.active;
      const checkpoint = { origin: this.origin, size, root, at: at.toISOString() };
      const note = writeCheckpoint(checkpoint, key, (message) => this.#signingKeys.sign(message));
      return new CheckpointRecords(connection).create({ size, root, at, keyId: key.keyId, note });
    });
  }

  #serialize<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => {});
    return result;
  }
}

const brokenTrail = (fault: string) =>
  new Problem('trail-broken', `${fault}: no checkpoint is signed. Run "patchbay audit verify" for details`);
