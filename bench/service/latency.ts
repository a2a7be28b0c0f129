// Measures single loads one after another: the time from the request until the device is patched and until the outcome is committed, and its parts.

import { randomUUID } from 'node:crypto';
import { type Schemas, unwrapAccepted, unwrapResponse } from '../../src/client/client.ts';
import { EndedLoads } from './ended-loads.ts';
import { startFloor } from './floor.ts';
import { Installation, module, versionOf } from './installation.ts';
import { mean, percentile, timeOf } from './measuring.ts';
import type { Figure } from './results.ts';
import type { Bench } from './settings.ts';

const sizes = { full: { loads: 300 }, quick: { loads: 60 } } as const;
/** Warm-up loads that are not counted. */
const warmUps = 20;
const devices = 10;

/** Times of one load by the wall clock, and durations of its parts, in milliseconds. */
export type Course = {
  readonly moments: readonly number[];
  readonly response: number;
  readonly patched: number;
  readonly durable: number;
  /** Duration of the same request to the floor. */
  readonly floor: number;
};

/** Returns the time between two steps. */
const stretches = [
  'HTTP: request → the service begins it',
  'commit of the load → sent to its host',
  'dispatch: sent → the device starts the load',
  'the device executes the load',
  'report: the device has finished → the service has received the report',
  'commit of the outcome → event',
];

export async function measureLatency(bench: Bench): Promise<Figure[]> {
  const { loads } = bench.isQuick ? sizes.quick : sizes.full;
  const installation = await Installation.start('latency', bench);
  const floor = await startFloor(installation.file('floor.db'));
  const ended = await EndedLoads.follow(installation);
  try {
    await installation.pushBuilds(2);
    await installation.addHosts([{ name: 'host', devices, labels: 'host=latency' }]);
    const ids = installation.view.devices();
    const courses: Course[] = [];
    for (let load = 0; load < warmUps + loads; load += 1) {
      const [device = '', build] = [ids[load % devices], Math.floor(load / devices) % 2];
      const course = await carryOut(installation, ended, { device, build, floor: floor.url });
      if (load >= warmUps) courses.push(course);
    }
    bench.progress(`latency: ${loads} loads are executed`);
    return figuresOf(courses);
  } finally {
    ended.close();
    await floor.process.end();
    await installation.end();
  }
}

type Wanted = { readonly device: string; readonly build: number; readonly floor: string };

export async function carryOut(
  { client }: Pick<Installation, 'client'>,
  ended: EndedLoads,
  { device, build, floor }: Wanted,
): Promise<Course> {
  const body = { module, version: versionOf(build), devices: [device] };
  const floorTime = await timeOf(() => askFloor(floor, body));
  const began = Date.now();
  const start = performance.now();
  const { loads } = unwrapAccepted(await client.POST('/v1/loads', { body: { ...body, versionPolicy: 'different' } }));
  const response = performance.now() - start;
  const id = loads[0]?.id ?? '';
  const notified = await ended.of(id);
  const load = unwrapResponse(await client.GET('/v1/loads/{load}', { params: { path: { load: id } } }));
  const { report, requestedAt, dispatchedAt, completedAt } = load;
  if (report === null || dispatchedAt === null || completedAt === null) throw new Error(`unexpected load: ${JSON.stringify(load)}`);
  const begun = timeOfStep(report, 'received');
  const service = [requestedAt, dispatchedAt].map((moment) => Date.parse(moment));
  return {
    moments: [began, ...service, begun, begun + report.microseconds / 1_000, Date.parse(completedAt), notified.at],
    response: response,
    patched: timeOfStep(report, 'table-updated') - began,
    durable: notified.monotonic - start,
    floor: floorTime,
  };
}

async function askFloor(url: string, body: object): Promise<void> {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${randomUUID()}` };
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  if (response.status !== 202) throw new Error(`the floor responded with ${response.status}`);
  await response.json();
}

/** @throws {Error} if the device did not reach the step. */
function timeOfStep({ steps, outcome }: Schemas['LoadReport'], name: string): number {
  const found = steps.find(({ step }) => step === name);
  if (found === undefined) throw new Error(`a load ended as ${outcome}, without the step ${name}`);
  return Date.parse(found.at);
}

function figuresOf(courses: readonly Course[]): Figure[] {
  const part = 'latency' as const;
  const at = (share: number, time: (course: Course) => number) => percentile(courses.map(time), share);
  const floor = (share: number) => ({ what: 'one insert per request', value: at(share, (course) => course.floor) });
  const total = mean(courses.map(({ moments }) => (moments.at(-1) ?? 0) - (moments[0] ?? 0)));
  const figure = (what: string, share: number, time: (course: Course) => number): Figure => ({
    part,
    what: `request → ${what}`,
    value: at(share, time),
    unit: 'ms',
    base: floor(share),
    goal: null,
  });
  return [
    figure('response, sequential, p50', 0.5, ({ response }) => response),
    figure('patched, p50 (whole milliseconds)', 0.5, ({ patched }) => patched),
    figure('patched, p99', 0.99, ({ patched }) => patched),
    figure('outcome durable and reported, p50', 0.5, ({ durable }) => durable),
    figure('outcome durable and reported, p99', 0.99, ({ durable }) => durable),
    ...stretches.map((what, index): Figure => {
      const taken = mean(courses.map(({ moments }) => (moments[index + 1] ?? 0) - (moments[index] ?? 0)));
      return {
        part,
        what: `share of ${total.toFixed(1)} ms: ${what}`,
        value: (100 * taken) / total,
        unit: '%',
        base: null,
        goal: null,
      };
    }),
  ];
}
