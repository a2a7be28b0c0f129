// Checkpoints: what the audit trail is at a time, signed, and proofs that an event is in it and that it has only grown since.

import { setTimeout as delay } from 'node:timers/promises';
import { writeCheckpoint } from '../../proof/checkpoint.ts';
import { computeRoot, consistencyProof, type Hash, inclusionProof, isSameHash, type ReadSubtree } from '../../proof/merkle-tree.ts';
import { AuditRecords } from '../audit-events/repository.ts';
import { checkLink } from '../database/audit-chain.ts';
import type { DamagedItem } from '../database/damaged-rows.ts';
import type { PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { RecurringJob } from '../database/recurring-job.ts';
import type { Store } from '../database/store.ts';
import { UndecodableRow } from '../database/undecodable-row.ts';
import { invalidQuery, Problem } from '../problem.ts';
import type { SigningKeys } from '../signing-keys/signing-keys.ts';
import { CheckpointQueries } from './checkpoint-queries.ts';
import type { CheckpointRecord } from './checkpoint-repository.ts';
import { CheckpointRecords } from './checkpoint-repository.ts';
import { storeCompleteTiles, subtreeReader } from './merkle-tiles.ts';
import { AuditQueries, numberOf } from './queries.ts';

/** How often a checkpoint of what is new is signed, in milliseconds. */
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

export class Checkpoints {
  readonly #store: Store;
  readonly #queries: CheckpointQueries;
  readonly #signingKeys: SigningKeys;
  /** Tiles are made by one at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Why nothing is signed any more. */
  #broken: string | null = null;

  constructor(store: Store, signingKeys: SigningKeys) {
    this.#store = store;
    this.#queries = new CheckpointQueries(store.reader);
    this.#signingKeys = signingKeys;
  }

  /** Names the trail, in each of its checkpoints. */
  get origin(): string {
    return this.#signingKeys.origin;
  }

  /** Why the trail is not what the service wrote, as it was last found when a checkpoint was to be signed; null where nothing was found. */
  get fault(): string | null {
    return this.#broken;
  }

  /** Has checkpoints made from now on; once in the whole installation. */
  createPeriodically(): RecurringJob {
    return this.#store.scheduleJob('checkpoints', interval, async () => {
      await this.create();
    });
  }

  /**
   * A checkpoint of all events that there are: a new one, or the newest where there was none since. The events since that one are looked at
   * before: the service signs no trail but the one that it has written.
   * @throws {Problem} `trail-broken`.
   */
  create(): Promise<{ readonly checkpoint: CheckpointRecord; readonly isNew: boolean }> {
    return this.#inTurn(async () => {
      const { reader, readConnection } = this.#store;
      const newest = await this.#queries.newest();
      const head = await new AuditRecords(readConnection).head();
      if (newest?.size === head.number) return { checkpoint: newest, isNew: false };
      this.#broken = await this.#faultOf(newest, head.number);
      if (this.#broken !== null) throw new Problem('trail-broken', `${this.#broken}: nothing is signed; patchbay audit verify tells more`);
      await storeCompleteTiles(this.#store, head.number);
      const read = subtreeReader(reader);
      if (newest !== null && !isSameHash(await computeRoot(read, newest.size), newest.root)) {
        this.#broken = `the audit trail is not the one of the checkpoint of ${newest.at.toISOString()} over ${newest.size} events any more`;
        throw new Problem('trail-broken', `${this.#broken}: nothing is signed; patchbay audit verify tells more`);
      }
      const root = await computeRoot(read, head.number);
      return { checkpoint: await this.#sign(head.number, root), isNew: true };
    });
  }

  /** @throws {Problem} `not-found`. */
  async find(size: number): Promise<CheckpointRecord> {
    const checkpoint = await new CheckpointRecords(this.#store.readConnection).find(size);
    if (checkpoint === null)
      throw new Problem('not-found', `no checkpoint of ${size} events exists: GET /v1/audit/checkpoints lists the checkpoints`);
    return checkpoint;
  }

  list(page: PageByTime<number>): Promise<PageResult<CheckpointRecord | DamagedItem, PageByTime<number>>> {
    return readMarkedPage(page, {
      read: (wanted) => this.#queries.list(wanted),
      positionOf: ({ at, size }) => ({ time: at, key: size }),
      positionOfUndecodable: undecodablePosition.byTimeAndNumber,
    });
  }

  /** Proves that an event is in a checkpoint, also one that has been pruned since. @throws {Problem} `invalid-value`. */
  async proveInclusion({ size }: CheckpointRecord, event: number): Promise<Proof> {
    if (event < 1 || event > size) throw invalidQuery('event', `the checkpoint has the events from 1 to ${size}`);
    const read = await this.reader(size);
    return { kind: 'inclusion', event, hash: await read(0, event - 1), hashes: await inclusionProof(read, event - 1, size) };
  }

  /** Proves that a checkpoint begins with all that an earlier one had. @throws {Problem} `invalid-value`. */
  async proveConsistency({ size }: CheckpointRecord, from: number): Promise<Proof> {
    if (from < 1 || from > size)
      throw invalidQuery('from', `the checkpoint has the events from 1 to ${size}: ask from the size of one before it`);
    const read = await this.reader(size);
    return { kind: 'consistency', from, fromRoot: await computeRoot(read, from), hashes: await consistencyProof(read, from, size) };
  }

  /** Reads subtrees of the tree over the first `size` events. */
  reader(size: number): Promise<ReadSubtree> {
    return this.#inTurn(async () => {
      await storeCompleteTiles(this.#store, size);
      return subtreeReader(this.#store.reader);
    });
  }

  /** Why the events after a checkpoint are not what the service wrote; null where they are. */
  async #faultOf(checkpoint: CheckpointRecord | null, newest: number): Promise<string | null> {
    const { reader } = this.#store;
    const trail = new AuditQueries(reader);
    let last = checkpoint?.size ?? 0;
    if (newest < last) return `the audit trail ends with event ${newest}, and a checkpoint was signed of ${last}`;
    let previous: Hash = last === 0 ? new Uint8Array() : await subtreeReader(reader)(0, last - 1);
    while (last < newest) {
      const events = (await trail.after(last, batchSize)).filter((event) => numberOf(event) <= newest);
      for (const event of events) {
        if (event instanceof UndecodableRow) return `event ${event.id} of the audit trail is not as it was written (${event.fault})`;
        const fault = checkLink(event, { number: last, hash: previous });
        if (fault !== null) return fault;
        last = event.number;
        previous = event.hash;
      }
      if (events.length === 0) return `event ${last + 1} of the audit trail is missing`;
      // Others are to have their turn in between.
      await delay(0);
    }
    return null;
  }

  #sign(size: number, root: Hash): Promise<CheckpointRecord> {
    return this.#store.transaction(async (connection) => {
      // Another replica of the service may have signed the same meanwhile.
      const known = await new CheckpointRecords(connection).find(size);
      if (known !== null) return known;
      await this.#signingKeys.refresh(connection);
      const at = new Date();
      const key = this.#signingKeys.active;
      const checkpoint = { origin: this.origin, size, root, at: at.toISOString() };
      const note = writeCheckpoint(checkpoint, key, (message) => this.#signingKeys.sign(message));
      return new CheckpointRecords(connection).create({ size, root, at, keyId: key.keyId, note });
    });
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }
}
