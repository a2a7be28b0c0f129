// Drift: the output for a device whose modules differ from those that the service expects.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { Agent, attached, state } from '../service/agents/agent.ts';
import { TestService } from '../service/test-service.ts';
import { runPatchbay } from './command.ts';

const service = new TestService();
const agent = new Agent(service);
let drifted = '';
beforeAll(async () => {
  await service.start();
  await agent.register('rack', ['rack-1', 'rack-2']);
  await agent.connect();
  for (const order of await agent.order('attach-device', 2)) {
    await agent.report(attached(order));
    drifted = order.device;
  }
});
afterAll(async () => {
  agent.disconnect();
  await service.close();
});

const command = (...args: string[]) => runPatchbay(service.folder, args, { PATCHBAY_SERVICE: service.url, PATCHBAY_KEY: service.key });

test('a drifted device is marked in the list, and shown with the expected and found versions', async () => {
  expect((await command('device', 'list')).stdout).not.toContain('drifted');
  expect((await command('device', 'show', drifted)).stdout).not.toContain('drifted');
  const table = { tcp: { version: '1.1.0', image: `sha256:${'a'.repeat(64)}`, address: '0x1000' } };
  await agent.report({ kind: 'device-state', device: drifted, state: state(table) });
  const lines = (await command('device', 'list')).stdout.split('\n').filter((line) => line.includes('drifted'));
  expect(lines).toEqual([expect.stringMatching(new RegExp(` ${drifted} +connected, drifted `))]);
  expect((await command('device', 'show', drifted)).stdout).toMatch(/^drift {6}tcp: expected none, found 1\.1\.0, since 20\S+$/m);
});
