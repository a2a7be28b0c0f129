// `load`, `unload` and `rollout create` with devices on an unreachable host, as processes against a service.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { runSql, timeInSql } from '../databases.ts';
import { Agent, attached, loaded } from '../service/agents/agent.ts';
import { TestService, workModule } from '../service/test-service.ts';
import { parseStdout, runPatchbay } from './command.ts';

const service = new TestService();

/** A host with two devices, and one with a device that is marked as unreachable. */
beforeAll(async () => {
  await service.start();
  await service.push('tcp', '1.0.0', workModule(1));
  const living = new Agent(service);
  await living.register('living', ['living-1', 'living-2']);
  await living.report(...(await living.next(0, 10)).map((order) => attached(order)));
  const dead = new Agent(service);
  await dead.register('dead', ['dead-1']);
  await runSql(service.database, `UPDATE "Host" SET "unreachableSince" = ${timeInSql(Date.now())} WHERE "id" = '${dead.host}'`);
});
afterAll(() => service.close());

const patchbay = (...args: string[]) => runPatchbay(service.folder, args, { PATCHBAY_SERVICE: service.url, PATCHBAY_KEY: service.key });
const build = ['--module', 'tcp', '--version', '1.0.0'];
const all = [...build, ...['living-1', 'living-2', 'dead-1'].flatMap((name) => ['--device', name])];

test('a dry run shows the forecasts, and what happens to unreachable devices', async () => {
  const preview = await patchbay('load', ...all, '--dry-run');
  expect(preview.stdout).toMatch(/^tcp@1\.0\.0 would go to 3 devices\non unreachable hosts, so that their loads would wait: 1\n/);
  const skipping = await patchbay('load', ...all, '--dry-run', '--unreachable', 'skip');
  expect(skipping.stdout).toMatch(/^tcp@1\.0\.0 would go to 2 devices\nskipped, because they are on unreachable hosts: 1\n/);
  expect(parseStdout(await patchbay('load', ...all, '--dry-run', '--json'))).toMatchObject({ devices: 3, unreachable: 1, skipped: 0 });
  const rollout = await patchbay('rollout', 'create', ...all, '--dry-run', '--unreachable', 'skip');
  expect(rollout.stdout).toMatch(/^tcp@1\.0\.0 would go to 2 devices\nskipped, because they are on unreachable hosts: 1\n/);
});

test('a script gets a warning unless it says what happens to unreachable devices', async () => {
  const warned = await patchbay('load', ...all, '--no-wait');
  expect(warned).toMatchObject({ code: 0, stdout: expect.stringMatching(/^requested 3 loads of tcp@1\.0\.0 in batch bat_/) });
  expect(warned.stderr).toBe(
    'warning: on unreachable hosts, so that their loads wait: 1 device (dead-1); --unreachable skip leaves them out\n',
  );
  expect(await patchbay('load', ...all, '--no-wait', '--unreachable', 'wait')).toMatchObject({ code: 0, stderr: '' });
  expect(await patchbay('load', ...all, '--no-wait', '--unreachable', 'skip')).toMatchObject({
    stdout: expect.stringMatching(/^requested 2 loads/),
    stderr: 'skipped, because they are on unreachable hosts: 1 device (dead-1)\n',
  });
  const rollout = await patchbay('rollout', 'create', ...all, '--no-wait', '--json', '--unreachable', 'skip');
  expect(parseStdout(rollout)).toMatchObject({ deviceCounts: { waiting: 2 }, unreachableDevices: { count: 1, skipped: 1 } });
  const refused = await patchbay('load', ...build, '--device', 'dead-1', '--unreachable', 'skip');
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('the device to load is unreachable') });
});

/** Starts a host with one device, and loads tcp on it. Returns its agent. */
async function hostWithModule(name: string): Promise<Agent> {
  const agent = new Agent(service);
  agent.capabilities = ['unload-module'];
  await agent.register(name, [`${name}-1`]);
  const orders = await agent.next(0, 10);
  await agent.report(...orders.map((order) => attached(order)));
  await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices: [`${name}-1`] });
  const [order] = await agent.next(orders.at(-1)?.sequence ?? 0, 10);
  if (order?.kind !== 'load') throw new Error('no load');
  await agent.report(loaded(order));
  return agent;
}

test('an unload shows its forecasts, warns of unreachable devices, and skips them on request', async () => {
  await hostWithModule('near');
  const far = await hostWithModule('far');
  await runSql(service.database, `UPDATE "Host" SET "unreachableSince" = ${timeInSql(Date.now())} WHERE "id" = '${far.host}'`);
  const unload = (...more: string[]) => patchbay('unload', 'tcp', '--selector', '!zone', ...more);
  expect(await unload('--dry-run')).toMatchObject({
    code: 0,
    stdout: 'tcp would be unloaded from 2 devices\ndo not have it: 3\non unreachable hosts, so that their loads would wait: 1\n',
  });
  const skipping = await unload('--dry-run', '--unreachable', 'skip');
  expect(skipping.stdout).toMatch(
    /^tcp would be unloaded from 1 device\ndo not have it: 3\nskipped, because they are on unreachable hosts: 1\n/,
  );
  expect(parseStdout(await unload('--dry-run', '--json'))).toMatchObject({ devices: 2, withoutModule: 3, unreachable: 1, skipped: 0 });
  expect(await unload('--no-wait')).toMatchObject({
    stdout: expect.stringMatching(/^requested 2 unloads of tcp@1\.0\.0 in batch bat_/),
    stderr: expect.stringContaining('so that their loads wait: 1 device (far-1); --unreachable skip leaves them out'),
  });
  expect(await unload('--no-wait', '--unreachable', 'skip')).toMatchObject({
    stdout: expect.stringMatching(/^requested 1 unload of tcp/),
    stderr: 'skipped, because they are on unreachable hosts: 1 device (far-1)\n',
  });
  const refused = await patchbay('unload', 'tcp', '--device', 'far-1', '--unreachable', 'skip');
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('the device to unload the module from is unreachable') });
});
