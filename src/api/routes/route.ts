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
import type { Requester } from '../../control/context.ts';

/** The application, with handlers typed by their routes' zod schemas. */
export type Api = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** Who makes a request, as the audit trail names them; there are no keys yet. */
export function requesterOf(request: Pick<FastifyRequest, 'id'>): Requester {
  return { actor: 'anonymous', requestId: request.id };
}

/** The token of `Authorization: Bearer TOKEN` (RFC 6750); null where there is none. */
export function bearerToken({ headers }: Pick<FastifyRequest, 'headers'>): string | null {
  return /^Bearer +([^ ]+) *$/i.exec(headers.authorization ?? '')?.[1] ?? null;
}

/** Sends bytes or a stream as they are, which the types of a route's schemas do not know. */
export function sendRaw<Reply extends { send(payload: unknown): Reply }>(reply: Reply, payload: Uint8Array | Readable): Reply {
  return reply.send(payload);
}
