// Verifies exports of the audit trail. An export consists of lines of JSON: a header, and then one event per line.

import { z } from 'zod';
import { hashEvent } from './audit-event.ts';
import type { Json } from './canonical-json.ts';
import { isCheckpointSignedBy, readCheckpoint } from './checkpoint.ts';
import { type PublicKey, tryReadPublicKey } from './ed25519.ts';
import { endorsementType, resolveTrustedKeys } from './endorsement.ts';
import { Envelope } from './envelope.ts';
import { formatHash, isSameHash, MerkleTreeBuilder, parseHash } from './merkle-tree.ts';

const HashText = z.string().regex(/^sha256:[0-9a-f]{64}$/);

/** The header of an export: its first line. */
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

/** The result of a verification. */
export type Verification =
  | {
      readonly kind: 'intact';
      /** Range of the events in the export. All are linked. */
      readonly first: number;
      readonly last: number;
      /** The newest checkpoint that the events match. Events after it are linked, but not signed. Null: no checkpoint was given. */
      readonly checkpoint: { readonly size: number; readonly at: string; readonly keyId: string } | null;
    }
  /** The first corrupt event, or the range that contains one. */
  | { readonly kind: 'corrupt'; readonly first: number; readonly last: number; readonly reason: string }
  /** The header, a checkpoint or a key is invalid, so that nothing can be verified. */
  | { readonly kind: 'unverifiable'; readonly reason: string };

export type VerificationRequest = {
  /** Checkpoints as signed notes. */
  readonly checkpoints: readonly string[];
  /** Trusted keys. The keys that they endorse in the trail are trusted as well. */
  readonly keys: readonly PublicKey[];
  /** Whether to accept an export that starts after the first event although no event records a pruning. */
  readonly isPartial: boolean;
};

/** Verifies line by line that the events of an export are linked and match the checkpoints. Stops at the first corrupt event. */
export async function verifyExport(lines: AsyncIterable<string>, request: VerificationRequest): Promise<Verification> {
  const checkpoints: SignedCheckpoint[] = [];
  for (const text of request.checkpoints) {
    const checkpoint = readCheckpoint(text);
    if (checkpoint === null)
      return { kind: 'unverifiable', reason: 'a given checkpoint is invalid: expected a signed note (c2sp.org/tlog-checkpoint)' };
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

const corrupt = (number: number, reason: string): Fault => ({ kind: 'corrupt', first: number, last: number, reason });

/** The state of a verification from the first line to the last. */
class Walk {
  /** By ascending size. */
  readonly #checkpoints: readonly SignedCheckpoint[];
  #start: ExportHeader | null = null;
  #tree = new MerkleTreeBuilder();
  #previous: string | null = null;
  /** Hash before `#previous`; undefined: unknown. */
  #beforePrevious: string | null | undefined;
  #at = '';
  /** Number of checkpoints that the tree has reached. */
  #reached = 0;
  readonly #prunings = new Set<number>();
  readonly #keys: { readonly key: PublicKey; readonly number: number; readonly endorsement: Envelope | null }[] = [];

  constructor(checkpoints: readonly SignedCheckpoint[]) {
    this.#checkpoints = checkpoints;
  }

  take(line: string): Fault | null {
    const content = tryParseJson(line);
    if (this.#start === null) return this.#begin(content);
    const expected = this.#tree.size + 1;
    const read = EventLine.safeParse(content);
    if (!read.success) return corrupt(expected, `expected an event, received ${JSON.stringify(content ?? line).slice(0, 200)}`);
    return this.#follow(read.data, expected);
  }

  #begin(content: unknown): Fault | null {
    const start = ExportHeader.safeParse(content);
    if (!start.success)
      return {
        kind: 'unverifiable',
        reason: 'the first line is not the header of an export: expected the output of `patchbay audit export`',
      };
    const { after, previous, subtrees } = start.data;
    try {
      this.#tree = new MerkleTreeBuilder(after, subtrees.map(parseHash));
    } catch (error) {
      if (error instanceof RangeError) return { kind: 'unverifiable', reason: `the header is inconsistent: ${error.message}` };
      throw error;
    }
    this.#start = start.data;
    this.#previous = previous;
    return this.#compareCheckpoints();
  }

  #follow(event: EventLine, expected: number): Fault | null {
    const { number, at, action, detail, previous, hash } = event;
    if (number > expected) return corrupt(expected, `the event is missing: the next event is ${number}`);
    if (number < expected)
      return corrupt(expected, `expected event ${expected}, received event ${number}: the event is duplicated or out of order`);
    if (previous !== this.#previous && previous === this.#beforePrevious)
      return corrupt(number - 1, `the event was inserted: event ${number} links to the event before it`);
    if (previous !== this.#previous)
      return corrupt(
        number,
        'the event is not linked to the previous event: one of them was changed, or an event between them was removed',
      );
    const actual = hashOf(event);
    if (actual !== hash) return corrupt(number, 'the content of the event does not match its hash: the event was changed');
    if (at < this.#at) return corrupt(number, `the time of the event (${at}) is earlier than that of the previous event (${this.#at})`);
    this.#tree.add(parseHash(hash));
    [this.#beforePrevious, this.#previous] = [this.#previous, hash];
    this.#at = at;
    if (action === 'signing-key.created') this.#recordKey(number, detail);
    if (action === 'audit.pruned') this.#prunings.add(PruningDetail.safeParse(detail).data?.through ?? 0);
    return this.#compareCheckpoints();
  }

  #recordKey(number: number, detail: Json): void {
    const read = KeyDetail.safeParse(detail);
    if (!read.success) return;
    const { publicKey, endorsement } = read.data;
    const key = tryReadPublicKey(publicKey);
    if (key === null) return;
    const { payload, ...signature } = endorsement ?? { payload: '', keyid: '', sig: '' };
    const envelope = endorsement === null ? null : { payloadType: endorsementType, payload, signatures: [signature] };
    this.#keys.push({ key, number, endorsement: envelope });
  }

  /** Compares the tree with the checkpoints of its size. */
  #compareCheckpoints(): Fault | null {
    for (
      let next = this.#checkpoints[this.#reached];
      next !== undefined && next.size <= this.#tree.size;
      next = this.#checkpoints[this.#reached]
    ) {
      if (next.size === this.#tree.size && !isSameHash(next.root, this.#tree.root)) {
        const first = Math.max(this.#checkpoints[this.#reached - 1]?.size ?? 0, this.#start?.after ?? 0) + 1;
        const reason = `the events are linked, but do not match the checkpoint of ${next.at}: an event and the hashes after it were changed`;
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
    if (last < until) return corrupt(last + 1, `the events from ${last + 1} to ${until} are missing: the export is truncated`);
    const newest = this.#checkpoints.at(-1);
    if (newest !== undefined && newest.size > last)
      return corrupt(last + 1, `the event is missing: the checkpoint of ${newest.at} covers ${newest.size} events`);
    if (after > 0 && !isPartial && !this.#prunings.has(after))
      return corrupt(after, 'the event is missing, and no event records that the trail was pruned up to it');
    const trusted = resolveTrustedKeys(keys, [...endorsements, ...this.#keys.flatMap(({ endorsement }) => endorsement ?? [])]);
    for (const checkpoint of this.#checkpoints) {
      const reason =
        checkpoint.size < after
          ? `the checkpoint of ${checkpoint.at} is older than the start of the export`
          : this.#faultOf(checkpoint, origin, trusted);
      if (reason !== null) return { kind: 'unverifiable', reason };
    }
    const signer = newest === undefined ? undefined : trusted.find((key) => isCheckpointSignedBy(newest, key));
    const checkpoint = newest === undefined || signer === undefined ? null : { size: newest.size, at: newest.at, keyId: signer.keyId };
    return { kind: 'intact', first: after + 1, last, checkpoint };
  }

  /** Returns why a checkpoint is not valid for the trail; null if it is. */
  #faultOf(checkpoint: SignedCheckpoint, origin: string, trusted: readonly PublicKey[]): string | null {
    const { at, size } = checkpoint;
    if (checkpoint.origin !== origin)
      return `the checkpoint of ${at} belongs to another trail: expected ${origin}, received ${checkpoint.origin}`;
    const signer = trusted.find((key) => isCheckpointSignedBy(checkpoint, key));
    if (signer === undefined) return `the checkpoint of ${at} is not signed by a trusted key or a key that a trusted key endorses`;
    const successor = this.#keys.find(({ number }, place) => number <= size && this.#keys[place - 1]?.key.keyId === signer.keyId);
    if (successor === undefined) return null;
    return `the checkpoint of ${at} is signed with the key ${signer.keyId}, which had been replaced before (event ${successor.number})`;
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

function tryParseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
