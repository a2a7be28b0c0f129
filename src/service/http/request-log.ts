// Requests in the log: what each is called, and who made it.

import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type FastifyReply, type FastifyRequest, LogController } from 'fastify';
import { RequestId } from '../../protocol/identifiers.ts';
import { redactSecrets } from '../../protocol/logging.ts';
import { actorName, getCaller } from './access.ts';

/** What the client calls the request in `X-Request-Id`; a new identifier where it says nothing, or what cannot be one. */
export function getRequestId({ headers }: Pick<IncomingMessage, 'headers'>): string {
  const given = RequestId.safeParse(headers['x-request-id']);
  // Identifiers are shown to everybody, so that nobody's token may become one.
  if (given.success && redactSecrets(given.data) === given.data) return given.data;
  return `req_${randomUUID().replaceAll('-', '')}`;
}

/** Fastify's lines, and in those that end a request who made it. */
export class RequestLog extends LogController {
  override requestCompleted(error: Error | null | undefined, request: FastifyRequest, reply: FastifyReply): void {
    const facts = { res: reply, responseTime: reply.elapsedTime, actor: actorName(getCaller(request)) };
    if (error) reply.log.error({ ...facts, err: error }, 'request errored');
    else reply.log.info(facts, 'request completed');
  }
}
