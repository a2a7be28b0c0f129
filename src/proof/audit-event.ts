// Hashes events of the audit trail. Each hash covers the event and the previous hash, and is a leaf of the Merkle tree.

import { canonicalJson, isList, type Json, type JsonObject } from './canonical-json.ts';
import { formatHash, type Hash, leafHash } from './merkle-tree.ts';

/** The outcome of the action that an event records. */
export const auditOutcomes = ['succeeded', 'refused', 'failed'] as const;
export type AuditOutcome = (typeof auditOutcomes)[number];

/** The hashed form of an event: the members that the API and exports show, without its own hash. */
export type HashedEvent = {
  readonly number: number;
  /** RFC 3339, UTC, to the millisecond. */
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly object: string;
  readonly outcome: string;
  readonly request: string | null;
  readonly detail: Json;
  /** Hash of the previous event; null for the first event. */
  readonly previous: string | null;
};

/**
 * Returns the SHA-256 of a zero byte and the event's canonical JSON (RFC 8785). This is a leaf hash of RFC 6962, so that one hash is both a link of the
 * chain and a leaf of the tree.
 * @throws {TypeError} if JSON cannot represent the event.
 */
export function hashEvent(event: HashedEvent): Hash {
  return leafHash(canonicalEvent(event));
}

/** Returns the event's canonical JSON (RFC 8785). @throws {TypeError} if JSON cannot represent the event. */
export function canonicalEvent({ number, at, actor, action, object, outcome, request, detail, previous }: HashedEvent): string {
  return canonicalJson({ number, at, actor, action, object, outcome, request, detail, previous });
}

/** An event as stored in the database. */
export type StoredEvent = Omit<HashedEvent, 'at' | 'request' | 'previous'> & {
  readonly at: Date;
  /** Null or empty: no request caused the event. */
  readonly requestId: string | null;
  /** Empty for the first event. */
  readonly previous: Hash;
};

/** Converts a stored event to its hashed form. */
export function toHashedEvent({ number, at, actor, action, object, outcome, requestId, detail, previous }: StoredEvent): HashedEvent {
  const request = requestId === '' ? null : requestId;
  const link = previous.length === 0 ? null : formatHash(previous);
  return { number, at: at.toISOString(), actor, action, object, outcome, request, detail, previous: link };
}

/** Returns the object with unpaired surrogates, which databases cannot store, replaced by U+FFFD. */
export function toWellFormedJson(object: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(object).flatMap(([name, member]) => (member === undefined ? [] : [[name.toWellFormed(), wellFormedValue(member)]])),
  );
}

function wellFormedValue(value: Json): Json {
  if (typeof value === 'string') return value.toWellFormed();
  if (value === null || typeof value !== 'object') return value;
  return isList(value) ? value.map(wellFormedValue) : toWellFormedJson(value);
}
