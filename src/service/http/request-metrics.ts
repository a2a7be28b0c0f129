// Metrics of HTTP requests: durations, retryable rejections and idempotent replays.

import type { FastifyInstance } from 'fastify';
import { Counter, Histogram, type Registry } from 'prom-client';
import { getRetryableProblem, retryableTypes } from './problems.ts';

const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60];

/** Adds the metrics of requests. Call it before routes are added. */
export function addRequestMetrics(app: FastifyInstance, registry: Registry): void {
  const registers = [registry];
  const duration = new Histogram({
    name: 'patchbay_http_request_duration_seconds',
    help: 'Duration of HTTP requests, from the request headers to the end of the response, by route template. A stream lasts until it ends.',
    labelNames: ['method', 'route', 'status'],
    buckets,
    registers,
  });
  const rejected = new Counter({
    name: 'patchbay_requests_rejected_total',
    help: 'Requests rejected with a retryable status (429 or 503), by problem type.',
    labelNames: ['reason'],
    registers,
  });
  const replayed = new Counter({
    name: 'patchbay_idempotent_responses_replayed_total',
    help: 'Requests with an Idempotency-Key that received a stored response.',
    registers,
  });
  // Every series starts at 0 instead of being absent.
  for (const reason of retryableTypes) rejected.inc({ reason }, 0);
  app.addHook('onResponse', async (request, reply) => {
    // The route template, not the path: clients can request any number of paths.
    const route = request.routeOptions.url ?? 'none';
    duration.observe({ method: request.method, route, status: reply.statusCode }, reply.elapsedTime / 1_000);
    const problem = getRetryableProblem(request);
    if (problem !== null) rejected.inc({ reason: problem });
    if (reply.hasHeader('idempotency-replayed')) replayed.inc();
  });
}
