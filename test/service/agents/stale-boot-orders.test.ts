// Requests for orders of an earlier boot that were authenticated before the host registered its next boot: they get none of its orders, and do not end
// its stream.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HostRegistration, type Order, Report } from '../../../src/protocol/agent.ts';
import { Installation } from '../../../src/service/installation.ts';
import { newDatabase, runSql, timeInSql } from '../../databases.ts';
import { defaultSettings } from '../../default-settings.ts';
import { attached } from './agent.ts';

const requester = { actor: 'test', requestId: 'req_test' };
const [former, current] = ['the-former-boot', 'the-current-boot'] as const;

let folder: string;
let database: string;
let installation: Installation;
let signal: AbortSignal;
let end: () => void;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-boots-'));
  const settings = { joinToken: 'not used', unreachableAfter: 60_000, adminKey: null, ...defaultSettings() };
  database = await newDatabase(folder);
  installation = await Installation.open(database, settings);
  const ending = new AbortController();
  signal = ending.signal;
  end = () => ending.abort();
});
afterEach(async () => {
  end();
  await installation.close();
  rmSync(folder, { recursive: true, force: true });
});

async function register(bootId: string, ...names: readonly string[]): Promise<string> {
  const devices = names.map((name) => ({ name, labels: {}, ramPages: 64 }));
  return (await installation.agents.register(HostRegistration.parse({ name: 'host', bootId, capacity: 2, devices }), null, requester)).id;
}

async function streamOf(host: string, bootId: string): Promise<AsyncIterator<Order>> {
  return (await installation.agents.streamOrders(host, bootId, signal))[Symbol.asyncIterator]();
}

test('a stream of the former boot gets no order of the current boot, and does not end its stream', async () => {
  const host = await register(former, 'd1');
  const late = await streamOf(host, former);
  await register(current, 'd1');
  const stream = await streamOf(host, current);
  const { value: attach } = await stream.next();
  expect(attach).toMatchObject({ kind: 'attach-device', name: 'd1' });
  expect(await late.next()).toMatchObject({ done: true });
  await register(current, 'd1', 'd2');
  expect((await stream.next()).value).toMatchObject({ kind: 'attach-device', name: 'd2' });
});

test('an open stream of the former boot ends when an order of the current boot wakes it before its end is announced', async () => {
  const host = await register(former, 'd1');
  const late = await streamOf(host, former);
  const { value: attach } = await late.next();
  const reports = [Report.parse(attached(attach))];
  await installation.agents.acceptReports(host, { bootId: former, reports }, requester);
  const waiting = late.next();
  // As if another replica had registered the boot, and announced its orders first.
  await runSql(database, `UPDATE "Host" SET "bootId" = '${current}'`);
  await register(current, 'd1', 'd2');
  expect(await waiting).toMatchObject({ done: true });
});

test('a waiting poll of the former boot gets no order of the current boot', async () => {
  const host = await register(former, 'd1');
  const [attach] = await installation.agents.pollOrders(host, former, 0, signal);
  if (attach === undefined) throw new Error('no order');
  const reports = [Report.parse(attached(attach))];
  await installation.agents.acceptReports(host, { bootId: former, reports }, requester);
  const waiting = installation.agents.pollOrders(host, former, 0, signal);
  const rejected = expect(waiting).rejects.toMatchObject({ kind: 'stale-boot' });
  // The network of the former boot fell silent: its poll stays open.
  await runSql(database, `UPDATE "Host" SET "unreachableSince" = ${timeInSql(Date.now())}`);
  await register(current, 'd1');
  await rejected;
  expect(await installation.agents.pollOrders(host, current, 0, signal)).toMatchObject([{ kind: 'attach-device', name: 'd1' }]);
});
