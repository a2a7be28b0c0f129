// The Idempotency-Key header: a POST that is repeated with its key is answered as the first time, and done once.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { AlreadyProcessed, type IdempotencyStore, type StoredResponse } from '../idempotency/idempotency-store.ts';
import { Problem } from '../problem.ts';
import type { IdempotentRequest } from '../requester.ts';
import { actorName, bearerToken, getCaller } from './access.ts';

/** Characters of a key. */
const keyLimit = 255;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the route answers a secret, which is not to be kept as it is. */
    respondsWithSecret?: boolean;
  }
}

const underWay = new WeakMap<FastifyRequest, IdempotentRequest>();

/** The request as one that may be repeated, if it has a key. */
export function getIdempotentRequest(request: FastifyRequest): IdempotentRequest | null {
  return underWay.get(request) ?? null;
}

/** Makes every POST under a prefix repeatable. */
export function addIdempotency(app: FastifyInstance, answers: IdempotencyStore): void {
  app.addHook('preHandler', async (request, reply) => {
    const key = request.headers['idempotency-key'];
    if (request.method !== 'POST' || key === undefined) return;
    if (typeof key !== 'string' || key.length === 0 || key.length > keyLimit) {
      const detail = `an Idempotency-Key is of 1 to ${keyLimit} characters, like a UUID`;
      throw new Problem('invalid-value', detail, { invalidValues: [{ pointer: 'header:idempotency-key', detail }] });
    }
    const repeatable = {
      actor: actorName(getCaller(request)),
      key,
      route: `${request.method} ${request.url}`,
      body: bodyText(request.body),
      sealedBy: request.routeOptions.config.respondsWithSecret ? (bearerToken(request) ?? '') : null,
    };
    const answer = await answers.begin(repeatable);
    if (answer === null) {
      underWay.set(request, repeatable);
      return;
    }
    await replay(reply, answer)
      .serializer((body: string) => body)
      .send(answer.body);
  });

  // Thrown on to the handler of all errors.
  app.setErrorHandler(async (error, request, reply) => {
    if (!(error instanceof AlreadyProcessed)) throw error;
    const repeatable = underWay.get(request);
    underWay.delete(request);
    if (repeatable !== undefined) answers.abandon(repeatable);
    return replay(reply, error.response)
      .serializer((body: string) => body)
      .send(error.response.body);
  });

  // It comes also where the client has gone meanwhile: what is carried out is under way until then.
  app.addHook('onSend', async (request, reply, payload) => {
    const repeatable = underWay.get(request);
    if (repeatable === undefined) return payload;
    underWay.delete(request);
    // What failed for reasons of the service, or of the moment, may succeed when it is repeated.
    if (reply.statusCode >= 500 || reply.statusCode === 429) {
      answers.abandon(repeatable);
      return payload;
    }
    const text = (value: unknown) => (typeof value === 'string' ? value : null);
    const known = await answers.store(repeatable, {
      status: reply.statusCode,
      contentType: text(reply.getHeader('content-type')),
      location: text(reply.getHeader('location')),
      body: typeof payload === 'string' ? payload : '',
    });
    if (known === null) return payload;
    replay(reply.removeHeader('location'), known);
    return known.body;
  });
}

/** Has a reply be what it was the first time, but for its body. */
function replay(reply: FastifyReply, { location, status, contentType }: StoredResponse): FastifyReply {
  if (location !== null) reply.header('location', location);
  return reply
    .header('idempotency-replayed', 'true')
    .status(status)
    .type(contentType ?? 'application/json');
}

function bodyText(body: unknown): string | Uint8Array {
  return body instanceof Uint8Array ? body : JSON.stringify(body ?? null);
}
