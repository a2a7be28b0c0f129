// Exports of the audit trail: lines of JSON, the first of which says where the export begins, and the others are its events; and whether one is true.

import { z } from 'zod';
import { hashEvent } from './audit-event.ts';
import type { Json } from './canonical-json.ts';
import { isCheckpointSignedBy, readCheckpoint } from './checkpoint.ts';
import { type PublicKey, tryReadPublicKey } from './ed25519.ts';
import { endorsementType, resolveTrustedKeys } from './endorsement.ts';
import { Envelope } from './envelope.ts';
import { formatHash, isSameHash, MerkleTreeBuilder, parseHash } from './merkle-tree.ts';

const HashText = z.string().regex(/^sha256:[0-9a-f]{64}$/);

/** The first line of an export. */
export const ExportHeader = z.object({
  origin: z.string().describe('Name of the audit trail, the same as in its checkpoints.'),
  after: z.int().nonnegative().describe('Number of the event before the first exported one. 0: the export starts with the first event.'),
  until: z.int().nonnegative().describe('Number of the last event in the export.'),
  previous: HashText.nullable().describe('Hash of the event `after`. Null if `after` is 0.'),
  endorsements: z
    .array(Envelope)
    .describe('Statements in which each signing key endorses the next one, including those whose events have been pruned.'),
  subtrees: z
    .array(HashText)
    .describe(
      'Roots of the complete Merkle subtrees over the events up to `after`, largest first. A verifier needs them to compute the root of a checkpoint.',
    ),
});
export type ExportHeader = z.infer<typeof ExportHeader>;

const EventLine = z.object({
  number: z.int(),
  at: z.string(),
  actor: z.string(),
  action: z.string(),
  object: z.string(),
  outcome: z.string(),
  request: z.string().nullable(),
  detail: z.json(),
  previous: HashText.nullable(),
  hash: HashText,
});
type EventLine = z.infer<typeof EventLine>;

const KeyDetail = z.object({
  keyId: z.string(),
  publicKey: z.string(),
  endorsement: z.object({ payload: z.string(), keyid: z.string(), sig: z.string() }).nullable(),
});
const PruningDetail = z.object({ through: z.int() });

/** What is known of an export. */
export type Verification =
  | {
      readonly kind: 'intact';
      /** The events that are there, all of them linked. */
      readonly first: number;
      readonly last: number;
      /** The newest checkpoint that they were held against; events after it are only linked. */
      readonly checkpoint: { readonly size: number; readonly at: string; readonly keyId: string } | null;
    }
  /** The first event that is not as it was written, or between which events there is one. */
  | { readonly kind: 'corrupt'; readonly first: number; readonly last: number; readonly reason: string }
  /** What is to prove it proves nothing. */
  | { readonly kind: 'unverifiable'; readonly reason: string };

export type VerificationRequest = {
  /** Notes of checkpoints. */
  readonly checkpoints: readonly string[];
  /** Keys that are trusted; those that they endorse in the trail are too. */
  readonly keys: readonly PublicKey[];
  /** Whether an export that begins later than the trail is taken as it is, also where no event tells of a pruning. */
  readonly isPartial: boolean;
};

/** Whether an export, line by line, is linked from its beginning to its end, and is what the checkpoints say. Stops at the first event that is bad. */
export async function verifyExport(lines: AsyncIterable<string>, request: VerificationRequest): Promise<Verification> {
  const checkpoints: SignedCheckpoint[] = [];
  for (const text of request.checkpoints) {
    const checkpoint = readCheckpoint(text);
    if (checkpoint === null)
      return { kind: 'unverifiable', reason: 'what is given as a checkpoint is none: it is a signed note of five lines' };
    checkpoints.push(checkpoint);
  }
  checkpoints.sort((left, right) => left.size - right.size);
  const walk = new Walk(checkpoints);
  for await (const line of lines) {
    if (line === '') continue;
    const fault = walk.take(line);
    if (fault !== null) return fault;
  }
  return walk.conclude(request);
}

type SignedCheckpoint = NonNullable<ReturnType<typeof readCheckpoint>>;
type Fault = Exclude<Verification, { kind: 'intact' }>;

const bad = (number: number, reason: string): Fault => ({ kind: 'corrupt', first: number, last: number, reason });

/** The walk along an export, from its first line to its last. */
class Walk {
  /** In the order of their sizes. */
  readonly #checkpoints: readonly SignedCheckpoint[];
  #start: ExportHeader | null = null;
  #tree = new MerkleTreeBuilder();
  #previous: string | null = null;
  /** Undefined as long as that is not known. */
  #beforePrevious: string | null | undefined;
  #at = '';
  /** Checkpoints that the tree has reached. */
  #reached = 0;
  readonly #prunings = new Set<number>();
  readonly #keys: { readonly key: PublicKey; readonly number: number; readonly endorsement: Envelope | null }[] = [];

  constructor(checkpoints: readonly SignedCheckpoint[]) {
    this.#checkpoints = checkpoints;
  }

  take(line: string): Fault | null {
    const content = parsed(line);
    if (this.#start === null) return this.#begin(content);
    const expected = this.#tree.size + 1;
    const read = EventLine.safeParse(content);
    if (!read.success) return bad(expected, `what stands in its place is no event: ${JSON.stringify(content ?? line).slice(0, 200)}`);
    return this.#follow(read.data, expected);
  }

  #begin(content: unknown): Fault | null {
    const start = ExportHeader.safeParse(content);
    if (!start.success)
      return {
        kind: 'unverifiable',
        reason: 'the first line does not say where the export begins: it is not one of `patchbay audit export`',
      };
    const { after, previous, subtrees } = start.data;
    try {
      this.#tree = new MerkleTreeBuilder(after, subtrees.map(parseHash));
    } catch (error) {
      if (error instanceof RangeError) return { kind: 'unverifiable', reason: `the first line contradicts itself: ${error.message}` };
      throw error;
    }
    this.#start = start.data;
    this.#previous = previous;
    return this.#compare();
  }

  #follow(event: EventLine, expected: number): Fault | null {
    const { number, at, action, detail, previous, hash } = event;
    if (number > expected) return bad(expected, `it is missing: the next that is there is ${number}`);
    if (number < expected) return bad(expected, `${number} stands in its place: it is there twice, or the order is another`);
    if (previous !== this.#previous && previous === this.#beforePrevious)
      return bad(number - 1, `it was not there when event ${number} was written, which follows the one before it: it has been inserted`);
    if (previous !== this.#previous)
      return bad(number, 'it is not linked to the event before it: one of them has been changed, or there was another between them');
    const actual = hashOf(event);
    if (actual !== hash) return bad(number, `its content is not what its hash says: it has been changed`);
    if (at < this.#at) return bad(number, `it is of ${at}, earlier than the event before it (${this.#at})`);
    this.#tree.add(parseHash(hash));
    [this.#beforePrevious, this.#previous] = [this.#previous, hash];
    this.#at = at;
    if (action === 'signing-key.created') this.#learnKey(number, detail);
    if (action === 'audit.pruned') this.#prunings.add(PruningDetail.safeParse(detail).data?.through ?? 0);
    return this.#compare();
  }

  #learnKey(number: number, detail: Json): void {
    const read = KeyDetail.safeParse(detail);
    if (!read.success) return;
    const { publicKey, endorsement } = read.data;
    const key = tryReadPublicKey(publicKey);
    if (key === null) return;
    const { payload, ...signature } = endorsement ?? { payload: '', keyid: '', sig: '' };
    const envelope = endorsement === null ? null : { payloadType: endorsementType, payload, signatures: [signature] };
    this.#keys.push({ key, number, endorsement: envelope });
  }

  /** Holds the tree against the checkpoints of its size. */
  #compare(): Fault | null {
    for (
      let next = this.#checkpoints[this.#reached];
      next !== undefined && next.size <= this.#tree.size;
      next = this.#checkpoints[this.#reached]
    ) {
      if (next.size === this.#tree.size && !isSameHash(next.root, this.#tree.root)) {
        const first = Math.max(this.#checkpoints[this.#reached - 1]?.size ?? 0, this.#start?.after ?? 0) + 1;
        const reason = `they are linked, and are not those that the checkpoint of ${next.at} was made of: one of them has been changed, and those after it to fit`;
        return { kind: 'corrupt', first: Math.min(first, next.size), last: next.size, reason };
      }
      this.#reached += 1;
    }
    return null;
  }

  conclude({ keys, isPartial }: VerificationRequest): Verification {
    if (this.#start === null) return { kind: 'unverifiable', reason: 'the export is empty' };
    const { after, until, origin, endorsements } = this.#start;
    const last = this.#tree.size;
    if (last < until) return bad(last + 1, `it is missing, and all up to ${until}: the export ends before its end`);
    const newest = this.#checkpoints.at(-1);
    if (newest !== undefined && newest.size > last)
      return bad(last + 1, `it is missing: the checkpoint of ${newest.at} has ${newest.size} events`);
    if (after > 0 && !isPartial && !this.#prunings.has(after))
      return bad(after, 'it is missing, and no event tells that the trail was pruned up to it');
    const trusted = resolveTrustedKeys(keys, [...endorsements, ...this.#keys.flatMap(({ endorsement }) => endorsement ?? [])]);
    for (const checkpoint of this.#checkpoints) {
      const reason =
        checkpoint.size < after ? `the checkpoint of ${checkpoint.at} is of before the export` : this.#faultOf(checkpoint, origin, trusted);
      if (reason !== null) return { kind: 'unverifiable', reason };
    }
    const signer = newest === undefined ? undefined : trusted.find((key) => isCheckpointSignedBy(newest, key));
    const checkpoint = newest === undefined || signer === undefined ? null : { size: newest.size, at: newest.at, keyId: signer.keyId };
    return { kind: 'intact', first: after + 1, last, checkpoint };
  }

  /** Why a checkpoint proves nothing; null where it does. */
  #faultOf(checkpoint: SignedCheckpoint, origin: string, trusted: readonly PublicKey[]): string | null {
    const { at, size } = checkpoint;
    if (checkpoint.origin !== origin) return `the checkpoint of ${at} is of another trail (${checkpoint.origin}, not ${origin})`;
    const signer = trusted.find((key) => isCheckpointSignedBy(checkpoint, key));
    if (signer === undefined) return `the checkpoint of ${at} is not signed by a key that is trusted, or that such a key vouches for`;
    const successor = this.#keys.find(({ number }, place) => number <= size && this.#keys[place - 1]?.key.keyId === signer.keyId);
    if (successor === undefined) return null;
    return `the checkpoint of ${at} is signed by the key ${signer.keyId}, which had been replaced by then (event ${successor.number})`;
  }
}

function hashOf(event: EventLine): string | null {
  try {
    return formatHash(hashEvent(event));
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
