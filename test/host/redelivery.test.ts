// A simulated service that repeats orders, loses reports, and becomes unreachable.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { runHost } from '../../src/host/host.ts';
import { type Order, type Report, Reports } from '../../src/protocol/agent.ts';
import { newIdentifier } from '../../src/protocol/identifiers.ts';
import { until } from '../machine/test-machine.ts';

const reports: Report[] = [];
let registrations: number;
let stream: ServerResponse | null;
let refuseReports: boolean;
/** The last reports that the service rejected. */
let refused: string;
/** Whether the next reports get the response of a truncated request. */
let cutShort: boolean;
/** The error response to downloads of images. */
let imageStatus: number;
/** Paths of requested images. */
const requestedImages: string[] = [];
/** An order whose report the service rejects as malformed. */
let malformed: string;
/** The status of responses to heartbeats. */
let heartbeatStatus: number;
let heartbeats: number;
const problem = { 'content-type': 'application/problem+json' };
const stop = { controller: new AbortController(), ended: Promise.resolve() };
const server = createServer((request, response) => {
  respond(request, response).catch((error) => response.destroy(error));
});

async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  const path = request.url ?? '';
  if (path === '/agent/v1/hosts') {
    registrations += 1;
    response.writeHead(201, { 'content-type': 'application/json' }).end(
      JSON.stringify({
        host: newIdentifier('host'),
        name: 'host',
        devices: 0,
        token: 'agt_test',
        heartbeatSeconds: 0.02,
        signingKeys: [],
      }),
    );
  } else if (path.endsWith('/heartbeats')) {
    heartbeats += 1;
    response.writeHead(heartbeatStatus).end();
  } else if (path.includes('/orders')) {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': \n\n');
    stream = response;
  } else if (path.endsWith('/reports')) {
    const isCutShort = cutShort;
    cutShort = false;
    const status = isCutShort ? 400 : refuseReports ? 503 : malformed !== '' && body.includes(malformed) ? 400 : 204;
    if (status === 204) reports.push(...Reports.parse(JSON.parse(body)).reports);
    else refused = body;
    response.writeHead(status, status === 400 && !isCutShort ? problem : {}).end();
  } else {
    const isImage = path.startsWith('/agent/v1/images/');
    if (isImage && !path.endsWith('/provenance')) requestedImages.push(path);
    response.writeHead(isImage ? imageStatus : 404, problem).end();
  }
}

beforeEach(async () => {
  reports.length = 0;
  requestedImages.length = 0;
  registrations = 0;
  stream = null;
  refuseReports = false;
  refused = '';
  malformed = '';
  heartbeatStatus = 204;
  heartbeats = 0;
  cutShort = false;
  imageStatus = 404;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  const { port } = address;
  stop.controller = new AbortController();
  stop.ended = runHost({
    controlUrl: `http://127.0.0.1:${port}`,
    joinToken: 'join-token-of-this-test',
    name: 'host',
    devices: [],
    capacity: 1,
    trustedKeys: null,
    signal: stop.controller.signal,
    logger: pino({ enabled: false }),
  });
  await until(() => stream !== null, 'the host has an order stream');
});
afterEach(async () => {
  stop.controller.abort();
  await stop.ended;
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const device = newIdentifier('device');
const attach = {
  kind: 'attach-device',
  order: newIdentifier('order'),
  device,
  sequence: 1,
  name: 'd1',
  ramPages: 64,
  modules: [],
  programs: [],
};
const deliver = (order: object) => stream?.write(`event: order\ndata: ${JSON.stringify(order)}\n\n`);
const reportsOf = (kind: Order['kind'] | Report['kind']) => reports.filter((report) => report.kind === kind);

test('a repeated order is not executed again, and its report is sent again', async () => {
  deliver(attach);
  await until(() => reportsOf('device-attached').length === 1);
  deliver(attach);
  await until(() => reportsOf('device-attached').length === 2);
  const [first, second] = reportsOf('device-attached').map(({ state, ...rest }) => ({ rest, sequence: state.sequence ?? 0 }));
  expect(second?.rest).toEqual(first?.rest);
  // The repeated report has the current state of the device.
  expect(second?.sequence).toBeGreaterThan(first?.sequence ?? 0);
});

test('a load under another order is executed once, and reported for that order too', async () => {
  deliver(attach);
  await until(() => reportsOf('device-attached').length === 1);
  const image = `sha256:${'0'.repeat(64)}`;
  const load = {
    kind: 'load',
    load: newIdentifier('load'),
    module: 'tcp',
    version: '1.0.0',
    image,
    strategy: 'inject',
    invalidation: 'nx',
  };
  const [first, second, third, fourth] = ['first', 'second', 'third', 'fourth'].map(() => newIdentifier('order'));
  const deliverAs = (order = '') => deliver({ ...load, order, device, sequence: 2, deadline: null });
  imageStatus = 503;
  deliverAs(first);
  await until(() => requestedImages.length > 0, 'the load is in progress');
  deliverAs(second);
  deliver(attach);
  await until(() => reportsOf('device-attached').length === 2, 'the second order has arrived');
  refuseReports = true;
  imageStatus = 404;
  await until(() => refused.includes(second ?? ''), 'the load is done and not reported');
  deliverAs(third);
  await until(() => refused.includes(third ?? ''), 'the report for the third order is sent');
  refuseReports = false;
  await until(() => reportsOf('load-completed').length === 2, 'the reports are delivered');
  deliverAs(fourth);
  await until(() => reportsOf('load-completed').length === 3, 'the load is reported for the fourth order');
  const completed = reports.flatMap((report) => (report.kind === 'load-completed' ? [report] : []));
  expect(completed.map(({ order }) => order)).toEqual([second, third, fourth]);
  // Every report has the same duration.
  expect(new Set(completed.map(({ result }) => JSON.stringify(result))).size).toBe(1);
});

test('orders that end a drain do not wait for the load, nor replace its order, and a repeated one is reported again', async () => {
  deliver(attach);
  await until(() => reportsOf('device-attached').length === 1);
  const [loadOrder, injectOrder, cancelOrder] = [newIdentifier('order'), newIdentifier('order'), newIdentifier('order')];
  const load = newIdentifier('load');
  const build = { module: 'tcp', version: '1.0.0', image: `sha256:${'0'.repeat(64)}`, strategy: 'drain', invalidation: 'nx' };
  const inject = { kind: 'inject-load', order: injectOrder, device, sequence: 3, load };
  imageStatus = 503;
  deliver({ kind: 'load', order: loadOrder, device, sequence: 2, load, ...build, deadline: null });
  await until(() => requestedImages.length > 0, 'the load is in progress');
  deliver(inject);
  await until(() => reportsOf('load-injected').length === 1, 'the order is reported while the load is in progress');
  deliver(inject);
  deliver({ kind: 'cancel-load', order: cancelOrder, device, sequence: 4, load, reason: 'cancelled by a test' });
  await until(() => reportsOf('load-injected').length === 2 && reportsOf('load-cancelled').length === 1, 'all orders are reported');
  expect(reportsOf('load-completed')).toEqual([]);
  const failure = `the load ${load} is not draining`;
  expect([...reportsOf('load-injected'), ...reportsOf('load-cancelled')]).toMatchObject([
    { order: injectOrder, load, failure },
    { order: injectOrder, load, failure },
    { order: cancelOrder, load, failure },
  ]);
  imageStatus = 404;
  await until(() => reportsOf('load-completed').length === 1, 'the load is reported');
  expect(reportsOf('load-completed')).toMatchObject([{ order: loadOrder, load }]);
});

test('the last 2,000 acknowledged reports are remembered; an older order is executed again', { timeout: 300_000 }, async () => {
  deliver(attach);
  const orders = Array.from({ length: 2_001 }, (_, index) => {
    const image = `sha256:${index.toString(16).padStart(64, '0')}`;
    const load = { load: newIdentifier('load'), module: 'tcp', version: '1.0.0', image, strategy: 'inject', invalidation: 'nx' };
    return { kind: 'load', order: newIdentifier('order'), device, sequence: index + 2, deadline: null, ...load };
  });
  for (const order of orders) deliver(order);
  await until(() => reportsOf('load-completed').length === 2_001, 'all orders are reported');
  // The first load is the oldest after the attachment; both reports are no longer remembered.
  const [first, last] = [orders.at(0), orders.at(-1)];
  if (first === undefined || last === undefined) throw new Error('there are 2,001');
  const resultsOf = ({ order }: { order: string }) =>
    reportsOf('load-completed').flatMap((report) => (report.kind === 'load-completed' && report.order === order ? [report.result] : []));
  for (const order of [first, last]) deliver(order);
  await until(() => resultsOf(first).length === 2 && resultsOf(last).length === 2, 'both are reported again');
  expect(resultsOf(last)[1]).toEqual(resultsOf(last)[0]);
  const downloadsOf = ({ image }: { image: string }) => requestedImages.filter((path) => decodeURIComponent(path).endsWith(image)).length;
  expect([downloadsOf(first), downloadsOf(last)]).toEqual([2, 1]);
});

test('each state has a higher sequence than the one before, also after the device attaches again', async () => {
  deliver(attach);
  deliver({ kind: 'stop-program', order: newIdentifier('order'), device, sequence: 2, program: newIdentifier('program') });
  await until(() => reportsOf('program-stopped').length === 1);
  deliver({ ...attach, order: newIdentifier('order'), sequence: 3 });
  await until(() => reportsOf('device-attached').length === 2);
  const sequences = reports.filter(({ kind }) => kind !== 'device-state').map(({ state }) => state.sequence ?? 0);
  expect(sequences[0]).toBeGreaterThan(0);
  expect(sequences[1]).toBeGreaterThan(sequences[0] ?? 0);
  expect(sequences[2]).toBeGreaterThan(sequences[1] ?? 0);
});

test('rejected reports are delivered when the service accepts them', async () => {
  refuseReports = true;
  deliver(attach);
  deliver({ kind: 'stop-program', order: newIdentifier('order'), device, sequence: 2, program: newIdentifier('program') });
  await until(() => refused.includes('program-stopped'), 'the reports are refused');
  refuseReports = false;
  await until(() => reportsOf('program-stopped').length === 1);
  expect(reports.filter(({ kind }) => kind !== 'device-state').map(({ kind }) => kind)).toEqual(['device-attached', 'program-stopped']);
  expect(reportsOf('program-stopped')).toMatchObject([{ failure: expect.stringContaining('has no program') }]);
});

test('a truncated report that gets a 400 without problem details is delivered again', async () => {
  cutShort = true;
  deliver(attach);
  await until(() => reportsOf('device-attached').length === 1);
  expect(reportsOf('device-attached')).toMatchObject([{ order: attach.order }]);
});

test('a report that the service rejects as malformed does not block others', async () => {
  refuseReports = true;
  deliver(attach);
  malformed = newIdentifier('order');
  const orders = [newIdentifier('order'), malformed, newIdentifier('order'), newIdentifier('order')];
  for (const [index, order] of orders.entries())
    deliver({ kind: 'stop-program', order, device, sequence: index + 2, program: newIdentifier('program') });
  await until(() => orders.every((order) => refused.includes(order)), 'all reports are in one request');
  refuseReports = false;
  await until(() => reportsOf('program-stopped').length === 3);
  expect(reportsOf('program-stopped')).toMatchObject(orders.filter((order) => order !== malformed).map((order) => ({ order })));
});

test('skips malformed orders, and refuses a load whose image does not exist', async () => {
  stream?.write('event: order\ndata: {"kind":"dance"}\n\n');
  stream?.write('event: order\ndata: not json\n\n');
  deliver({
    ...attach,
    kind: 'load',
    order: newIdentifier('order'),
    load: newIdentifier('load'),
    module: 'tcp',
    version: '1.0.0',
    image: `sha256:${'0'.repeat(64)}`,
    strategy: 'inject',
    invalidation: 'nx',
    deadline: null,
  });
  deliver(attach);
  const order = newIdentifier('order');
  deliver({
    kind: 'load',
    order,
    device,
    sequence: 3,
    load: newIdentifier('load'),
    module: 'tcp',
    version: '1.0.0',
    image: `sha256:${'0'.repeat(64)}`,
    strategy: 'inject',
    invalidation: 'nx',
    deadline: null,
  });
  await until(() => reportsOf('load-completed').length === 1);
  expect(reportsOf('load-completed')).toMatchObject([
    { order, result: { outcome: 'refused-image', reason: expect.stringContaining('404') } },
  ]);
});

test('a module that was unloaded is not restored when the device attaches again in the same boot', async () => {
  const policy = { strategy: 'inject', invalidation: 'nx' };
  const [tcp, udp] = ['tcp', 'udp'].map((module) => ({ module, version: '1.0.0', image: `sha256:${'0'.repeat(64)}` }));
  deliver(attach);
  const unload = {
    kind: 'unload-module',
    order: newIdentifier('order'),
    device,
    sequence: 2,
    load: newIdentifier('load'),
    module: 'tcp',
    ...policy,
  };
  deliver(unload);
  await until(() => reportsOf('load-completed').length === 1, 'the unload is reported');
  expect(reportsOf('load-completed')).toMatchObject([{ load: unload.load, result: { outcome: 'refused-not-loaded', current: null } }]);
  deliver({ ...attach, order: newIdentifier('order'), sequence: 3, modules: [tcp] });
  await until(() => reportsOf('device-attached').length === 2, 'the device is attached again');
  expect(reportsOf('device-attached')).toMatchObject([{ failure: null }, { failure: null }]);
  expect(requestedImages).toEqual([]);
  // A patch set without an image, and one after its deadline, end with the versions of each member.
  const set = { kind: 'load-patch-set', device, patchSet: { name: 'net', version: '1.0.0' }, ...policy };
  const members = [
    { action: 'load', ...udp },
    { action: 'unload', module: 'tcp' },
  ];
  deliver({ ...set, order: newIdentifier('order'), sequence: 4, load: newIdentifier('load'), members });
  deliver({ ...set, order: newIdentifier('order'), sequence: 5, load: newIdentifier('load'), members, remainingMilliseconds: 0 });
  await until(() => reportsOf('load-completed').length === 3, 'the patch sets are reported');
  const unchanged = ['udp', 'tcp'].map((module) => ({ module, previous: null, current: null }));
  expect(reportsOf('load-completed').slice(1)).toMatchObject([
    { result: { outcome: 'refused-image', previous: null, current: null, members: unchanged } },
    { result: { outcome: 'expired', members: unchanged, steps: [{ step: 'received', module: 'udp' }, {}, {}] } },
  ]);
});

test('the host registers again and opens a new stream when its stream breaks', async () => {
  const before = registrations;
  stream?.destroy();
  stream = null;
  await until(() => stream !== null && registrations > before, 'the host registers and opens a stream again');
  deliver(attach);
  await until(() => reportsOf('device-attached').length === 1);
  expect(reportsOf('device-attached')).toMatchObject([{ order: attach.order }]);
});

/** The value of every random number, which gives the back-off waits that no other timer has. */
const random = 0.777;
const waitUpTo = (bound: number) => bound / 2 + (random * bound) / 2;
/** The waits of a back-off without resets, in milliseconds. */
const growingWaits = [100, 200, 400, 800].map(waitUpTo);

/** Starts recording. Returns a function that returns the back-off waits since then, in milliseconds. */
function watchWaits(): () => number[] {
  vi.spyOn(Math, 'random').mockReturnValue(random);
  const timers = vi.spyOn(globalThis, 'setTimeout');
  onTestFinished(() => {
    vi.restoreAllMocks();
  });
  return () => timers.mock.calls.map(([, milliseconds]) => milliseconds ?? 0).filter((wait) => growingWaits.includes(wait));
}

/** Ends the order stream four times, each 2 s after its start by the clock of the host. */
async function endStreams(end: (stream: ServerResponse) => void): Promise<void> {
  const now = performance.now.bind(performance);
  let ahead = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => now() + ahead);
  for (let round = 0; round < 4; round += 1) {
    ahead += 2_000;
    const ended = stream;
    stream = null;
    if (ended !== null) end(ended);
    await until(() => stream !== null, 'the host has an order stream again');
  }
}

test('a host whose service is killed repeatedly retries soon each time', async () => {
  const waits = watchWaits();
  await endStreams((stream) => stream.destroy());
  expect(waits()).toEqual([100, 100, 100, 100].map(waitUpTo));
});

test('a host whose stream the service ends repeatedly, as for another host of its name, waits longer each time', async () => {
  const waits = watchWaits();
  await endStreams((stream) => stream.end());
  expect(waits()).toEqual(growingWaits);
});

test('queued reports and downloads are retried as soon as the host has registered again', async () => {
  deliver(attach);
  await until(() => reportsOf('device-attached').length === 1);
  // Waits that start now do not end by themselves.
  vi.spyOn(Math, 'random').mockReturnValue(100_000);
  const timers = vi.spyOn(globalThis, 'setTimeout');
  onTestFinished(() => {
    vi.restoreAllMocks();
  });
  refuseReports = true;
  imageStatus = 503;
  deliver({ kind: 'stop-program', order: newIdentifier('order'), device, sequence: 2, program: newIdentifier('program') });
  deliver({
    kind: 'load',
    order: newIdentifier('order'),
    device,
    sequence: 3,
    load: newIdentifier('load'),
    module: 'tcp',
    version: '1.0.0',
    image: `sha256:${'0'.repeat(64)}`,
    strategy: 'inject',
    invalidation: 'nx',
    deadline: null,
  });
  const endless = () => timers.mock.calls.filter(([, milliseconds]) => (milliseconds ?? 0) >= 1_000_000);
  await until(() => endless().length === 2, 'the report and the download wait');
  vi.mocked(Math.random).mockReturnValue(0);
  refuseReports = false;
  imageStatus = 404;
  stream?.destroy();
  await until(() => reportsOf('program-stopped').length === 1 && reportsOf('load-completed').length === 1, 'both are reported');
  expect(registrations).toBe(2);
});

test('a host sends heartbeats, and registers again when the service no longer accepts it', async () => {
  await until(() => heartbeats > 3, 'the host sends heartbeats');
  expect(registrations).toBe(1);
  heartbeatStatus = 503;
  const before = heartbeats;
  await until(() => heartbeats > before + 3, 'the host continues to send heartbeats');
  expect(registrations).toBe(1);
  heartbeatStatus = 401;
  await until(() => registrations > 1, 'the host has registered again');
  heartbeatStatus = 204;
  await until(() => stream !== null, 'the host has an order stream');
});

test('a load after its deadline is not started and is reported as expired, regardless of the clock of the host', async () => {
  deliver(attach);
  const load = (deadline: string, remainingMilliseconds: number | null) => {
    const order = newIdentifier('order');
    const image = `sha256:${'0'.repeat(64)}`;
    const of = { module: 'tcp', version: '1.0.0', image, strategy: 'inject', invalidation: 'nx', deadline, remainingMilliseconds };
    deliver({ kind: 'load', order, device, sequence: 4, load: newIdentifier('load'), ...of });
    return order;
  };
  const [past, future] = ['2020-01-01T00:00:00.000Z', '2120-01-01T00:00:00.000Z'];
  const late = load(future, 0);
  const inTime = [load(past, 600_000), load(future, 600_000), load(past, null)];
  await until(() => reportsOf('load-completed').length === 4);
  expect(reportsOf('load-completed')).toMatchObject([
    { order: late, result: { outcome: 'expired', reason: expect.stringContaining('deadline'), current: null } },
    ...inTime.map((order) => ({ order, result: { outcome: 'refused-image' } })),
  ]);
});
