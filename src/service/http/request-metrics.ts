// What is measured of requests: how long each took, and which were refused for now or answered as before.

import type { FastifyInstance } from 'fastify';
import { Counter, Histogram, type Registry } from 'prom-client';
import { getRetryableProblem, retryableTypes } from './problems.ts';

const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60];

/** Measures every request; to be called before routes are added. */
export function addRequestMetrics(app: FastifyInstance, registry: Registry): void {
  const registers = [registry];
  const duration = new Histogram({
    name: 'patchbay_http_request_duration_seconds',
    help: 'From the head of a request to the end of its answer, by the template of its route; a stream lasts until it ends.',
    labelNames: ['method', 'route', 'status'],
    buckets,
    registers,
  });
  const rejected = new Counter({
    name: 'patchbay_requests_rejected_total',
    help: 'Requests that were to be made again later (429 and 503), by the type of the problem.',
    labelNames: ['reason'],
    registers,
  });
  const replayed = new Counter({
    name: 'patchbay_idempotent_answers_replayed_total',
    help: 'Requests with an Idempotency-Key that were answered as the first time.',
    registers,
  });
  // Those that nothing has happened to yet are 0, not missing.
  for (const reason of retryableTypes) rejected.inc({ reason }, 0);
  app.addHook('onResponse', async (request, reply) => {
    // Never the path: there are as many as anybody likes to ask for.
    const route = request.routeOptions.url ?? 'none';
    duration.observe({ method: request.method, route, status: reply.statusCode }, reply.elapsedTime / 1_000);
    const problem = getRetryableProblem(request);
    if (problem !== null) rejected.inc({ reason: problem });
    if (reply.hasHeader('idempotency-replayed')) replayed.inc();
  });
}
