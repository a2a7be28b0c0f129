// Everything that can go wrong in a request, as problem details.

import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { hasZodFastifySchemaValidationErrors, isResponseSerializationError } from 'fastify-type-provider-zod';
import { DamagedItem, type DamagedRows, isDamagedRowError } from '../database/damaged-rows.ts';
import { toDatabaseProblem } from '../database/database-problem.ts';
import { Problem } from '../problem.ts';
import { type ProblemDetails, type ProblemType, problemMediaType, problemTypes, problemUri } from './problem-schemas.ts';

/**
 * Makes the service answer every error with problem details; to be called before routes are added.
 * @param damagedRows Where damaged rows are noted that an object could not be shown for.
 */
export function addErrorHandlers(app: FastifyInstance, damagedRows: DamagedRows): void {
  const routes: { readonly method: string; readonly path: RegExp }[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    const path = new RegExp(`^${url.replaceAll(/:[a-zA-Z]+/g, '[^/]+').replaceAll('*', '.*')}$`);
    for (const one of [method].flat()) routes.push({ method: one, path });
  });
  app.setErrorHandler((error, request, reply) =>
    sendProblem(request, reply, damageIn(error, request, damagedRows) ?? describe(error, request)),
  );
  app.addHook('onResponse', async ({ method, url }, { statusCode }) => {
    if (method === 'GET' && statusCode === 200) damagedRows.remove(answerTo, url.split('?')[0] ?? '');
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0] ?? '';
    const methods = routes.filter((route) => route.path.test(path)).map(({ method }) => method);
    if (methods.length === 0)
      return sendProblem(request, reply, { type: 'not-found', detail: `there is no ${path}: /documentation lists what there is` });
    reply.header('allow', methods.join(', '));
    return sendProblem(request, reply, {
      type: 'method-not-allowed',
      detail: `${path} does not take ${request.method}: it takes ${methods.join(', ')}`,
    });
  });
}

/** Answers what the router refuses before any route is found: a path that is not one, or a part of it that is too long. */
export function handleRouterError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  sendProblem(request, reply, { type: 'malformed-request', detail: error.message.slice(0, 500) });
}

/** Statuses of what may succeed when it is tried again. */
const laterStatuses: ReadonlySet<number> = new Set([429, 503]);
/** Problems that may be over when the request is made again. */
export const retryableTypes = Object.entries(problemTypes)
  .filter(([, { status }]) => laterStatuses.has(status))
  .map(([type]) => type);
const laterProblems = new WeakMap<FastifyRequest, ProblemType>();

/** Why a request was to be made again later; null where it was not. */
export function getRetryableProblem(request: FastifyRequest): ProblemType | null {
  return laterProblems.get(request) ?? null;
}

type Description = { readonly type: ProblemType; readonly detail: string; readonly retryAfterSeconds?: number } & Pick<
  ProblemDetails,
  'errors' | 'diagnostics'
>;

function sendProblem(request: FastifyRequest, reply: FastifyReply, { type, retryAfterSeconds, ...facts }: Description): FastifyReply {
  const { status, title } = problemTypes[type];
  const body: ProblemDetails = { type: problemUri(type), title, status, instance: request.id, ...facts };
  if (type === 'unauthenticated') reply.header('www-authenticate', 'Bearer');
  if (laterStatuses.has(status)) {
    laterProblems.set(request, type);
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
        detail: 'is not known here: check its spelling, or leave it out',
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
  const ofDatabase = toDatabaseProblem(error);
  if (ofDatabase !== null) {
    request.log.warn({ err: error }, 'the database cannot be used');
    return describeProblem(ofDatabase);
  }
  return describeFastifyError(error, request);
}

/** How the health names what cannot be shown: by the path that asks for it. */
const answerTo = 'the answer to GET';

/** What to answer where an object cannot be shown because of what is stored of it; null for every other error. */
function damageIn(error: unknown, request: FastifyRequest, damagedRows: DamagedRows): Description | null {
  const cause = isResponseSerializationError(error) ? error.cause : error;
  if (!isDamagedRowError(cause)) return null;
  const path = request.url.split('?')[0] ?? '';
  const item = new DamagedItem(path, cause);
  request.log.error({ err: error }, 'a stored row violates its schema');
  if (request.method === 'GET') damagedRows.record(answerTo, item);
  return {
    type: 'damaged',
    detail: `what is stored of it violates its schema (${item.fault}): correct it in the database, or restore it from a backup`,
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

/** `header:name` and `query:name` for what is not in the body. */
function placeOf(pointer: string): { in: 'body' | 'header' | 'query'; pointer: string } {
  const [, part, name] = /^(header|query):(.*)$/.exec(pointer) ?? [];
  if (part === 'header' || part === 'query') return { in: part, pointer: `/${name}` };
  return { in: 'body', pointer };
}

function describeFastifyError(error: unknown, request: FastifyRequest): Description {
  const status = statusOf(error);
  const message = error instanceof Error ? error.message : String(error);
  if (status === 413)
    return { type: 'too-large', detail: `the body is larger than ${request.routeOptions.bodyLimit} bytes, the limit here` };
  if (status === 415)
    return {
      type: 'unsupported-media-type',
      detail: `${request.headers['content-type'] ?? 'a body without a content-type'} is not taken here: send application/json${request.url.includes('/builds') ? ', or application/wasm' : ''}`,
    };
  if (status === 503) return { type: 'overloaded', detail: `${message}: try again when Retry-After has passed` };
  if (status >= 400 && status < 500) return { type: 'malformed-request', detail: message };
  request.log.error({ err: error }, 'a request failed');
  return { type: 'internal', detail: `the service failed; its log has more under the request ${request.id}` };
}

function statusOf(error: unknown): number {
  if (typeof error !== 'object' || error === null || !('statusCode' in error)) return 500;
  return typeof error.statusCode === 'number' ? error.statusCode : 500;
}
