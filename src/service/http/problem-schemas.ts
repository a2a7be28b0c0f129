// Errors as the API tells them: problem details (RFC 9457) of stable types.

import { z } from 'zod';

export const problemMediaType = 'application/problem+json';

/** Every problem type: its HTTP status and its title. The type is `urn:patchbay:problem:` and the name. */
export const problemTypes = {
  'malformed-request': { status: 400, title: 'The request is not well-formed' },
  unauthenticated: { status: 401, title: 'The key or token is missing or unknown' },
  forbidden: { status: 403, title: 'The key or token does not allow it' },
  'cross-origin': { status: 403, title: 'The request comes from a page of another origin' },
  'not-found': { status: 404, title: 'There is no such object' },
  'method-not-allowed': { status: 405, title: 'The path has no such method' },
  'version-exists': { status: 409, title: 'The version exists with another content' },
  'name-taken': { status: 409, title: 'The name is taken' },
  'no-host': { status: 409, title: 'No device host has room' },
  'not-attached': { status: 409, title: 'The device has not come up' },
  'not-loaded': { status: 409, title: 'The module is not in the memory of the device' },
  'stale-boot': { status: 409, title: 'The host has registered again since' },
  'not-queued': { status: 409, title: 'The load does not wait any more' },
  'nothing-to-roll-back': { status: 409, title: 'A device has no version to go back to' },
  'already-installed': { status: 409, title: 'Every device has the version already' },
  'rollout-conflict': { status: 409, title: 'Another rollout has some of the devices' },
  'rollout-state': { status: 409, title: 'The rollout is not in a state for that' },
  'too-many-rollouts': { status: 409, title: 'There are as many open rollouts as may be' },
  'last-admin': { status: 409, title: 'No other key of the role admin is left' },
  'too-many-keys': { status: 409, title: 'There are as many keys as may be' },
  'too-many-devices': { status: 409, title: 'The host has as many devices as it may have' },
  'trail-broken': { status: 409, title: 'The audit trail is not as it was written' },
  'image-pruned': { status: 409, title: 'The image of the build has been pruned' },
  pruned: { status: 410, title: 'What was asked for has been pruned' },
  'too-many-policies': { status: 409, title: 'There are as many signature policies as may be' },
  'too-many-signatures': { status: 409, title: 'The build has as many signatures as may be' },
  'precondition-failed': { status: 412, title: 'The object has changed since it was read' },
  'too-large': { status: 413, title: 'The body is too large' },
  'unsupported-media-type': { status: 415, title: 'The body is of an unsupported media type' },
  'invalid-value': { status: 422, title: 'A value of the request is invalid' },
  'malformed-source': { status: 422, title: 'The source does not compile' },
  'not-webassembly': { status: 422, title: 'The body is not a WebAssembly module' },
  'unsupported-module': { status: 422, title: 'A device cannot run the module' },
  'too-costly': { status: 422, title: 'The source is too costly to compile' },
  busy: { status: 429, title: 'Try again later' },
  'too-many-requests': { status: 429, title: 'There were too many requests' },
  damaged: { status: 500, title: 'The stored object is damaged' },
  internal: { status: 500, title: 'The service failed' },
  overloaded: { status: 503, title: 'The service has too much to do' },
  'database-unavailable': { status: 503, title: 'The database cannot be used now' },
} as const;
export type ProblemType = keyof typeof problemTypes;

/** Before the name of each type. */
export const problemPrefix = 'urn:patchbay:problem:';
export const problemUri = (type: ProblemType) => `${problemPrefix}${type}`;

const InvalidValue = z
  .object({
    in: z.enum(['body', 'path', 'query', 'header']).describe('The part of the request that the value is in.'),
    pointer: z.string().describe('JSON pointer (RFC 6901) into that part.'),
    detail: z.string(),
  })
  .meta({ id: 'InvalidValue', examples: [{ in: 'body', pointer: '/version', detail: '"1.x" is not a semantic version' }] });

export const Diagnostic = z
  .object({
    severity: z.enum(['error', 'warning']),
    message: z.string(),
    file: z.string().nullable(),
    line: z.int().nullable().describe('From 1.'),
    column: z.int().nullable().describe('From 1.'),
  })
  .meta({ id: 'Diagnostic', description: 'One thing that the compiler found.' });

export const ProblemDetails = z
  .object({
    type: z
      .string()
      .describe(`Stable name of the problem: \`urn:patchbay:problem:\` and one of ${Object.keys(problemTypes).join(', ')}.`)
      .meta({ examples: [problemUri('not-loaded')] }),
    title: z.string().meta({ examples: [problemTypes['not-loaded'].title] }),
    status: z.int().meta({ examples: [problemTypes['not-loaded'].status] }),
    detail: z.string().describe('What happened, and what to change.'),
    instance: z.string().describe('Identifier of the request, as in the `x-request-id` header and the log.'),
    errors: z.array(InvalidValue).optional().describe('Each value that is invalid.'),
    diagnostics: z.array(Diagnostic).optional().describe('What the compiler found.'),
  })
  .meta({ id: 'Problem', description: 'Problem details (RFC 9457).' });
export type ProblemDetails = z.infer<typeof ProblemDetails>;

/** Problems that every route may answer. */
const everywhere = [
  'malformed-request',
  'unauthenticated',
  'forbidden',
  'cross-origin',
  'invalid-value',
  'too-many-requests',
  'damaged',
  'internal',
  'overloaded',
  'database-unavailable',
] as const satisfies ProblemType[];

/** The documented problem responses of a POST under /v1: it has a body, and may be repeated under a key. */
export function postProblems(...types: ProblemType[]) {
  return problems('too-large', 'unsupported-media-type', 'busy', ...types);
}

/** The documented problem responses of a route. */
export function problems(...types: ProblemType[]) {
  return onlyProblems(...everywhere, ...types);
}

/** The documented problem responses of a route that is exempt from keys and limits. */
export function onlyProblems(...types: ProblemType[]) {
  const byStatus = Map.groupBy<number, ProblemType>(types, (type) => problemTypes[type].status);
  return Object.fromEntries(
    [...byStatus].map(([status, some]) => [
      status,
      {
        description: [...new Set(some)].map((type) => problemTypes[type].title).join('; '),
        content: { [problemMediaType]: { schema: ProblemDetails } },
      },
    ]),
  );
}
