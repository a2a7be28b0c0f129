// Compares the same requests on a service with a long history and on one with a short history, with equally many devices.

import { type Client, unwrapResponse } from '../../src/client/client.ts';
import { Installation, module, versionOf } from './installation.ts';
import { median, timeOf } from './measuring.ts';
import { fillPast, type Past, pastDevice } from './past.ts';
import type { Figure } from './results.ts';
import { checkOutcomes, loadEverywhere } from './rounds.ts';
import type { Bench } from './settings.ts';

const sizes = {
  full: {
    long: { devices: 10_000, residenciesPerDevice: 100 },
    short: { devices: 10_000, residenciesPerDevice: 1 },
    live: 1_000,
    calls: 40,
    rounds: 4,
  },
  quick: { long: { devices: 1_000, residenciesPerDevice: 50 }, short: { devices: 1_000, residenciesPerDevice: 1 }, live: 100, calls: 15 },
} as const;
/** Builds that the live devices get one after another. The requested pages are full with a short history too. */
const carriedThrough = 4;
/** A request whose repetitions take longer in total, in milliseconds, is repeated less often. */
const longestQuestion = 4_000;
const goal = { of: 'ratio', is: 'at most', bound: 1.2 } as const;

type Question = { readonly what: string; readonly ask: (installation: Installation, call: number) => Promise<unknown> };

export async function measureHistory(bench: Bench): Promise<Figure[]> {
  const { long, short, live, calls } = bench.isQuick ? sizes.quick : sizes.full;
  const [few, many] = [await start(bench, 'short', short, live), await start(bench, 'long', long, live)];
  try {
    const base = `with ${short.devices * short.residenciesPerDevice} rows`;
    const compare = (what: string, times: Times): Figure => ({
      part: 'growth',
      what: `${what}, with ${long.devices * long.residenciesPerDevice} rows of history`,
      value: median(times.many),
      unit: 'ms',
      base: { what: base, value: median(times.few) },
      goal,
    });
    // First, because some of the requests create loads that never end.
    const figures = [compare(`a load executed on ${live} devices`, await carryThrough(few, many, live))];
    for (const { what, ask } of questions) {
      const times = await inTurns(few, many, calls, ask);
      figures.push(compare(what, times));
      bench.progress(`growth: ${what}: ${median(times.few).toFixed(1)} ms and ${median(times.many).toFixed(1)} ms`);
    }
    return [worstOf(figures), ...figures];
  } finally {
    await few.end();
    await many.end();
  }
}

async function start(bench: Bench, name: string, past: Past, live: number): Promise<Installation> {
  const installation = await Installation.start(`growth-${name}`, bench, (folder) => fillPast(folder, past));
  await installation.pushBuilds(20);
  await installation.addHosts([{ name: 'live', devices: live, labels: 'host=live' }]);
  checkOutcomes(installation, await loadEverywhere(installation, 0, [{ host: 'live' }]), live, ['installed']);
  bench.progress(`growth: ${past.devices * past.residenciesPerDevice} rows of history are there`);
  return installation;
}

type Times = { readonly few: number[]; readonly many: number[] };

/** Sends the request to both services alternately; the first responses, which warm up caches, are not counted. */
async function inTurns(few: Installation, many: Installation, calls: number, ask: Question['ask']): Promise<Times> {
  const times: Times = { few: [], many: [] };
  const began = performance.now();
  for (let call = -2; call < calls && performance.now() - began < longestQuestion; call += 1) {
    const both = { few: await timeOf(() => ask(few, call + 2)), many: await timeOf(() => ask(many, call + 2)) };
    const isLast = call + 1 < 0 && performance.now() - began >= longestQuestion;
    if (call < 0 && !isLast) continue;
    times.few.push(both.few);
    times.many.push(both.many);
  }
  return times;
}

async function carryThrough(few: Installation, many: Installation, live: number): Promise<Times> {
  const times: Times = { few: [], many: [] };
  for (let build = 1; build <= carriedThrough; build += 1) {
    for (const [name, installation] of [
      ['few', few],
      ['many', many],
    ] as const) {
      const round = await loadEverywhere(installation, build, [{ host: 'live' }]);
      checkOutcomes(installation, round, live, ['replaced']);
      times[name].push(round.durable);
    }
  }
  return times;
}

function worstOf(figures: readonly Figure[]): Figure {
  const ratioOf = ({ value, base }: Figure) => value / (base?.value ?? value);
  const worst = figures.reduce((before, figure) => (ratioOf(figure) > ratioOf(before) ? figure : before));
  return { ...worst, what: `the worst of ${figures.length}: ${worst.what}` };
}

const questions: readonly Question[] = [
  get('loads', '/v1/loads'),
  get('loads by state', '/v1/loads?state=completed'),
  get('loads that are queued', '/v1/loads?state=queued'),
  get('loads by outcome', '/v1/loads?outcome=failed'),
  get('loads by module', '/v1/loads?module=udp'),
  get('loads by module, version and outcome', '/v1/loads?module=tcp&version=1.1.0&outcome=replaced'),
  get('loads of a device', `/v1/loads?device=${pastDevice(0)}`),
  get('loads by the label of few devices', '/v1/loads?label=zone%3D1'),
  get('loads by the label of many devices', '/v1/loads?label=host%3Dpast'),
  get('load batches', '/v1/load-batches'),
  get('load batches by module and version', '/v1/load-batches?module=tcp&version=1.1.0'),
  {
    what: 'a load batch',
    ask: async ({ client }) => {
      const { items } = unwrapResponse(await client.GET('/v1/load-batches', { params: { query: { limit: 1 } } }));
      unwrapResponse(await client.GET('/v1/load-batches/{batch}', { params: { path: { batch: items[0]?.id ?? '' } } }));
    },
  },
  get('devices', '/v1/devices'),
  get('devices by version', '/v1/devices?module=tcp&version=1.0.0'),
  get('devices by label', '/v1/devices?label=zone%3D1'),
  get('devices that are connected', '/v1/devices?status=connected'),
  get('history of a device', `/v1/devices/${pastDevice(0)}/history`),
  get('modules of a device at a moment', `/v1/devices/${pastDevice(0)}/modules?at=2026-03-01T00%3A00%3A00Z`),
  get('history of a module on a device', `/v1/devices/${pastDevice(0)}/modules/tcp/history`),
  get('devices that run a build', `/v1/modules/tcp/builds/${versionOf(carriedThrough)}/devices?running=true`),
  get('devices that ever ran a build', `/v1/modules/tcp/builds/1.1.0/devices`),
  get('events', '/v1/audit'),
  get('events by action', '/v1/audit?action=load.completed'),
  get('events by object', `/v1/audit?object=${pastDevice(0)}`),
  get('events by actor', '/v1/audit?actor=past'),
  get('hosts', '/v1/hosts'),
  get('builds', '/v1/modules/tcp/builds'),
  get('programs of a device', `/v1/devices/${pastDevice(0)}/programs`),
  get('health', '/v1/health'),
  get('metrics', '/metrics'),
  { what: 'a request for one load', ask: ({ client }, call) => requestLoad(client, call) },
];

function get(what: string, path: string): Question {
  return {
    what,
    ask: async ({ url, key }) => {
      const response = await fetch(`${url}${path}`, { headers: { authorization: `Bearer ${key}` } });
      const text = await response.text();
      if (!response.ok) throw new Error(`${path} responded with ${response.status}: ${text}`);
    },
  };
}

/** For a device of the past, whose host never connects. */
async function requestLoad(client: Client, call: number): Promise<void> {
  const body = { module, version: versionOf(0), devices: [pastDevice(1 + (call % 500))] };
  unwrapResponse(await client.POST('/v1/loads', { body }));
}
