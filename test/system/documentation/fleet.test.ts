// Runs the commands of the guides about the fleet as they are written.

import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PatchbayProcess } from '../../../src/cli/running/patchbay-process.ts';
import { until } from '../../service/test-service.ts';
import { root } from '../documentation-pages.ts';
import { retryingClient } from '../retrying-client.ts';
import { blocksOf, manyProcesses, Walk } from './walk.ts';

const walk = new Walk();

test('rolls out in waves', manyProcesses, async () => {
  const output = await walk.runPage('docs/how-to/roll-out.md', root);
  expect(output).toMatch(/router@1\.1\.0 would go to 4 devices\n\nWAVE +DEVICES\n.*\n +1 +1\n +2 +1\n +3 +2\n/);
  expect(output).toMatch(
    /\nwaiting for +the approval of wave 2: .*\n\nWAVE .*\n.*\n +1 +passed +1 +1 +0 .* passed\n +2 +awaiting-approval +3 +0 +0 /,
  );
  expect(output).toMatch(/router-1\.1 \(rol_\w+\) is completed\n/);
  expect(output).toMatch(/router-1\.2 \(rol_\w+\) is rolled-back: wave 1 failed: .*\nexit code 4\n/);
  expect(output).toMatch(/\n +1 +embedded-1 +loaded +1\.2\.0 +1\.1\.0 .*\n +2 +embedded-2 +skipped +1\.2\.0 +1\.1\.0 /);
  expect(output.match(/\nembedded-[1-4] .* installed +[12](?=\n)/g)).toHaveLength(4);
  expect(output).toMatch(/the rollback rol_\w+ of rol_\w+ is completed\n/);
  expect(output.match(/\ndev_\w+,embedded-[1-4],[12],loaded,1\.1\.0,1\.0\.0,1,/g)).toHaveLength(4);
});

test('labels devices and groups them', manyProcesses, async () => {
  const output = await walk.runPage('docs/how-to/groups.md', walk.folder);
  expect(output).toContain('would change 2 devices, 0 unchanged');
  expect(output.match(/^changed 2 devices, 0 unchanged$/gm)).toHaveLength(3);
  expect(output).toMatch(/selector +zone=north,!beta\ndevices +2\n/);
  expect(output).toContain('deleted the group northern-sites');
});

test('holds loads outside of maintenance windows', manyProcesses, async () => {
  // The page assumes that it is not a weekend: the window opens in three days, whenever the test runs.
  const day = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'][(new Date().getUTCDay() + 3) % 7] ?? 'mon';
  const blocks = blocksOf('docs/how-to/maintenance-windows.md').map((block) => block.replaceAll("'sat,sun ", `'${day} `));
  const url = await walk.startService();
  const output = await walk.runBlocks(blocks, root, url);
  expect(output).toMatch(new RegExp(`\nwindow +${day}[a-z]* 22:00-04:00 Europe/Berlin\n`));
  expect(output).toMatch(/\nin closed maintenance windows, so that their loads would be held: 2 \(the first open at .+\)\n/);
  expect(output.match(/\nlod_\w+ +build +embedded-[12] +router@1\.0\.0 +held +.*held since/g)).toHaveLength(2);
  expect(output).toContain('held, because the maintenance windows of their devices are closed: 2 of 2 loads');
  expect(output).toMatch(/\nlod_\w+ +build +embedded-1 +router@1\.0\.0 +installed/);
  expect(output).toContain('deleted the group shops');
});

test('keeps a group at the version of a channel', manyProcesses, async () => {
  const output = await walk.runPage('docs/how-to/desired-state.md', root);
  expect(output).toContain(': edge has router ^1 from stable, enforce');
  expect(output).toMatch(/promoted router@1\.1\.0 to the channel stable\nedge-router: started the rollout rol_/);
  expect(output).toMatch(/\nrouter +1\.1\.0 +build .*\nrouter +1\.0\.0 +build /);
  expect(output).toMatch(/\ndevices +2 satisfied, 0 pending, 0 unsatisfied\n/);
  expect(output).toMatch(/\nrouter +1\.1\.0 +1\.1\.0 +satisfied +- +edge-router +enforce +-\n/);
  expect(output).toContain('withdrew router@1.1.0 from the channel stable');
  expect(output).toContain('deleted the channel stable');
});

test('renames and decommissions devices and hosts', manyProcesses, async () => {
  const output = await walk.runPage('docs/how-to/decommission.md', walk.folder);
  expect(output).toMatch(/\nregisters +as embedded-1\n/);
  // The two devices that it names, and the other two with their host.
  expect(output.match(/decommissioned 2 devices, cancelled 0 open loads/g)).toHaveLength(2);
  expect(output.match(/\nnorth +hst_\S+ +decommissioned +0 /g)).toHaveLength(1);
});

test('moves devices to another host', manyProcesses, async () => {
  const url = await walk.startService();
  const host = new PatchbayProcess('rack-2', [
    ...['host', '--control', url, '--name', 'rack-2', '--devices', '0'],
    ...['--token-file', join(walk.folder, 'data', 'join-token')],
  ]);
  try {
    await host.waitForLine(/registered with the control service/, 90_000);
    const output = await walk.runBlocks(blocksOf('docs/how-to/replace-hardware.md'), walk.folder, url);
    expect(output).toMatch(/^1 device will move to rack-2 when the previous host reports the drop: patchbay device show$/m);
    expect(output).toMatch(/\n(3|4) devices will move to rack-2 when the previous host reports the drop/);
    const client = retryingClient(url, walk.keyFile);
    await until('all devices are on rack-2', async () => {
      const devices = (await client.GET('/v1/devices', { params: { query: { host: 'rack-2', status: 'connected' } } })).data?.items;
      return devices?.length === 4;
    });
  } finally {
    await host.stop('SIGKILL');
  }
});
