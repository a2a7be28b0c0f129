// Errors of the API: problem details (RFC 9457) with stable types.

import { z } from 'zod';

export const problemMediaType = 'application/problem+json';

/** HTTP status and title of each problem type. The type URI is `urn:patchbay:problem:` and the name. */
export const problemTypes = {
  'malformed-request': { status: 400, title: 'The request is malformed' },
  unauthenticated: { status: 401, title: 'The key or token is missing or invalid' },
  forbidden: { status: 403, title: 'The key or token does not permit this operation' },
  'out-of-scope': { status: 403, title: 'The scope of the key or user does not permit this operation' },
  'cross-origin': { status: 403, title: 'The request comes from a page with another origin' },
  'not-found': { status: 404, title: 'The object does not exist' },
  'method-not-allowed': { status: 405, title: 'The path does not support this method' },
  'version-exists': { status: 409, title: 'The version exists with different content' },
  'name-taken': { status: 409, title: 'The name is already in use' },
  'no-host': { status: 409, title: 'No device host is available' },
  decommissioned: { status: 409, title: 'The device or host is decommissioned' },
  'not-attached': { status: 409, title: 'The device is not attached' },
  'not-loaded': { status: 409, title: 'The module is not loaded on the device' },
  'stale-boot': { status: 409, title: 'The host has registered with a newer boot ID' },
  'host-conflict': { status: 409, title: 'Another host with the name is connected' },
  'devices-moving': { status: 409, title: 'Devices of the host move to other hosts' },
  'not-queued': { status: 409, title: 'The load is neither queued nor draining' },
  'not-draining': { status: 409, title: 'The load is not draining' },
  'unsupported-by-host': { status: 409, title: 'The agent of the host does not support the order' },
  'nothing-to-roll-back': { status: 409, title: 'A device has no version to roll back to' },
  'nothing-to-retry': { status: 409, title: 'No load of the batch can be retried' },
  'all-unreachable': { status: 409, title: 'Every selected device is unreachable' },
  'windows-closed': { status: 409, title: 'The maintenance windows do not open before the deadline' },
  'already-installed': { status: 409, title: 'Every device already has the version' },
  'rollout-conflict': { status: 409, title: 'Another open rollout includes some of the devices' },
  'rollout-state': { status: 409, title: 'The rollout is in the wrong state for this operation' },
  'too-many-rollouts': { status: 409, title: 'The limit of open rollouts is reached' },
  'last-admin': { status: 409, title: 'The last admin key cannot be revoked' },
  'too-many-keys': { status: 409, title: 'The limit of keys is reached' },
  'too-many-users': { status: 409, title: 'The limit of users is reached' },
  'too-many-devices': { status: 409, title: 'The device limit of the host is reached' },
  'trail-broken': { status: 409, title: 'The audit trail was altered' },
  'image-pruned': { status: 409, title: 'The image of the build has been pruned' },
  'build-yanked': { status: 409, title: 'The build is yanked' },
  'build-in-use': { status: 409, title: 'The build is or was in use' },
  pruned: { status: 410, title: 'The requested events have been pruned' },
  'too-many-groups': { status: 409, title: 'The limit of groups is reached' },
  'group-in-use': { status: 409, title: 'Other objects depend on the group' },
  'too-many-channels': { status: 409, title: 'The limit of channels is reached' },
  'channel-in-use': { status: 409, title: 'Assignments depend on the channel' },
  'too-many-promotions': { status: 409, title: 'The limit of promoted versions of the channel is reached' },
  'too-many-assignments': { status: 409, title: 'The limit of assignments is reached' },
  'too-many-policies': { status: 409, title: 'The limit of signature policies is reached' },
  'too-many-webhooks': { status: 409, title: 'The limit of webhooks is reached' },
  'too-many-signatures': { status: 409, title: 'The signature limit of the build is reached' },
  'precondition-failed': { status: 412, title: 'The object has changed: its ETag does not match' },
  'too-large': { status: 413, title: 'The body is too large' },
  'unsupported-media-type': { status: 415, title: 'The media type of the body is not supported' },
  'invalid-value': { status: 422, title: 'The request contains an invalid value' },
  'malformed-source': { status: 422, title: 'The source does not compile' },
  'not-webassembly': { status: 422, title: 'The body is not a WebAssembly module' },
  'unsupported-module': { status: 422, title: 'Devices cannot run the module' },
  'too-costly': { status: 422, title: 'Compiling the source exceeds a limit' },
  busy: { status: 429, title: 'The service is busy' },
  'too-many-requests': { status: 429, title: 'The rate limit is exceeded' },
  damaged: { status: 500, title: 'The stored object is damaged' },
  internal: { status: 500, title: 'Internal error' },
  overloaded: { status: 503, title: 'The service is overloaded' },
  'provider-unavailable': { status: 503, title: 'The identity provider is unavailable' },
  'database-unavailable': { status: 503, title: 'The database is unavailable' },
} as const;
export type ProblemType = keyof typeof problemTypes;

/** Prefix of each problem type URI. */
export const problemPrefix = 'urn:patchbay:problem:';
export const problemUri = (type: ProblemType) => `${problemPrefix}${type}`;

const InvalidValue = z
  .object({
    in: z.enum(['body', 'path', 'query', 'header']).describe('Part of the request that contains the value.'),
    pointer: z.string().describe('JSON Pointer (RFC 6901) to the value in that part.'),
    detail: z.string(),
  })
  .meta({ id: 'InvalidValue', examples: [{ in: 'body', pointer: '/version', detail: '"1.x" is not a semantic version' }] });

export const Diagnostic = z
  .object({
    severity: z.enum(['error', 'warning']),
    message: z.string(),
    file: z.string().nullable(),
    line: z.int().nullable().describe('Line number, from 1.'),
    column: z.int().nullable().describe('Column number, from 1.'),
  })
  .meta({ id: 'Diagnostic', description: 'One error or warning of the compiler.' });

export const ProblemDetails = z
  .object({
    type: z
      .string()
      .describe(`Stable problem type: \`urn:patchbay:problem:\` followed by one of ${Object.keys(problemTypes).join(', ')}.`)
      .meta({ examples: [problemUri('not-loaded')] }),
    title: z.string().meta({ examples: [problemTypes['not-loaded'].title] }),
    status: z.int().meta({ examples: [problemTypes['not-loaded'].status] }),
    detail: z.string().describe('What is wrong in this request, and what to do.'),
    instance: z.string().describe('Request ID, the same as in the `x-request-id` header and the log.'),
    errors: z.array(InvalidValue).optional().describe('The invalid values.'),
    diagnostics: z.array(Diagnostic).optional().describe('Errors and warnings of the compiler.'),
  })
  .meta({ id: 'Problem', description: 'Problem details (RFC 9457).' });
export type ProblemDetails = z.infer<typeof ProblemDetails>;

/** Problem types that every route may return. */
const everywhere = [
  'malformed-request',
  'unauthenticated',
  'forbidden',
  'out-of-scope',
  'cross-origin',
  'invalid-value',
  'too-many-requests',
  'damaged',
  'internal',
  'overloaded',
  'database-unavailable',
] as const satisfies ProblemType[];

/** Returns the documented problem responses of a POST under /v1, which has a body and accepts an `Idempotency-Key`. */
export function postProblems(...types: ProblemType[]) {
  return problems('too-large', 'unsupported-media-type', 'busy', ...types);
}

/** Returns the documented problem responses of a route. */
export function problems(...types: ProblemType[]) {
  return onlyProblems(...everywhere, ...types);
}

/** Returns the documented problem responses of a route that is exempt from keys and limits: the given types alone. */
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
