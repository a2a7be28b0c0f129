// Rejected reports: the load ends as failed with the reason, the state of the device still arrives, and health and the log of the host report it.

import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { runHost } from '../../../src/host/host.ts';
import { type Report, Reports } from '../../../src/protocol/agent.ts';
import { createLogger } from '../../../src/protocol/logging.ts';
import { itemsOf, joinToken, TestService, until, workModule } from '../test-service.ts';

/** Why a report is rejected, in the words of the service; null: it is accepted. */
type Verdict = { readonly status: number; readonly detail: string } | null;

let service: TestService;
/** Judges each report that passes the proxy between host and service. */
let judge: (report: Report) => Verdict;
let log: string;
let stop: AbortController;
let host: Promise<void>;
const proxy = createServer((incoming, response) => {
  forward(incoming, response).catch(() => response.destroy());
});

async function forward(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const verdict = incoming.url?.endsWith('/reports') ? verdictOn(body) : null;
  if (verdict !== null) {
    const { status, detail } = verdict;
    response.writeHead(status, { 'content-type': 'application/problem+json' }).end(JSON.stringify({ type: 'x', status, detail }));
    return;
  }
  const { url } = service;
  const onward = request(`${url}${incoming.url}`, { method: incoming.method ?? 'GET', headers: incoming.headers }, (received) => {
    response.writeHead(received.statusCode ?? 502, received.headers);
    received.on('error', () => response.destroy()).pipe(response);
  });
  response.on('close', () => onward.destroy());
  onward.on('error', () => response.destroy()).end(body);
}

/** Returns the verdict on a batch: the service rejects a batch with one rejected report. */
function verdictOn(body: Buffer): Verdict {
  for (const report of Reports.parse(JSON.parse(body.toString())).reports) {
    const verdict = judge(report);
    if (verdict !== null) return verdict;
  }
  return null;
}

beforeEach(async () => {
  judge = () => null;
  log = '';
  service = await new TestService().start();
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const address = proxy.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  stop = new AbortController();
  const stream = new Writable({
    write: (chunk, _encoding, done) => {
      log += chunk;
      done();
    },
  });
  host = runHost({
    controlUrl: `http://127.0.0.1:${address.port}`,
    joinToken,
    name: 'host',
    devices: ['host-1', 'host-2'].map((name) => ({ name, labels: {}, ramPages: 64 })),
    capacity: 2,
    trustedKeys: null,
    signal: stop.signal,
    logger: createLogger({ level: 'info', stream }),
  });
});
afterEach(async () => {
  stop.abort();
  await host;
  proxy.closeAllConnections();
  await new Promise((resolve) => proxy.close(resolve));
  await service.close();
});

async function twoDevices(): Promise<[string, string]> {
  const [one = '', two = ''] = await service.connectedDevices(2);
  await service.push('tcp', '1.0.0', workModule(1));
  await service.push('tcp', '1.1.0', workModule(2));
  return [one, two];
}

const Device = z.object({ modules: z.record(z.string(), z.string()), drift: z.array(z.unknown()) });
const device = async (id: string) => Device.parse((await service.get(`/v1/devices/${id}`)).body);
const newestEntry = async (id: string) => itemsOf(await service.get(`/v1/devices/${id}/modules/tcp/history`))[0];
const reasons = async () => (await service.get('/v1/health')).body.reasons;

test.each([400, 413, 422])(
  'a load whose report is rejected (%i) ends failed, and the device is known to have the version',
  async (status) => {
    const [one, two] = await twoDevices();
    const isComplete = (report: Report) => report.kind === 'load-completed' && report.device === one && report.rejection === undefined;
    judge = (report) => (isComplete(report) ? { status, detail: `the reason "\u0007${'x'.repeat(2_000)}" is too long` } : null);
    const [bad, good] = await service.load('tcp', '1.0.0', [one, two]);
    expect(bad).toMatchObject({
      outcome: 'failed',
      reason: expect.stringMatching(/^the service rejected the report: the reason " x+$/),
    });
    expect(good).toMatchObject({ outcome: 'installed' });
    expect(await device(one)).toMatchObject({ modules: { tcp: '1.0.0' }, drift: [{ module: 'tcp', expected: null, observed: '1.0.0' }] });
    expect(await newestEntry(one)).toMatchObject({ version: '1.0.0', source: 'observed', removedAt: null });
    expect(await reasons()).toEqual([
      expect.stringMatching(/^drift of 1 module: host-1 \(tcp@1\.0\.0, expected none\)/),
      expect.stringMatching(/rejected reports of 1 device: host-1 \(the service rejected the report/),
    ]);
    expect(itemsOf(await service.get('/v1/audit?action=device.report-rejected'))).toMatchObject([
      { object: one, outcome: 'failed', detail: { report: 'load-completed' } },
    ]);
    expect(log).toMatch(
      /"report":"load-completed","device":"dev_\w+","order":"ord_\w+".*the service rejected a report; sending a reduced report/,
    );

    judge = () => null;
    expect(await service.load('tcp', '1.1.0', [one])).toMatchObject([{ outcome: 'replaced' }]);
    expect(await device(one)).toMatchObject({ modules: { tcp: '1.1.0' }, drift: [] });
    expect(await reasons()).toEqual([]);
  },
);

test('if the state is rejected too, the report updates the module table, or at least ends the load', async () => {
  const [one, two] = await twoDevices();
  const detail = 'a name in the state is too long';
  judge = ({ device: of, state }) => {
    if (of === one && state.memoryMap.ranges.length > 0) return { status: 422, detail };
    return of === two && state.moduleTable.length > 0 ? { status: 422, detail } : null;
  };
  const loads = await service.load('tcp', '1.0.0', [one, two]);
  expect(loads).toMatchObject(Array(2).fill({ outcome: 'failed', reason: `the service rejected the report: ${detail}` }));
  expect(await device(one)).toMatchObject({ modules: { tcp: '1.0.0' } });
  expect(await newestEntry(one)).toMatchObject({ version: '1.0.0', source: 'observed' });
  expect(await device(two)).toMatchObject({ modules: {}, drift: [] });
  expect(log).toMatch(/"modulesInState":0/);
});

test('an incomplete state removes nothing from the history', async () => {
  const [one] = await twoDevices();
  await service.load('tcp', '1.0.0', [one]);
  judge = ({ device: of, state }) => (of === one && state.moduleTable.length > 0 ? { status: 422, detail: 'no' } : null);
  await service.post(`/v1/devices/${one}/programs`, { module: 'tcp', export: 'work', arguments: [5], calls: 1 });
  await until('an empty state has arrived', async () => Object.keys((await device(one)).modules).length === 0);
  expect(await device(one)).toMatchObject({ drift: [] });
  expect(await newestEntry(one)).toMatchObject({ version: '1.0.0', source: 'load', removedAt: null });
  expect(await reasons()).toEqual([expect.stringContaining('rejected reports of 1 device')]);
});
