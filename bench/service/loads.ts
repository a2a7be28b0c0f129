// Load requests for one device each, over many connections, compared with a route that only makes one insert.

import { unwrapResponse } from '../../src/client/client.ts';
import { startFloor } from './floor.ts';
import { Installation, module, versionOf } from './installation.ts';
import { type Fired, fire, type Target } from './load-generator.ts';
import { median } from './measuring.ts';
import type { Figure } from './results.ts';
import type { Bench } from './settings.ts';
import { registerSilentHost } from './silent-host.ts';

const sizes = { full: { devices: 20_000, seconds: 5, rounds: 3 }, quick: { devices: 2_000, seconds: 3, rounds: 1 } } as const;
export const connections = 64;
const warmUpSeconds = 2;

export async function measureLoads(bench: Bench): Promise<Figure[]> {
  const { devices, seconds, rounds } = bench.isQuick ? sizes.quick : sizes.full;
  const installation = await Installation.start('loads', bench);
  const { client, key, url, view } = installation;
  const floor = await startFloor(installation.file('floor.db'));
  try {
    await installation.pushBuilds(1);
    // No host executes the loads: they stay queued, up to the limit per device.
    await registerSilentHost(installation, 'silent', devices);
    bench.progress(`loads: ${devices} devices are registered`);
    const headers = { authorization: `Bearer ${key}` };
    const request = { module, version: versionOf(0), devices: view.devices(), connections, headers };
    const targets = {
      floor: { ...request, urls: [floor.url], hasIdempotencyKeys: false },
      plain: { ...request, urls: [`${url}/v1/loads`], hasIdempotencyKeys: false },
      repeatable: { ...request, urls: [`${url}/v1/loads`], hasIdempotencyKeys: true },
    } satisfies Record<string, Target>;
    await fireWell(targets.floor, warmUpSeconds);
    const warmUps = [await fireWell(targets.plain, warmUpSeconds), await fireWell(targets.repeatable, warmUpSeconds)];

    const fired: Record<keyof typeof targets, Fired[]> = { floor: [], plain: [], repeatable: [] };
    for (let round = 1; round <= rounds; round += 1) {
      for (const name of ['floor', 'plain', 'repeatable'] as const) fired[name].push(await fireWell(targets[name], seconds));
      const rates = Object.entries(fired).map(([name, all]) => `${name} ${rateOf(all.slice(-1)).toFixed(0)}/s`);
      bench.progress(`loads: round ${round}: ${rates.join(', ')}`);
    }
    // This response follows those of the aborted requests, so their work is done.
    unwrapResponse(await client.POST('/v1/loads', { body: { module, version: versionOf(0), devices: request.devices.slice(-1) } }));
    checkCounts(view, [...warmUps, ...fired.plain, ...fired.repeatable]);

    const figure = (what: string, all: readonly Fired[]): Figure => ({
      part: 'loads',
      what,
      value: rateOf(all),
      unit: 'requests/s',
      base: { what: 'one insert per request', value: rateOf(fired.floor) },
      goal: { of: 'ratio', is: 'at least', bound: 0.5 },
    });
    const slowest = (what: string, all: readonly Fired[]): Figure => ({
      part: 'loads',
      what,
      value: median(all.map(({ p99 }) => p99)),
      unit: 'ms',
      base: { what: 'one insert per request', value: median(fired.floor.map(({ p99 }) => p99)) },
      goal: null,
    });
    return [
      figure(`POST /v1/loads of one device, ${connections} connections`, fired.plain),
      figure('the same with Idempotency-Key', fired.repeatable),
      slowest('p99 of responses', fired.plain),
      slowest('p99 of responses with Idempotency-Key', fired.repeatable),
    ];
  } finally {
    await floor.process.end();
    await installation.end();
  }
}

export const rateOf = (fired: readonly Fired[]) => median(fired.map(({ answered: response, seconds }) => response / seconds));

/** @throws {Error} if a response had another status than 202. */
export async function fireWell(target: Target, seconds: number): Promise<Fired> {
  const fired = await fire(target, seconds);
  if (fired.refused > 0 || fired.errors > 0) throw new Error(`${target.urls.join(', ')}: ${JSON.stringify(fired)}`);
  return fired;
}

/** Checks that every response has a load and an audit event; requests in progress at the end may have them too. @throws {Error} */
function checkCounts(view: Installation['view'], fired: readonly Fired[]): void {
  const response = fired.reduce((sum, one) => sum + one.answered, 1);
  const loads = view.number('SELECT COUNT(*) FROM "Load"');
  const events = view.number(`SELECT COUNT(*) FROM "AuditEvent" WHERE "action" = 'load.requested'`);
  if (loads !== events || loads < response || loads > response + connections * fired.length)
    throw new Error(`expected ${response} loads and events, found ${loads} loads and ${events} events`);
}
