// `npm run bench:registration`: measures how long the registration of a host with 20,000 devices takes, and how long it blocks the service.

import console from 'node:console';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { formatTable } from '../src/cli/terminal/table.ts';
import { agentLimits } from '../src/protocol/agent.ts';
import { createService } from '../src/service/app.ts';
import { defaultLimits } from '../src/service/http/request-limits.ts';
import { retainEverything } from '../src/service/retention/retention.ts';

const joinToken = 'join-token-of-the-benchmark';
const folder = mkdtempSync(join(tmpdir(), 'patchbay-bench-registration-'));
const database = process.env['BENCH_DATABASE'] ?? join(folder, 'patchbay.db');
const app = await createService({
  database,
  joinToken,
  unreachableAfter: 60_000,
  keys: 'off',
  signingKeys: { privateKeys: { read: () => null, write: () => {}, remove: () => {} }, isLost: true },
  retention: retainEverything,
  adminKey: null,
  limits: { ...defaultLimits, eventLoopDelay: 0 },
  logger: false,
});
try {
  const url = await app.listen({ port: 0, host: '127.0.0.1' });
  const name = `host-${randomUUID()}`;
  const devices = Array.from({ length: agentLimits.devicesPerHost }, (_, index) => ({
    name: `${name}-${index}`,
    labels: { zone: 'north', rack: String(index % 100) },
    ramPages: 64,
  }));
  const rows: string[][] = [];
  for (const [what, bootId] of [
    ['first registration', 'boot-of-the-first-life'],
    ['the same again', 'boot-of-the-first-life'],
    ['after a restart', 'boot-of-the-second-life'],
  ])
    rows.push([what ?? '', ...(await measure(url, JSON.stringify({ name, bootId, capacity: devices.length, devices })))]);
  console.log(formatTable(['registration', 'status', 'seconds', 'longest block of the event loop, ms'], rows).join('\n'));
} finally {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
}

/** Registers a host, in the process of the service: the client needs hardly any time. */
async function measure(url: string, body: string): Promise<string[]> {
  await delay(200);
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  const began = performance.now();
  const response = await fetch(`${url}/agent/v1/hosts`, {
    method: 'POST',
    headers: { authorization: `Bearer ${joinToken}`, 'content-type': 'application/json' },
    body,
  });
  await response.text();
  const seconds = (performance.now() - began) / 1_000;
  await delay(50);
  histogram.disable();
  return [String(response.status), seconds.toFixed(2), (histogram.max / 1e6).toFixed(0)];
}
