// What every file of routes is given.

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

/** The application, with handlers typed by their routes' zod schemas. */
export type Api = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** Who makes a request, as the audit trail names them. */
export function getRequester(request: FastifyRequest): Requester {
  const idempotentRequest = getIdempotentRequest(request);
  return { actor: actorName(getCaller(request)), requestId: request.id, ...(idempotentRequest === null ? {} : { idempotentRequest }) };
}

/** What a request that makes something is answered. */
export type CreatedResponse<Status extends number, Body> = { readonly status: Status; readonly location: string; readonly body: Body };

/** The same, as it is kept for who repeats the request. */
export function toStoredResponse({ status, location, body }: CreatedResponse<number, object>): StoredResponse {
  return { status, contentType: 'application/json; charset=utf-8', location, body: JSON.stringify(body) };
}

/** Sends bytes, a text or a stream as they are, which the types of a route's schemas do not know. */
export function sendRaw<Reply extends { send(payload: unknown): Reply }>(reply: Reply, payload: Uint8Array | string | Readable): Reply {
  return reply.send(payload);
}
