// Run by load-generator.ts: one volley of requests, and what came of it.

import { randomUUID } from 'node:crypto';
import autocannon from 'autocannon';
import { type Fired, Volley } from './load-generator.ts';

process.once('message', async (message) => {
  const { url, headers, module, version, devices, connections, hasIdempotencyKeys, seconds, first } = Volley.parse(message);
  let next = first;
  const result = await autocannon({
    url,
    connections,
    duration: seconds,
    requests: [
      {
        method: 'POST',
        setupRequest: (request) => {
          const device = devices[next % devices.length];
          next += 1;
          const key = hasIdempotencyKeys ? { 'idempotency-key': randomUUID() } : {};
          return {
            ...request,
            headers: { ...headers, 'content-type': 'application/json', ...key },
            body: JSON.stringify({ module, version, devices: [device] }),
          };
        },
      },
    ],
  });
  const fired: Fired = {
    answered: result['2xx'],
    refused: result.non2xx,
    errors: result.errors + result.timeouts,
    seconds: result.duration,
    p50: result.latency.p50,
    p99: result.latency.p99,
  };
  process.send?.(fired);
});
