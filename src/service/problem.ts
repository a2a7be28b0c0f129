// Problems: the reasons for which the service rejects a request. Each has a kind for programs, and a sentence that says how to correct the request.

import type { Diagnostic } from '../compiler/result.ts';

/** Every kind of problem. The domain rules do not know HTTP: `http/problem-schemas.ts` defines the status of each. */
const problemKinds = [
  'unauthenticated',
  'forbidden',
  'out-of-scope',
  'cross-origin',
  'not-found',
  'invalid-value',
  'version-exists',
  'name-taken',
  'no-host',
  'decommissioned',
  'not-attached',
  'not-loaded',
  'stale-boot',
  'host-conflict',
  'devices-moving',
  'last-admin',
  'too-many-keys',
  'too-many-users',
  'too-many-devices',
  'too-many-policies',
  'too-many-groups',
  'group-in-use',
  'too-many-channels',
  'channel-in-use',
  'too-many-promotions',
  'too-many-assignments',
  'too-many-webhooks',
  'too-many-signatures',
  'not-queued',
  'not-draining',
  'unsupported-by-host',
  'nothing-to-roll-back',
  'nothing-to-retry',
  'all-unreachable',
  'windows-closed',
  'already-installed',
  'rollout-conflict',
  'rollout-state',
  'too-many-rollouts',
  'precondition-failed',
  'trail-broken',
  'pruned',
  'image-pruned',
  'build-yanked',
  'build-in-use',
  'malformed-source',
  'not-webassembly',
  'unsupported-module',
  'too-costly',
  'busy',
  'too-many-requests',
  'overloaded',
  'database-unavailable',
  'provider-unavailable',
] as const;
export type ProblemKind = (typeof problemKinds)[number];

/** An invalid value of a request: a JSON pointer into the body (RFC 6901) or `query:name` or `header:name`, and how to correct it. */
export type InvalidValue = { readonly pointer: string; readonly detail: string };

export class Problem extends Error {
  override readonly name = 'Problem';
  readonly kind: ProblemKind;
  readonly invalidValues: readonly InvalidValue[];
  readonly diagnostics: readonly Diagnostic[];
  /** Seconds after which the request can be retried, if its problem type is retryable. */
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

/** Returns the problem of an object that does not exist. */
export function notFound(kind: string, name: string, hint?: string): Problem {
  return new Problem('not-found', `${kind} ${name} does not exist${hint === undefined ? '' : `: ${hint}`}`);
}

/** Returns the problem of a host whose registration key was revoked. */
export function registrationKeyRevoked(host: string): Problem {
  return new Problem('unauthenticated', `the API key that host ${host} registered with was revoked: register with another key`);
}

/** Returns the problem of a change of a device or host that is decommissioned. */
export function decommissioned(kind: 'device' | 'host', name: string): Problem {
  return new Problem('decommissioned', `the ${kind} ${name} is decommissioned and can no longer be changed`);
}

/** Returns the problem of an agent whose host was decommissioned while it ran. */
export function hostDecommissioned(name: string): Problem {
  return new Problem(
    'decommissioned',
    `the host ${name} was decommissioned: stop this agent; if it starts again, it registers as a new host`,
  );
}

/** Returns the problem of a name that another object has, or that it registers with. */
export function nameTaken(kind: 'device' | 'host', name: string, holder: { readonly id: string; readonly name: string }): Problem {
  const reason =
    holder.name === name ? `is taken by the ${kind} ${holder.id}` : `is the one that the ${kind} ${holder.name} registers with`;
  const detail = `the name "${name}" ${reason}: choose another name`;
  return new Problem('name-taken', detail, { invalidValues: [{ pointer: '/name', detail }] });
}

/** Returns the problem of a request of an earlier boot of a host. */
export function staleBoot(host: string): Problem {
  return new Problem('stale-boot', `the host ${host} has registered with another boot id since then: register again`);
}

/** Returns the problem of one invalid value in the body. */
export function invalidValue(pointer: string, detail: string): Problem {
  return new Problem('invalid-value', detail, { invalidValues: [{ pointer, detail }] });
}

/** Returns the problem of one invalid query parameter. */
export function invalidQuery(name: string, detail: string): Problem {
  return new Problem('invalid-value', detail, { invalidValues: [{ pointer: `query:${name}`, detail }] });
}
