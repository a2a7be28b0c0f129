// The job with openapi-fetch and the types of openapi-typescript.

import { randomUUID } from 'node:crypto';
import createClient from 'openapi-fetch';
import type { components, paths } from './generated/api.js';
import { job, printResult, until } from './job.js';
import { describeFailure, describeOrder, describeStep } from './narrowing.js';

type Report = components['schemas']['Report'];
type Problem = components['schemas']['Problem'];

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const client = createClient<paths>({ baseUrl: job.url, headers: bearer(job.key) });
const { device, module } = job;

function found<Data>({ data, error }: { data?: Data; error?: Problem }): Data {
  if (data === undefined) throw new Error(error?.detail);
  return data;
}

async function push({ version, source }: { version: string; source: string }) {
  return found(
    await client.POST('/v1/modules/{module}/builds', { params: { path: { module } }, body: { version, language: 'wat', source } }),
  );
}

async function load(version: string) {
  const created = found(await client.POST('/v1/loads', { body: { module, version, devices: [device], invalidation: 'nx' } }));
  if (!('loads' in created)) throw new Error('a preview creates no load');
  const [accepted] = created.loads;
  if (accepted === undefined) throw new Error('no load was accepted');
  return until('the load has its outcome', async () => {
    const one = found(await client.GET('/v1/loads/{load}', { params: { path: { load: accepted.id } } }));
    return one.state === 'completed' ? one : null;
  });
}

await push(job.old);
await load(job.old.version);
const program = found(
  await client.POST('/v1/devices/{device}/programs', {
    params: { path: { device } },
    body: { module, export: 'work', arguments: [job.endless], threads: 2 },
  }),
);
await until('both threads are inside', async () => {
  const { moduleTable } = found(await client.GET('/v1/devices/{device}', { params: { path: { device } } }));
  return moduleTable.some((entry) => entry.module === module && entry.referenceCount === 2) || null;
});
await push(job.new);
const { id, outcome, interrupted, retried, report } = await load(job.new.version);
const history = found(await client.GET('/v1/devices/{device}/modules/{module}/history', { params: { path: { device, module } } }));
const audit = found(await client.GET('/v1/audit', { params: { query: { object: id, order: 'desc' } } }));
found(
  await client.POST('/v1/devices/{device}/programs/{program}/stop', {
    params: { path: { device, program: program.id }, header: { 'Idempotency-Key': randomUUID() } },
  }),
);

const { error } = await client.POST('/v1/loads', { body: { module, version: '9.9.9', devices: [device] } });
if (error === undefined) throw new Error('a missing version was taken');

const { prebuilt } = job;
const pushed = found(
  await client.POST('/v1/modules/{module}/builds', {
    params: { path: { module: prebuilt.module }, query: { version: prebuilt.version } },
    body: new Blob([prebuilt.image]),
    bodySerializer: (body) => body,
    headers: { 'content-type': 'application/wasm' },
  }),
);
const image = found(
  await client.GET('/v1/modules/{module}/builds/{version}/image', {
    params: { path: { module: prebuilt.module, version: prebuilt.version } },
    parseAs: 'blob',
  }),
);
if (image.size !== pushed.image.bytes) throw new Error('the image that came back is another');

const bootId = randomUUID();
const registered = found(
  await client.POST('/agent/v1/hosts', {
    body: { name: module, bootId, capacity: 1, devices: [{ name: `of-${module}`, labels: {}, ramPages: 16 }] },
    headers: bearer(job.joinToken),
  }),
);
const agent = createClient<paths>({ baseUrl: job.url, headers: bearer(registered.token) });
const { host } = registered;
const { orders } = found(
  await agent.GET('/agent/v1/hosts/{host}/orders/next', { params: { path: { host }, query: { bootId, waitSeconds: 5 } } }),
);
const [order] = orders;
if (order === undefined) throw new Error('the host has no order');
const attached: Report = {
  kind: 'device-attached',
  order: order.order,
  device: order.device,
  state: {
    sequence: 1,
    at: new Date().toISOString(),
    moduleTable: [],
    memoryMap: { pageBytes: 4096, pages: 16, usedPages: 0, ranges: [] },
    programs: [],
  },
  failure: null,
};
const { response } = await agent.POST('/agent/v1/hosts/{host}/reports', {
  params: { path: { host } },
  body: { bootId, reports: [attached] },
});
if (response.status !== 204 || describeFailure(attached) !== null) throw new Error(`the report returned status ${response.status}`);

printResult({
  outcome,
  interrupted,
  retried,
  steps: (report?.steps ?? []).map(describeStep),
  history: history.items.map(({ version }) => version),
  audit: audit.items.map(({ action }) => action),
  problem: { type: error.type, pointers: (error.errors ?? []).map(({ pointer }) => pointer) },
  prebuilt: pushed.image.digest,
  orders: orders.map(describeOrder),
});
