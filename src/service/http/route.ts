// Types and helpers shared by all route files.

import type { Readable } from 'node:stream';
import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyRequest,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { StoredResponse } from '../idempotency/idempotency-store.ts';
import type { Requester } from '../requester.ts';
import { actorName, getCaller } from './access.ts';
import { getIdempotentRequest } from './idempotency.ts';

/** The application, with handlers typed by the Zod schemas of their routes. */
export type Api = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** Returns the requester of a request, for the audit trail. */
export function getRequester(request: FastifyRequest): Requester {
  const idempotentRequest = getIdempotentRequest(request);
  return {
    actor: actorName(getCaller(request)),
    requestId: request.id,
    ...(request.span === null ? {} : { traceparent: request.span.traceparent }),
    ...(idempotentRequest === null ? {} : { idempotentRequest }),
  };
}

/** The response to a request that creates something. */
export type CreatedResponse<Status extends number, Body> = { readonly status: Status; readonly location: string; readonly body: Body };

/** Returns the response as it is stored for retries of the request. */
export function toStoredResponse({ status, location, body }: CreatedResponse<number, object>): StoredResponse {
  return { status, contentType: 'application/json; charset=utf-8', location, body: JSON.stringify(body) };
}

/** Sends bytes, a string or a stream unchanged; the types of a route's schemas do not allow these. */
export function sendRaw<Reply extends { send(payload: unknown): Reply }>(reply: Reply, payload: Uint8Array | string | Readable): Reply {
  return reply.send(payload);
}
