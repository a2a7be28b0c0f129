// The job with the functions that orval makes for fetch.

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
import { job, tell, until } from './job.js';
import { factOf, failureOf, taskOf } from './narrowing.js';

const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
const withKey = bearer(job.key);
const { device, module } = job;

/** To be thrown where the answer is not the one that is wanted. */
function failed({ data, status }: { data: Problem | object; status: number }): Error {
  return new Error('detail' in data ? data.detail : `answered ${status}`);
}

async function push({ version, source }: { version: string; source: string }) {
  const answer = await createBuildWithJson(module, { version, language: 'wat', source }, {}, withKey);
  if (answer.status !== 200 && answer.status !== 201) throw failed(answer);
  return answer.data;
}

async function load(version: string) {
  const answer = await createLoads({ module, version, devices: [device], invalidation: 'nx' }, withKey);
  if (answer.status !== 202) throw failed(answer);
  const [accepted] = answer.data.loads;
  if (accepted === undefined) throw new Error('no load was accepted');
  return until('the load has its outcome', async () => {
    const one = await getLoad(accepted.id, withKey);
    if (one.status !== 200) throw failed(one);
    return one.data.state === 'completed' ? one.data : null;
  });
}

await push(job.old);
await load(job.old.version);
const program = await startProgram(device, { module, export: 'work', arguments: [job.endless], threads: 2 }, withKey);
if (program.status !== 202) throw failed(program);
await until('both threads are inside', async () => {
  const { status, data } = await getDevice(device, withKey);
  return (status === 200 && data.moduleTable.some((entry) => entry.module === module && entry.referenceCount === 2)) || null;
});
await push(job.new);
const { id, outcome, interrupted, retried, report } = await load(job.new.version);
const history = await listModuleHistory(device, module, {}, withKey);
if (history.status !== 200) throw failed(history);
const audit = await listAuditEvents({ object: id, order: 'desc' }, withKey);
if (audit.status !== 200) throw failed(audit);
const stopped = await stopProgram(device, program.data.id, { headers: { ...withKey.headers, 'idempotency-key': randomUUID() } });
if (stopped.status !== 202) throw failed(stopped);

const refused = await createLoads({ module, version: '9.9.9', devices: [device] }, withKey);
if (refused.status !== 422) throw failed(refused);
const problem = refused.data;

const { prebuilt } = job;
const pushed = await createBuildWithWasm(prebuilt.module, new Blob([prebuilt.image]), { version: prebuilt.version }, withKey);
if (pushed.status !== 201) throw failed(pushed);
const image = await getImage(prebuilt.module, prebuilt.version, withKey);
if (image.status !== 200) throw new Error(`the image was answered ${image.status}`);
if (image.data.size !== pushed.data.image.bytes) throw new Error('the image that came back is another');

const bootId = randomUUID();
const registered = await registerHost(
  { name: module, bootId, capacity: 1, devices: [{ name: `of-${module}`, labels: {}, ramPages: 16 }] },
  bearer(job.joinToken),
);
if (registered.status !== 201) throw failed(registered);
const { host, token } = registered.data;
const next = await pollOrders(host, { bootId, waitSeconds: 5 }, bearer(token));
if (next.status !== 200) throw failed(next);
const { orders } = next.data;
const [order] = orders;
if (order === undefined) throw new Error('the host has no order');
const answer: Report = {
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
const { status } = await sendReports(host, { bootId, reports: [answer] }, bearer(token));
if (status !== 204 || failureOf(answer) !== null) throw new Error(`the report was answered ${status}`);

tell({
  outcome,
  interrupted,
  retried,
  steps: (report?.steps ?? []).map(factOf),
  history: history.data.items.map(({ version }) => version),
  audit: audit.data.items.map(({ action }) => action),
  problem: { type: problem.type, pointers: (problem.errors ?? []).map(({ pointer }) => pointer) },
  prebuilt: pushed.data.image.digest,
  orders: orders.map(taskOf),
});
