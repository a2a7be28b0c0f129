// `npm run demo`: the main job from end to end. Starts a service and two device hosts with four devices each, runs programs inside a module on all
// devices, and hot-patches the module while the programs run.

import console from 'node:console';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Client, createPatchbayClient, type Schemas, unwrapAccepted, unwrapResponse } from '../client/client.ts';
import { PatchbayProcess } from './running/patchbay-process.ts';
import { formatTable } from './terminal/table.ts';

const devicesPerHost = 4;
const hosts = ['rack-a', 'rack-b'];
/** Bytes of a segment for which version 1.0.0 returns a wrong checksum. */
const segmentLength = 1480;
/** Rounds that keep a thread inside the module for hours. */
const endlessRounds = 2_000_000_000;
const longThreads = 25;
/** Maximum wait for a condition, in milliseconds. */
const conditionTimeout = 30_000;

const startedAt = performance.now();
const log = (text: string) => console.log(`${((performance.now() - startedAt) / 1_000).toFixed(1).padStart(5)} s  ${text}`);

const folder = mkdtempSync(join(tmpdir(), 'patchbay-demo-'));
const children: PatchbayProcess[] = [];

async function stopAll(): Promise<void> {
  await Promise.all(children.toReversed().map((child) => child.stop()));
  rmSync(folder, { recursive: true, force: true });
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => stopAll().finally(() => process.exit(130)));
}

try {
  await runDemo();
} catch (error) {
  console.error(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`);
  for (const child of children) console.error(`\n--- last output of ${child.name}:\n${child.lastLines}`);
  process.exitCode = 1;
} finally {
  await stopAll();
}

async function runDemo(): Promise<void> {
  const url = await startProcesses();
  const client = createPatchbayClient(url, readFileSync(join(folder, 'admin-key'), 'utf8').trim());
  const devices = await until('all devices are connected', async () => {
    const { items } = unwrapResponse(await client.GET('/v1/devices', { params: { query: { limit: 200 } } }));
    const connected = items.filter(({ status }) => status === 'connected');
    return connected.length === hosts.length * devicesPerHost
      ? connected.toSorted((left, right) => left.name.localeCompare(right.name))
      : null;
  });
  log(`${devices.length} devices are connected`);

  await pushBuild(client, '1.0.0');
  await loadEverywhere(client, '1.0.0');
  const programs = await startPrograms(client, devices);
  await pushBuild(client, '1.1.0');
  const loads = await loadEverywhere(client, '1.1.0');
  const after = await until('every short-call program has completed calls in 1.1.0', async () => {
    const states = await Promise.all(programs.map((program) => program.read()));
    const patched = states.filter(({ statistics }) =>
      statistics?.versions.some(({ version, callsCompleted }) => version === '1.1.0' && callsCompleted > 0),
    );
    return patched.length === programs.length ? states : null;
  });

  printLoads(devices, loads);
  printChecksums(
    programs.map(({ before }) => before),
    after,
  );
  await printAudit(client);
  await printHealth(client);
  await checkResults(client, loads, after, devices);
  log('done: every device runs tcp@1.1.0, and no call failed');
}

async function startProcesses(): Promise<string> {
  log('starting the service');
  const service = new PatchbayProcess('the service', [
    'serve',
    '--no-embedded-host',
    '--port',
    '0',
    '--database',
    join(folder, 'patchbay.db'),
  ]);
  children.push(service);
  const [, url = ''] = await service.waitForLine(/API +(http:\S+)\/v1$/);
  log(`the service listens on ${url}; starting ${hosts.length} device hosts with ${devicesPerHost} devices each`);
  for (const [index, name] of hosts.entries()) {
    const zone = index === 0 ? 'north' : 'south';
    children.push(
      new PatchbayProcess(`the host ${name}`, [
        'host',
        '--control',
        url,
        '--name',
        name,
        '--devices',
        String(devicesPerHost),
        '--labels',
        'fleet=demo',
        '--labels',
        `zone=${zone}`,
        '--token-file',
        join(folder, 'join-token'),
      ]),
    );
  }
  return url;
}

async function pushBuild(client: Client, version: string): Promise<void> {
  const source = readFileSync(new URL(`../../examples/tcp/${version}/tcp.ts`, import.meta.url), 'utf8');
  const build = unwrapResponse(
    await client.POST('/v1/modules/{module}/builds', {
      params: { path: { module: 'tcp' } },
      body: { version, language: 'assemblyscript', source },
    }),
  );
  log(`pushed tcp@${version}: ${build.image.bytes} bytes, compiled by ${build.compiler}`);
}

/** Loads a version on every device, and returns the loads when each has its outcome. */
async function loadEverywhere(client: Client, version: string) {
  const accepted = unwrapAccepted(
    await client.POST('/v1/loads', { body: { module: 'tcp', version, labels: { fleet: 'demo' }, strategy: 'inject', invalidation: 'nx' } }),
  );
  const loads = await until(`all ${accepted.loads.length} loads of tcp@${version} have an outcome`, async () => {
    const { items } = unwrapResponse(
      await client.GET('/v1/loads', { params: { query: { batch: accepted.batch, state: 'completed', limit: 200 } } }),
    );
    return items.length === accepted.loads.length ? items : null;
  });
  const outcomes = [...Map.groupBy(loads, ({ outcome }) => outcome)].map(([outcome, { length }]) => `${length} ${outcome}`);
  log(`loaded tcp@${version} on ${loads.length} devices: ${outcomes.join(', ')}`);
  return Promise.all(loads.map(async ({ id }) => unwrapResponse(await client.GET('/v1/loads/{load}', { params: { path: { load: id } } }))));
}

type CompletedLoad = Awaited<ReturnType<typeof loadEverywhere>>[number];

type RunningProgram = { readonly read: () => Promise<Schemas['Program']>; readonly before: Schemas['Program'] };

/** Starts two programs per device: one with endless short calls, one whose threads remain inside one access for hours. Returns the former. */
async function startPrograms(client: Client, devices: readonly Schemas['Device'][]): Promise<RunningProgram[]> {
  const start = async (device: string, name: string, rounds: number, threads: number) => {
    const body = {
      name,
      module: 'tcp',
      export: 'checksum',
      arguments: [segmentLength, rounds],
      threads,
      calls: null,
      pauseMilliseconds: 0,
    };
    const program = unwrapResponse(await client.POST('/v1/devices/{device}/programs', { params: { path: { device } }, body }));
    return async () =>
      unwrapResponse(await client.GET('/v1/devices/{device}/programs/{program}', { params: { path: { device, program: program.id } } }));
  };
  const reads = await Promise.all(
    devices.map(async ({ id }) => {
      await start(id, 'long-access', endlessRounds, longThreads);
      return start(id, 'short-calls', 1, 4);
    }),
  );
  await until(`${longThreads} threads are inside tcp on every device`, async () => {
    const details = await Promise.all(
      devices.map(async ({ id }) => unwrapResponse(await client.GET('/v1/devices/{device}', { params: { path: { device: id } } }))),
    );
    return details.every(({ moduleTable }) => (moduleTable[0]?.referenceCount ?? 0) >= longThreads) || null;
  });
  const programs = await until('every short-call program has completed calls in 1.0.0', async () => {
    const before = await Promise.all(reads.map((read) => read()));
    return before.every(({ statistics }) => (statistics?.callsCompleted ?? 0) > 0) ? before : null;
  });
  log(
    `${devices.length * (longThreads + 4)} threads are calling tcp.checksum, ${devices.length * longThreads} of them inside one access for hours`,
  );
  return reads.map((read, index) => ({ read, before: programs[index] ?? fail('a program is missing') }));
}

function printLoads(devices: readonly Schemas['Device'][], loads: readonly CompletedLoad[]): void {
  const names = new Map(devices.map(({ id, name }) => [id, name]));
  const operations = [200, 210, 220, 230, 240, 250, 260, 270, 275];
  const rows = loads
    .toSorted((left, right) => (names.get(left.device) ?? '').localeCompare(names.get(right.device) ?? ''))
    .map(({ device, outcome, interrupted, retried, failed, report }) => {
      const times = operations.map((operation) => {
        const steps = report?.steps.filter((step) => step.operation === operation) ?? [];
        return Math.round(steps.reduce((sum, { microseconds }) => sum + microseconds, 0));
      });
      const addresses = `${report?.previous?.address ?? 'none'} → ${report?.current?.address ?? 'none'}`;
      return [
        names.get(device) ?? device,
        outcome ?? '',
        addresses,
        interrupted ?? 0,
        retried ?? 0,
        failed ?? 0,
        ...times,
        Math.round(report?.microseconds ?? 0),
      ];
    });
  const headings = [
    'device',
    'outcome',
    'address',
    'interrupted',
    'retried',
    'failed',
    ...operations.map((operation) => `op ${operation}`),
    'total µs',
  ];
  console.log(
    `\nLoads of tcp@1.1.0 (microseconds per operation of US 8,689,206 B2, FIG. 2)\n\n${formatTable(headings, rows).join('\n')}\n`,
  );
}

function printChecksums(before: readonly Schemas['Program'][], after: readonly Schemas['Program'][]): void {
  const calls = new Map<string, number>();
  for (const { statistics } of after)
    for (const { version, callsCompleted } of statistics?.versions ?? []) calls.set(version, (calls.get(version) ?? 0) + callsCompleted);
  const results = (programs: readonly Schemas['Program'][]) =>
    [...new Set(programs.map(({ statistics }) => statistics?.lastResult))].join(', ');
  const rows = [
    ['1.0.0', calls.get('1.0.0') ?? 0, results(before)],
    ['1.1.0', calls.get('1.1.0') ?? 0, results(after)],
  ];
  console.log(
    `Short calls by version\n\n${formatTable(['version', 'calls completed', `checksum of ${segmentLength} bytes`], rows).join('\n')}\n`,
  );
}

async function printAudit(client: Client): Promise<void> {
  const { items } = unwrapResponse(await client.GET('/v1/audit', { params: { query: { limit: 6 } } }));
  const rows = items.toReversed().map(({ number, at, action, object }) => [number, at, action, object]);
  console.log(`Newest audit events\n\n${formatTable(['number', 'time', 'action', 'object'], rows).join('\n')}\n`);
}

async function printHealth(client: Client): Promise<void> {
  const { status, hosts: connections, devices, loads, accesses } = unwrapResponse(await client.GET('/v1/health'));
  const outcomes = Object.entries(loads.outcomes).map(([outcome, count]) => `${count} ${outcome}`);
  console.log(
    `Health: ${status}. ${connections.connected} hosts and ${devices.connected} devices connected; ${loads.completed} loads completed (${outcomes.join(', ')}), ${loads.queued} queued; ${accesses.interrupted} accesses interrupted, ${accesses.failed} failed.\n`,
  );
}

/** Checks that the patch had the expected results. @throws {Error} */
async function checkResults(
  client: Client,
  loads: readonly CompletedLoad[],
  after: readonly Schemas['Program'][],
  devices: readonly Schemas['Device'][],
): Promise<void> {
  for (const { id, outcome, interrupted, retried, failed, reason } of loads) {
    if (outcome !== 'replaced-interrupting')
      throw new Error(`the load ${id}: expected the outcome replaced-interrupting, received ${outcome}: ${reason}`);
    if (failed !== 0 || retried !== interrupted || (interrupted ?? 0) < longThreads)
      throw new Error(`the load ${id} interrupted ${interrupted} accesses: ${retried} were retried, ${failed} failed`);
  }
  for (const { id, statistics } of after) {
    if (statistics?.callsFailed !== 0)
      throw new Error(`the program ${id} had ${statistics?.callsFailed} failed calls: ${statistics?.lastFailure}`);
  }
  for (const { id, name } of devices) {
    const { moduleTable, memoryMap } = unwrapResponse(await client.GET('/v1/devices/{device}', { params: { path: { device: id } } }));
    if (moduleTable[0]?.version !== '1.1.0')
      throw new Error(`${name} has tcp@${moduleTable[0]?.version} in its module table, expected tcp@1.1.0`);
    if (!memoryMap?.ranges.some(({ owner, nx }) => owner.version === '1.0.0' && nx))
      throw new Error(`the pages of tcp@1.0.0 on ${name} are not marked NX`);
  }
}

/** Polls until the result is not null. @throws {Error} after 30 s, or if a process has exited. */
async function until<Value>(condition: string, poll: () => Promise<Value | null>): Promise<Value> {
  const deadline = performance.now() + conditionTimeout;
  for (;;) {
    const value = await Promise.race([
      poll(),
      ...children.map((child) => child.exited.then((code) => fail(`${child.name} exited (${code})`))),
    ]);
    if (value !== null) return value;
    if (performance.now() > deadline) throw new Error(`condition not met within ${conditionTimeout / 1_000} s: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function fail(message: string): never {
  throw new Error(message);
}
