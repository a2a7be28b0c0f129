// Request log lines: the request identifier and the actor.

import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type FastifyReply, type FastifyRequest, LogController } from 'fastify';
import { RequestId } from '../../protocol/identifiers.ts';
import { redactSecrets } from '../../protocol/logging.ts';
import { actorName, getCaller } from './access.ts';

/** Returns the `X-Request-Id` of a request, or a new identifier if the header is absent or invalid. */
export function getRequestId({ headers }: Pick<IncomingMessage, 'headers'>): string {
  const given = RequestId.safeParse(headers['x-request-id']);
  // Request identifiers appear in logs and in the audit trail: a secret is not accepted as one.
  if (given.success && redactSecrets(given.data) === given.data) return given.data;
  return `req_${randomUUID().replaceAll('-', '')}`;
}

/** Fastify's log lines; the line of a completed request includes the actor. */
export class RequestLog extends LogController {
  override requestCompleted(error: Error | null | undefined, request: FastifyRequest, reply: FastifyReply): void {
    const facts = { res: reply, responseTime: reply.elapsedTime, actor: actorName(getCaller(request)), ...request.span?.logFields };
    if (error) reply.log.error({ ...facts, err: error }, 'request errored');
    else reply.log.info(facts, 'request completed');
  }
}
