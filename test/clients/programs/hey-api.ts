// The job with the client that @hey-api/openapi-ts generates.

import { randomUUID } from 'node:crypto';
import { client } from './generated/client.gen.js';
import {
  type CreateBuildErrors,
  type CreateBuildResponses,
  createBuild,
  createLoads,
  getDevice,
  getImage,
  getLoad,
  listAuditEvents,
  listModuleHistory,
  pollOrders,
  type Report,
  registerHost,
  sendReports,
  startProgram,
  stopProgram,
} from './generated/index.js';
import { job, printResult, until } from './job.js';
import { describeFailure, describeOrder, describeStep } from './narrowing.js';

// Returns the data, or throws the problem of the service.
client.setConfig({ baseUrl: job.url, auth: () => job.key, throwOnError: true });
const { device, module } = job;

async function push({ version, source }: { version: string; source: string }) {
  const { data } = await createBuild<true>({ path: { module }, body: { version, language: 'wat', source } });
  return data;
}

async function load(version: string) {
  const { data: accepted } = await createLoads<true>({ body: { module, version, devices: [device], invalidation: 'nx' } });
  if (!('loads' in accepted)) throw new Error('a preview creates no load');
  const [first] = accepted.loads;
  if (first === undefined) throw new Error('no load was accepted');
  return until('the load has its outcome', async () => {
    const { data } = await getLoad<true>({ path: { load: first.id } });
    return data.state === 'completed' ? data : null;
  });
}

await push(job.old);
await load(job.old.version);
const { data: program } = await startProgram<true>({
  path: { device },
  body: { module, export: 'work', arguments: [job.endless], threads: 2 },
});
await until('both threads are inside', async () => {
  const { data } = await getDevice<true>({ path: { device } });
  return data.moduleTable.some((entry) => entry.module === module && entry.referenceCount === 2) || null;
});
await push(job.new);
const { id, outcome, interrupted, retried, report } = await load(job.new.version);
const { data: history } = await listModuleHistory<true>({ path: { device, module } });
const { data: audit } = await listAuditEvents<true>({ query: { object: id, order: 'desc' } });
await stopProgram<true>({ path: { device, program: program.id }, headers: { 'Idempotency-Key': randomUUID() } });

const { error } = await createLoads<false>({ body: { module, version: '9.9.9', devices: [device] }, throwOnError: false });
if (error === undefined) throw new Error('a missing version was taken');

// The function accepts only the first body type of the document; the underlying client accepts all.
const { prebuilt } = job;
const { data: pushed } = await client.post<CreateBuildResponses, CreateBuildErrors, true>({
  url: '/v1/modules/{module}/builds',
  path: { module: prebuilt.module },
  query: { version: prebuilt.version },
  security: [{ scheme: 'bearer', type: 'http' }],
  body: prebuilt.image,
  bodySerializer: null,
  headers: { 'content-type': 'application/wasm' },
});
const { data: image } = await getImage<true>({ path: { module: prebuilt.module, version: prebuilt.version } });
if (image.size !== pushed.image.bytes) throw new Error('the image that came back is another');

const bootId = randomUUID();
const { data: registered } = await registerHost<true>({
  body: { name: module, bootId, capacity: 1, devices: [{ name: `of-${module}`, labels: {}, ramPages: 16 }] },
  auth: () => job.joinToken,
});
const { host, token } = registered;
const { data: next } = await pollOrders<true>({ path: { host }, query: { bootId, waitSeconds: 5 }, auth: () => token });
const [order] = next.orders;
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
const { response } = await sendReports<true>({ path: { host }, body: { bootId, reports: [attached] }, auth: () => token });
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
  orders: next.orders.map(describeOrder),
});
