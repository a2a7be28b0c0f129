// The job with the fetch functions that orval generates.

import { randomUUID } from 'node:crypto';
import {
  createBuildWithJson,
  createBuildWithWasm,
  createLoads,
  getDevice,
  getImage,
  getLoad,
  listAuditEvents,
  listModuleHistory,
  type Problem,
  pollOrders,
  type Report,
  registerHost,
  sendReports,
  startProgram,
  stopProgram,
} from './generated/client.js';
import { job, printResult, until } from './job.js';
import { describeFailure, describeOrder, describeStep } from './narrowing.js';

const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
const withKey = bearer(job.key);
const { device, module } = job;

/** Returns the error for an unexpected response. */
function toError({ data, status }: { data: Problem | object; status: number }): Error {
  return new Error('detail' in data ? data.detail : `status ${status}`);
}

async function push({ version, source }: { version: string; source: string }) {
  const response = await createBuildWithJson(module, { version, language: 'wat', source }, {}, withKey);
  if (response.status !== 200 && response.status !== 201) throw toError(response);
  return response.data;
}

async function load(version: string) {
  const response = await createLoads({ module, version, devices: [device], invalidation: 'nx' }, withKey);
  if (response.status !== 202) throw toError(response);
  const [accepted] = response.data.loads;
  if (accepted === undefined) throw new Error('no load was accepted');
  return until('the load has its outcome', async () => {
    const one = await getLoad(accepted.id, withKey);
    if (one.status !== 200) throw toError(one);
    return one.data.state === 'completed' ? one.data : null;
  });
}

await push(job.old);
await load(job.old.version);
const program = await startProgram(device, { module, export: 'work', arguments: [job.endless], threads: 2 }, withKey);
if (program.status !== 202) throw toError(program);
await until('both threads are inside', async () => {
  const { status, data } = await getDevice(device, withKey);
  return (status === 200 && data.moduleTable.some((entry) => entry.module === module && entry.referenceCount === 2)) || null;
});
await push(job.new);
const { id, outcome, interrupted, retried, report } = await load(job.new.version);
const history = await listModuleHistory(device, module, {}, withKey);
if (history.status !== 200) throw toError(history);
const audit = await listAuditEvents({ object: id, order: 'desc' }, withKey);
if (audit.status !== 200) throw toError(audit);
const stopped = await stopProgram(device, program.data.id, { headers: { ...withKey.headers, 'idempotency-key': randomUUID() } });
if (stopped.status !== 202) throw toError(stopped);

const refused = await createLoads({ module, version: '9.9.9', devices: [device] }, withKey);
if (refused.status !== 422) throw toError(refused);
const problem = refused.data;

const { prebuilt } = job;
const pushed = await createBuildWithWasm(prebuilt.module, new Blob([prebuilt.image]), { version: prebuilt.version }, withKey);
if (pushed.status !== 201) throw toError(pushed);
const image = await getImage(prebuilt.module, prebuilt.version, withKey);
if (image.status !== 200) throw new Error(`the image returned status ${image.status}`);
if (image.data.size !== pushed.data.image.bytes) throw new Error('the returned image has another size');

const bootId = randomUUID();
const registered = await registerHost(
  { name: module, bootId, capacity: 1, devices: [{ name: `of-${module}`, labels: {}, ramPages: 16 }] },
  bearer(job.joinToken),
);
if (registered.status !== 201) throw toError(registered);
const { host, token } = registered.data;
const next = await pollOrders(host, { bootId, waitSeconds: 5 }, bearer(token));
if (next.status !== 200) throw toError(next);
const { orders } = next.data;
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
const { status } = await sendReports(host, { bootId, reports: [attached] }, bearer(token));
if (status !== 204 || describeFailure(attached) !== null) throw new Error(`the report returned status ${status}`);

printResult({
  outcome,
  interrupted,
  retried,
  steps: (report?.steps ?? []).map(describeStep),
  history: history.data.items.map(({ version }) => version),
  audit: audit.data.items.map(({ action }) => action),
  problem: { type: problem.type, pointers: (problem.errors ?? []).map(({ pointer }) => pointer) },
  prebuilt: pushed.data.image.digest,
  orders: orders.map(describeOrder),
});
