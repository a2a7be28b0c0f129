// The problem types of the API, as problem details (RFC 9457).

import { z } from 'zod';

export const problemMediaType = 'application/problem+json';

/** Every problem type, with its HTTP status and title. Its URI is `urn:patchbay:problem:` followed by the name. */
export const problemTypes = {
  'malformed-request': { status: 400, title: 'The request is malformed' },
  unauthenticated: { status: 401, title: 'The API key or token is missing or invalid' },
  forbidden: { status: 403, title: 'The API key or token does not permit this operation' },
  'cross-origin': { status: 403, title: 'Cross-origin requests are rejected' },
  'not-found': { status: 404, title: 'The object does not exist' },
  'method-not-allowed': { status: 405, title: 'The path does not support the method' },
  'version-exists': { status: 409, title: 'The version already exists with different content' },
  'name-taken': { status: 409, title: 'The name is already in use' },
  'no-host': { status: 409, title: 'No device host has capacity' },
  'not-attached': { status: 409, title: 'The device is not attached' },
  'not-loaded': { status: 409, title: 'The module is not loaded on the device' },
  'stale-boot': { status: 409, title: 'The host has registered again with a newer boot ID' },
  'not-queued': { status: 409, title: 'The load is no longer queued' },
  'nothing-to-roll-back': { status: 409, title: 'A device has no earlier version to roll back to' },
  'already-installed': { status: 409, title: 'Every device already has the version' },
  'rollout-conflict': { status: 409, title: 'Another rollout includes group of the devices' },
  'rollout-state': { status: 409, title: 'The state of the rollout does not allow the operation' },
  'too-many-rollouts': { status: 409, title: 'The limit of open rollouts is reached' },
  'last-admin': { status: 409, title: 'The last key with the role admin cannot be revoked' },
  'too-many-keys': { status: 409, title: 'The limit of API keys is reached' },
  'too-many-devices': { status: 409, title: 'The device limit of the host is reached' },
  'trail-broken': { status: 409, title: 'The audit trail has been altered' },
  'image-pruned': { status: 409, title: 'The image of the build was pruned' },
  pruned: { status: 410, title: 'The requested data was pruned' },
  'too-many-policies': { status: 409, title: 'The limit of signature policies is reached' },
  'too-many-signatures': { status: 409, title: 'The signature limit of the build is reached' },
  'precondition-failed': { status: 412, title: 'The object has changed since it was read' },
  'too-large': { status: 413, title: 'The request body is too large' },
  'unsupported-media-type': { status: 415, title: 'The media type of the request body is not supported' },
  'invalid-value': { status: 422, title: 'The request contains an invalid value' },
  'malformed-source': { status: 422, title: 'The source does not compile' },
  'not-webassembly': { status: 422, title: 'The body is not a WebAssembly module' },
  'unsupported-module': { status: 422, title: 'A device cannot run the module' },
  'too-costly': { status: 422, title: 'The source exceeds a compilation limit' },
  busy: { status: 429, title: 'Too many concurrent operations' },
  'too-many-requests': { status: 429, title: 'The rate limit is exceeded' },
  damaged: { status: 500, title: 'The stored object is damaged' },
  internal: { status: 500, title: 'Internal error' },
  overloaded: { status: 503, title: 'The service is overloaded' },
  'database-unavailable': { status: 503, title: 'The database is unavailable' },
} as const;
export type ProblemType = keyof typeof problemTypes;

/** The prefix of every problem type URI. */
export const problemPrefix = 'urn:patchbay:problem:';
export const problemUri = (type: ProblemType) => `${problemPrefix}${type}`;

const InvalidValue = z
  .object({
    in: z.enum(['body', 'path', 'query', 'header']).describe('Part of the request that contains the value.'),
    pointer: z.string().describe('JSON pointer (RFC 6901) into that part.'),
    detail: z.string(),
  })
  .meta({ id: 'InvalidValue', examples: [{ in: 'body', pointer: '/version', detail: '"1.x" is not a semantic version' }] });

export const Diagnostic = z
  .object({
    severity: z.enum(['error', 'warning']),
    message: z.string(),
    file: z.string().nullable(),
    line: z.int().nullable().describe('1-based.'),
    column: z.int().nullable().describe('1-based.'),
  })
  .meta({ id: 'Diagnostic', description: 'An error or a warning of the compiler.' });

export const ProblemDetails = z
  .object({
    type: z
      .string()
      .describe(`Stable URI of the problem type: \`urn:patchbay:problem:\` followed by one of ${Object.keys(problemTypes).join(', ')}.`)
      .meta({ examples: [problemUri('not-loaded')] }),
    title: z.string().meta({ examples: [problemTypes['not-loaded'].title] }),
    status: z.int().meta({ examples: [problemTypes['not-loaded'].status] }),
    detail: z.string().describe('What went wrong and how to correct the request.'),
    instance: z.string().describe('Identifier of the request, as in the `X-Request-Id` response header and in the log.'),
    errors: z.array(InvalidValue).optional().describe('The invalid values.'),
    diagnostics: z.array(Diagnostic).optional().describe('Errors and warnings of the compiler.'),
  })
  .meta({ id: 'Problem', description: 'Problem details (RFC 9457).' });
export type ProblemDetails = z.infer<typeof ProblemDetails>;

/** Problems that every route may respond with. */
const commonProblems = [
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

/** Returns the documented problem responses of a POST under /v1, including those of request bodies and idempotency keys. */
export function postProblems(...types: ProblemType[]) {
  return problems('too-large', 'unsupported-media-type', 'busy', ...types);
}

/** Returns the documented problem responses of a route, including those common to all routes. */
export function problems(...types: ProblemType[]) {
  return onlyProblems(...commonProblems, ...types);
}

/** Returns the documented problem responses of a route that is exempt from authentication and limits. */
export function onlyProblems(...types: ProblemType[]) {
  const byStatus = Map.groupBy<number, ProblemType>(types, (type) => problemTypes[type].status);
  return Object.fromEntries(
    [...byStatus].map(([status, group]) => [
      status,
      {
        description: [...new Set(group)].map((type) => problemTypes[type].title).join('; '),
        content: { [problemMediaType]: { schema: ProblemDetails } },
      },
    ]),
  );
}
