// What of an event of the audit trail is hashed, and how: each hash covers the event and the hash before it, and is a leaf of the Merkle tree.

import { canonicalJson, isList, type Json, type JsonObject } from './canonical-json.ts';
import { formatHash, type Hash, leafHash } from './merkle-tree.ts';

/** How what an event tells of ended. */
export const auditOutcomes = ['succeeded', 'refused', 'failed'] as const;
export type AuditOutcome = (typeof auditOutcomes)[number];

/** An event as it is hashed: as the API and an export tell it, without its own hash. */
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
  /** Hash of the event before; null in the first. */
  readonly previous: string | null;
};

/**
 * SHA-256 of a zero byte and the event's canonical JSON (RFC 8785): the leaf of RFC 6962, so that one hash is a link of the chain and a leaf of the tree.
 * @throws {TypeError} for what JSON cannot say.
 */
export function hashEvent(event: HashedEvent): Hash {
  return leafHash(canonicalEvent(event));
}

/** The event's canonical JSON. @throws {TypeError} for what JSON cannot say. */
export function canonicalEvent({ number, at, actor, action, object, outcome, request, detail, previous }: HashedEvent): string {
  return canonicalJson({ number, at, actor, action, object, outcome, request, detail, previous });
}

/** An event as it is kept. */
export type StoredEvent = Omit<HashedEvent, 'at' | 'request' | 'previous'> & {
  readonly at: Date;
  /** Null or empty where it is of no request. */
  readonly requestId: string | null;
  /** Empty in the first. */
  readonly previous: Hash;
};

/** An event that is kept, as it is hashed and told. */
export function toHashedEvent({ number, at, actor, action, object, outcome, requestId, detail, previous }: StoredEvent): HashedEvent {
  const request = requestId === '' ? null : requestId;
  const link = previous.length === 0 ? null : formatHash(previous);
  return { number, at: at.toISOString(), actor, action, object, outcome, request, detail, previous: link };
}

/** The object as JSON can say it: halves of surrogate pairs, which no database keeps, become U+FFFD. */
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
