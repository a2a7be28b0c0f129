// The job with the functions that oazapfts generates. They send only JSON bodies; the other clients also send bytes.

import { randomUUID } from 'node:crypto';
import { ok } from '@oazapfts/runtime';
import {
  createBuild,
  createLoads,
  defaults,
  getDevice,
  getLoad,
  listAuditEvents,
  listModuleHistory,
  pollOrders,
  type Report,
  registerHost,
  sendReports,
  startProgram,
  stopProgram,
} from './generated/client.js';
import { job, printResult, until } from './job.js';
import { describeFailure, describeOrder, describeStep } from './narrowing.js';

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
defaults.baseUrl = job.url;
defaults.headers = bearer(job.key);
const { device, module } = job;

function push({ version, source }: { version: string; source: string }) {
  return ok(createBuild(module, { version, language: 'wat', source }));
}

async function load(version: string) {
  const created = await ok(createLoads({ module, version, devices: [device], invalidation: 'nx' }));
  if (!('loads' in created)) throw new Error('a preview creates no load');
  const [accepted] = created.loads;
  if (accepted === undefined) throw new Error('no load was accepted');
  return until('the load has its outcome', async () => {
    const one = await ok(getLoad(accepted.id));
    return one.state === 'completed' ? one : null;
  });
}

await push(job.old);
await load(job.old.version);
const program = await ok(startProgram(device, { module, export: 'work', arguments: [job.endless], threads: 2 }));
await until('both threads are inside', async () => {
  const { moduleTable } = await ok(getDevice(device));
  return moduleTable.some((entry) => entry.module === module && entry.referenceCount === 2) || null;
});
await push(job.new);
const { id, outcome, interrupted, retried, report } = await load(job.new.version);
const history = await ok(listModuleHistory(device, module));
const audit = await ok(listAuditEvents({ $object: id, order: 'desc' }));
await ok(stopProgram(device, program.id, { idempotencyKey: randomUUID() }));

const refused = await createLoads({ module, version: '9.9.9', devices: [device] });
if (refused.status !== 422) throw new Error(`a missing version returned status ${refused.status}`);
const problem = refused.data;

const bootId = randomUUID();
const registration = { name: module, bootId, capacity: 1, devices: [{ name: `of-${module}`, labels: {}, ramPages: 16 }] };
const { host, token } = await ok(registerHost(registration, { headers: bearer(job.joinToken) }));
const asHost = { headers: bearer(token) };
const { orders } = await ok(pollOrders(host, bootId, { waitSeconds: 5 }, asHost));
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
const { status } = await sendReports(host, { bootId, reports: [attached] }, asHost);
if (status !== 204 || describeFailure(attached) !== null) throw new Error(`the report returned status ${status}`);

printResult({
  outcome,
  interrupted,
  retried,
  steps: (report?.steps ?? []).map(describeStep),
  history: history.items.map(({ version }) => version),
  audit: audit.items.map(({ action }) => action),
  problem: { type: problem.type, pointers: (problem.errors ?? []).map(({ pointer }) => pointer) },
  prebuilt: null,
  orders: orders.map(describeOrder),
});
