// Problems: why the service does not do what it was asked. A kind that programs can tell apart, and a sentence that says what to change.

import type { Diagnostic } from '../compiler/result.ts';

/** Every kind of problem; the rules know no HTTP, `http/problem-schemas.ts` gives each its status. */
const problemKinds = [
  'unauthenticated',
  'forbidden',
  'cross-origin',
  'not-found',
  'invalid-value',
  'version-exists',
  'name-taken',
  'no-host',
  'not-attached',
  'not-loaded',
  'stale-boot',
  'last-admin',
  'too-many-keys',
  'too-many-devices',
  'too-many-policies',
  'too-many-signatures',
  'not-queued',
  'nothing-to-roll-back',
  'already-installed',
  'rollout-conflict',
  'rollout-state',
  'too-many-rollouts',
  'precondition-failed',
  'trail-broken',
  'pruned',
  'image-pruned',
  'malformed-source',
  'not-webassembly',
  'unsupported-module',
  'too-costly',
  'busy',
  'too-many-requests',
  'overloaded',
  'database-unavailable',
] as const;
export type ProblemKind = (typeof problemKinds)[number];

/** A value of the request that is wrong: a JSON pointer into its body (RFC 6901), and what to change. */
export type InvalidValue = { readonly pointer: string; readonly detail: string };

export class Problem extends Error {
  override readonly name = 'Problem';
  readonly kind: ProblemKind;
  readonly invalidValues: readonly InvalidValue[];
  readonly diagnostics: readonly Diagnostic[];
  /** When it may be tried again, where that helps. */
  readonly retryAfterSeconds: number;

  constructor(
    kind: ProblemKind,
    detail: string,
    facts: {
      readonly invalidValues?: readonly InvalidValue[];
      readonly diagnostics?: readonly Diagnostic[];
      readonly retryAfterSeconds?: number;
    } = {},
  ) {
    super(detail);
    this.kind = kind;
    this.invalidValues = facts.invalidValues ?? [];
    this.diagnostics = facts.diagnostics ?? [];
    this.retryAfterSeconds = facts.retryAfterSeconds ?? 1;
  }
}

/** There is no such object. */
export function notFound(kind: string, name: string): Problem {
  return new Problem('not-found', `there is no ${kind} ${name}`);
}

/** The credential that a host registered with is not valid any more. */
export function registrationKeyRevoked(host: string): Problem {
  return new Problem('unauthenticated', `the key that the host ${host} registered with was revoked: register with another`);
}

/** One value of the request's body is wrong. */
export function invalidValue(pointer: string, detail: string): Problem {
  return new Problem('invalid-value', detail, { invalidValues: [{ pointer, detail }] });
}

/** One value of the request's query is wrong. */
export function invalidQuery(name: string, detail: string): Problem {
  return new Problem('invalid-value', detail, { invalidValues: [{ pointer: `query:${name}`, detail }] });
}
