// A span for each request of a client: its parent is in the `traceparent` of the request, and orders to hosts continue it.

import type { FastifyInstance } from 'fastify';
import { readTraceparent } from '../../protocol/traceparent.ts';
import type { Span, Tracer } from '../../tracing/tracer.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Null if the service does not trace requests, or not this one. */
    span: Span | null;
  }
}

/** Starts and ends spans if there is a tracer. */
export function addRequestTraces(app: FastifyInstance, tracer: Tracer | null): void {
  app.decorateRequest('span', null);
  if (tracer === null) return;
  app.addHook('onRequest', async (request) => {
    const { method, routeOptions, headers } = request;
    // Hosts poll and send heartbeats all the time: their reports have spans of their own. Pages are not requests of the API.
    if (routeOptions.config.access === undefined || routeOptions.config.access === 'host' || routeOptions.config.access === 'public')
      return;
    const route = routeOptions.url ?? '';
    request.span = tracer.startSpan(`${method} ${route}`, {
      parent: readTraceparent(headers['traceparent']),
      kind: 'server',
      attributes: { 'http.request.method': method, 'http.route': route, 'patchbay.request': request.id },
    });
  });
  app.addHook('onResponse', async ({ span }, { statusCode }) => {
    span?.end({ 'http.response.status_code': statusCode }, statusCode >= 500 ? `status ${statusCode}` : null);
  });
  app.addHook('onRequestAbort', async ({ span }) => {
    span?.end({}, 'the client closed the connection');
  });
}
