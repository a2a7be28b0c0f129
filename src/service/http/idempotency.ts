// The Idempotency-Key header: a POST that is retried with the same key is executed once and receives the stored response.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { AlreadyProcessed, type IdempotencyStore, type StoredResponse } from '../idempotency/idempotency-store.ts';
import { Problem } from '../problem.ts';
import type { IdempotentRequest } from '../requester.ts';
import { actorName, credentialOf, getCaller } from './access.ts';

/** Maximum length of a key, in characters. */
const maxKeyLength = 255;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the response contains a secret; it is then stored encrypted. */
    respondsWithSecret?: boolean;
  }
}

const inProgress = new WeakMap<FastifyRequest, IdempotentRequest>();

/** Returns the idempotent request of a request with an Idempotency-Key, or null. */
export function getIdempotentRequest(request: FastifyRequest): IdempotentRequest | null {
  return inProgress.get(request) ?? null;
}

/** Adds idempotency keys to every POST of an application or scope. */
export function addIdempotency(app: FastifyInstance, store: IdempotencyStore): void {
  app.addHook('preHandler', async (request, reply) => {
    const key = request.headers['idempotency-key'];
    if (request.method !== 'POST' || key === undefined) return;
    if (typeof key !== 'string' || key.length === 0 || key.length > maxKeyLength) {
      const detail = `Idempotency-Key must have 1 to ${maxKeyLength} characters, for example a UUID`;
      throw new Problem('invalid-value', detail, { invalidValues: [{ pointer: 'header:idempotency-key', detail }] });
    }
    if (isDryRun(request.body)) return;
    const idempotentRequest = {
      actor: actorName(getCaller(request)),
      key,
      route: `${request.method} ${request.url}`,
      body: bodyText(request.body),
      sealedBy: request.routeOptions.config.respondsWithSecret ? (credentialOf(request) ?? '') : null,
    };
    const stored = await store.begin(idempotentRequest);
    if (stored === null) {
      inProgress.set(request, idempotentRequest);
      return;
    }
    await replay(reply, stored)
      .serializer((body: string) => body)
      .send(stored.body);
  });

  // Other errors are rethrown to the error handler of the application.
  app.setErrorHandler(async (error, request, reply) => {
    if (!(error instanceof AlreadyProcessed)) throw error;
    const idempotentRequest = inProgress.get(request);
    inProgress.delete(request);
    if (idempotentRequest !== undefined) store.abandon(idempotentRequest);
    return replay(reply, error.response)
      .serializer((body: string) => body)
      .send(error.response.body);
  });

  // This hook also runs if the client has disconnected: the request is in progress until then.
  app.addHook('onSend', async (request, reply, payload) => {
    const idempotentRequest = inProgress.get(request);
    if (idempotentRequest === undefined) return payload;
    inProgress.delete(request);
    // A transient failure is not stored: a retry may succeed.
    if (reply.statusCode >= 500 || reply.statusCode === 429) {
      store.abandon(idempotentRequest);
      return payload;
    }
    const toText = (value: unknown) => (typeof value === 'string' ? value : null);
    const earlier = await store.store(idempotentRequest, {
      status: reply.statusCode,
      contentType: toText(reply.getHeader('content-type')),
      location: toText(reply.getHeader('location')),
      body: typeof payload === 'string' ? payload : '',
    });
    if (earlier === null) return payload;
    replay(reply.removeHeader('location'), earlier);
    return earlier.body;
  });
}

/** Sets the status and the headers of a stored response; the caller sends its body. */
function replay(reply: FastifyReply, { location, status, contentType }: StoredResponse): FastifyReply {
  if (location !== null) reply.header('location', location);
  return reply
    .header('idempotency-replayed', 'true')
    .status(status)
    .type(contentType ?? 'application/json');
}

/** A dry run changes nothing: its response is not stored, and its key is free for the request that follows. */
function isDryRun(body: unknown): boolean {
  return typeof body === 'object' && body !== null && 'dryRun' in body && body.dryRun === true;
}

function bodyText(body: unknown): string | Uint8Array {
  return body instanceof Uint8Array ? body : JSON.stringify(body ?? null);
}
