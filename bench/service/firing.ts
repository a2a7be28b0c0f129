// Run by load-generator.ts: sends one volley of requests and prints its results.

import { randomUUID } from 'node:crypto';
import autocannon from 'autocannon';
import { type Fired, Volley } from './load-generator.ts';
import { percentile } from './measuring.ts';

process.once('message', async (message) => {
  const { urls, headers, module, version, devices, connections, hasIdempotencyKeys, seconds, first } = Volley.parse(message);
  let next = first;
  const times: number[] = [];
  const setupRequest = (request: autocannon.Request): autocannon.Request => {
    const device = devices[next % devices.length];
    next += 1;
    const key = hasIdempotencyKeys ? { 'idempotency-key': randomUUID() } : {};
    return {
      ...request,
      headers: { ...headers, 'content-type': 'application/json', ...key },
      body: JSON.stringify({ module, version, devices: [device] }),
    };
  };
  const fireAt = (url: string, index: number) =>
    new Promise<autocannon.Result>((resolve, reject) => {
      // The first connections take the remainder.
      const share = Math.floor(connections / urls.length) + (index < connections % urls.length ? 1 : 0);
      const options = { url, connections: share, duration: seconds, requests: [{ method: 'POST' as const, setupRequest }] };
      const firing = autocannon(options, (error, result) => (error ? reject(error) : resolve(result)));
      firing.on('response', (_client, _status, _bytes, time) => times.push(time));
    });
  const results = await Promise.all(urls.map(fireAt));
  const sum = (of: (result: autocannon.Result) => number) => results.reduce((total, result) => total + of(result), 0);
  const fired: Fired = {
    answered: sum((result) => result['2xx']),
    refused: sum(({ non2xx }) => non2xx),
    errors: sum(({ errors, timeouts }) => errors + timeouts),
    seconds: Math.max(...results.map(({ duration }) => duration)),
    p50: percentile(times, 0.5),
    p99: percentile(times, 0.99),
  };
  process.send?.(fired);
});
