// Converts every error of a request to problem details.

import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { hasZodFastifySchemaValidationErrors, isResponseSerializationError } from 'fastify-type-provider-zod';
import { DamagedItem, type DamagedRows, isDamagedRowError } from '../database/damaged-rows.ts';
import { toDatabaseProblem } from '../database/database-problem.ts';
import { Problem } from '../problem.ts';
import { type ProblemDetails, type ProblemType, problemMediaType, problemTypes, problemUri } from './problem-schemas.ts';

/**
 * Makes the service respond to every error with problem details. Call it before routes are added.
 * @param damagedRows Records the objects that cannot be returned because their stored rows are invalid.
 */
export function addErrorHandlers(app: FastifyInstance, damagedRows: DamagedRows): void {
  const routes: { readonly method: string; readonly path: RegExp }[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    const path = new RegExp(`^${url.replaceAll(/:[a-zA-Z]+/g, '[^/]+').replaceAll('*', '.*')}$`);
    for (const name of [method].flat()) routes.push({ method: name, path });
  });
  app.setErrorHandler((error, request, reply) =>
    sendProblem(request, reply, describeDamage(error, request, damagedRows) ?? describe(error, request)),
  );
  app.addHook('onResponse', async ({ method, url }, { statusCode }) => {
    if (method === 'GET' && statusCode === 200) damagedRows.remove(damagedResponse, url.split('?')[0] ?? '');
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0] ?? '';
    const methods = routes.filter((route) => route.path.test(path)).map(({ method }) => method);
    if (methods.length === 0)
      return sendProblem(request, reply, { type: 'not-found', detail: `no route matches ${path}: see /documentation for the API` });
    reply.header('allow', methods.join(', '));
    return sendProblem(request, reply, {
      type: 'method-not-allowed',
      detail: `${path} does not support ${request.method}; supported methods: ${methods.join(', ')}`,
    });
  });
}

/** Responds to requests that the router rejects before it selects a route: a malformed path, or a path parameter that is too long. */
export function handleRouterError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  sendProblem(request, reply, { type: 'malformed-request', detail: error.message.slice(0, 500) });
}

/** HTTP statuses of requests that may succeed when they are retried. */
const retryableStatuses: ReadonlySet<number> = new Set([429, 503]);
/** Names of the problem types with a retryable status. */
export const retryableTypes = Object.entries(problemTypes)
  .filter(([, { status }]) => retryableStatuses.has(status))
  .map(([type]) => type);
const retryableProblems = new WeakMap<FastifyRequest, ProblemType>();

/** Returns the retryable problem that a request was rejected with, or null. */
export function getRetryableProblem(request: FastifyRequest): ProblemType | null {
  return retryableProblems.get(request) ?? null;
}

type Description = { readonly type: ProblemType; readonly detail: string; readonly retryAfterSeconds?: number } & Pick<
  ProblemDetails,
  'errors' | 'diagnostics'
>;

function sendProblem(request: FastifyRequest, reply: FastifyReply, { type, retryAfterSeconds, ...facts }: Description): FastifyReply {
  const { status, title } = problemTypes[type];
  const body: ProblemDetails = { type: problemUri(type), title, status, instance: request.id, ...facts };
  if (type === 'unauthenticated') reply.header('www-authenticate', 'Bearer');
  if (retryableStatuses.has(status)) {
    retryableProblems.set(request, type);
    reply.header('retry-after', retryAfterSeconds ?? 1);
  }
  return reply.status(status).type(problemMediaType).serializer(JSON.stringify).send(body);
}

const parts = { body: 'body', params: 'path', querystring: 'query', headers: 'header' } as const;

function describe(error: unknown, request: FastifyRequest): Description {
  if (error instanceof Problem) return describeProblem(error);
  if (hasZodFastifySchemaValidationErrors(error)) {
    const part = parts[error.validationContext ?? 'body'];
    const errors = error.validation.flatMap(({ instancePath, message = 'is invalid', params }) => {
      const pointer = instancePath === '/' ? '' : instancePath;
      const keys = params['keys'];
      if (!Array.isArray(keys)) return [{ in: part, pointer, detail: message }];
      return keys.map((key) => ({
        in: part,
        pointer: `${pointer}/${key}`,
        detail: 'is unknown: check the spelling or remove it',
      }));
    });
    return {
      type: 'invalid-value',
      detail: errors
        .map(({ in: where, pointer, detail }) => `${where} ${pointer}: ${detail}`)
        .join('; ')
        .slice(0, 2_000),
      errors,
    };
  }
  const databaseProblem = toDatabaseProblem(error);
  if (databaseProblem !== null) {
    request.log.warn({ err: error }, 'the database is unavailable');
    return describeProblem(databaseProblem);
  }
  return describeFastifyError(error, request);
}

/** The kind under which the fleet health lists a response that cannot be returned; its path follows. */
const damagedResponse = 'the response to GET';

/** Returns the problem of an object that cannot be returned because its stored row is invalid, or null for any other error. */
function describeDamage(error: unknown, request: FastifyRequest, damagedRows: DamagedRows): Description | null {
  const cause = isResponseSerializationError(error) ? error.cause : error;
  if (!isDamagedRowError(cause)) return null;
  const path = request.url.split('?')[0] ?? '';
  const item = new DamagedItem(path, cause);
  request.log.error({ err: error }, 'a stored row violates its schema');
  if (request.method === 'GET') damagedRows.record(damagedResponse, item);
  return {
    type: 'damaged',
    detail: `the stored row violates its schema (${item.fault}): correct it in the database, or restore it from a backup`,
  };
}

function describeProblem({ kind, message, invalidValues, diagnostics, retryAfterSeconds }: Problem): Description {
  return {
    type: kind,
    detail: message,
    retryAfterSeconds,
    ...(invalidValues.length === 0 ? {} : { errors: invalidValues.map(({ pointer, detail }) => ({ ...placeOf(pointer), detail })) }),
    ...(diagnostics.length === 0 ? {} : { diagnostics: [...diagnostics] }),
  };
}

/** Splits the pointer of a header (`header:name`) or a query parameter (`query:name`); any other pointer is into the body. */
function placeOf(pointer: string): { in: 'body' | 'header' | 'query'; pointer: string } {
  const [, part, name] = /^(header|query):(.*)$/.exec(pointer) ?? [];
  if (part === 'header' || part === 'query') return { in: part, pointer: `/${name}` };
  return { in: 'body', pointer };
}

function describeFastifyError(error: unknown, request: FastifyRequest): Description {
  const status = statusOf(error);
  const message = error instanceof Error ? error.message : String(error);
  if (status === 413) return { type: 'too-large', detail: `the request body exceeds the limit of ${request.routeOptions.bodyLimit} bytes` };
  if (status === 415)
    return {
      type: 'unsupported-media-type',
      detail: `unsupported Content-Type (${request.headers['content-type'] ?? 'none'}): send application/json${request.url.includes('/builds') ? ' or application/wasm' : ''}`,
    };
  if (status === 503) return { type: 'overloaded', detail: `${message}: retry after the time in Retry-After` };
  if (status >= 400 && status < 500) return { type: 'malformed-request', detail: message };
  request.log.error({ err: error }, 'request failed');
  return { type: 'internal', detail: `internal error: see the log of the service for request ${request.id}` };
}

function statusOf(error: unknown): number {
  if (typeof error !== 'object' || error === null || !('statusCode' in error)) return 500;
  return typeof error.statusCode === 'number' ? error.statusCode : 500;
}
