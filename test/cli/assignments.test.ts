// Channels and assignments, with operator commands as processes.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { itemsOf, TestService, until, workModule } from '../service/test-service.ts';
import { parseStdout, runPatchbay } from './command.ts';

const service = new TestService();

beforeAll(async () => {
  await service.start();
  service.startHost('rack', 2, { zone: 'north' });
  await service.connectedDevices(2);
  for (const [index, version] of ['1.0.0', '1.1.0'].entries()) await service.push('tcp', version, workModule(index));
  expect((await service.post('/v1/groups', { name: 'north', selector: 'zone=north' })).status).toBe(201);
});
afterAll(() => service.close());

const command = (...args: string[]) => runPatchbay(service.folder, args, { PATCHBAY_SERVICE: service.url, PATCHBAY_KEY: service.key });
const succeeds = async (text: RegExp, ...args: string[]) =>
  expect(await command(...args)).toMatchObject({ code: 0, stdout: expect.stringMatching(text) });
const fails = async (code: number, message: string, ...args: string[]) =>
  expect(await command(...args), args.join(' ')).toMatchObject({ code, stderr: expect.stringContaining(message) });
const json = async (...args: string[]) => parseStdout(await command(...args, '--json'));

test('a channel is created, listed, shown, edited and deleted, and versions are promoted to it and withdrawn', async () => {
  await succeeds(/^created the channel beta \(chn_\w+\)\n$/, 'channel', 'create', 'beta', '--description', 'for the lab');
  await succeeds(/^NAME +CHANNEL +DESCRIPTION.*\n.*\nbeta +chn_\w+ +for the lab\n$/, 'channel', 'list');
  expect(await json('channel', 'list')).toMatchObject({ items: [{ name: 'beta', description: 'for the lab' }] });
  await succeeds(/tcp@1\.0\.0/, 'channel', 'promote', 'beta', '--module', 'tcp', '--version', '1.0.0');
  expect(await json('channel', 'promote', 'beta', '--module', 'tcp', '--version', '1.1.0')).toMatchObject({
    version: '1.1.0',
    assignments: [],
  });
  await succeeds(/tcp +1\.1\.0[\s\S]*tcp +1\.0\.0/, 'channel', 'show', 'beta');
  await succeeds(/tcp@1\.1\.0/, 'channel', 'withdraw', 'beta', 'tcp@1.1.0');
  expect(await json('channel', 'show', 'beta')).toMatchObject({ promotions: [{ module: 'tcp', version: '1.0.0' }] });
  await succeeds(/candidate/, 'channel', 'edit', 'beta', '--name', 'candidate');
  expect(await json('channel', 'show', 'candidate')).toMatchObject({ description: 'for the lab' });

  await fails(1, 'channel beta does not exist', 'channel', 'show', 'beta');
  await fails(1, 'is taken', 'channel', 'create', 'candidate');
  await fails(1, '9.9.9', 'channel', 'promote', 'candidate', '--module', 'tcp', '--version', '9.9.9');
  await fails(2, 'module', 'channel', 'promote', 'candidate');
  await fails(2, 'the channel candidate does not have tcp: see', 'channel', 'withdraw', 'candidate', 'tcp');
  await fails(2, 'does not have tcp@1.1.0', 'channel', 'withdraw', 'candidate', 'tcp@1.1.0');
  await fails(2, 'give what to change', 'channel', 'edit', 'candidate');
  await succeeds(/^deleted the channel candidate\n$/, 'channel', 'delete', 'candidate');
  await fails(1, 'does not exist', 'channel', 'delete', 'candidate');
});

test('an assignment is created, listed, shown, edited and deleted, and devices show their desired versions', async () => {
  await succeeds(/^created/, 'channel', 'create', 'stable');
  await succeeds(/1\.0\.0/, 'channel', 'promote', 'stable', '--module', 'tcp', '--version', '1.0.0');
  const given = ['--group', 'north', '--channel', 'stable', '--module', 'tcp', '--range', '^1'];
  const settings = ['--priority', '5', '--rate', '600', '--wave', '1,soak=0', '--wave', '100%', '--soak', '0'];
  await succeeds(
    /^created the assignment north-tcp \(asg_\w+\): north has tcp \^1 from stable, report\n$/,
    ...['assignment', 'create', 'north-tcp', ...given, ...settings],
    ...['--on-failure', 'rollback', '--window', 'sat,sun 22:00-04:00 Europe/Berlin'],
  );
  await succeeds(/^NAME .*\n.*\nnorth-tcp +north +tcp +\^1 +stable +report +5 +asg_\w+\n$/, 'assignment', 'list');
  expect(await json('assignment', 'list')).toMatchObject({ items: [{ name: 'north-tcp' }] });
  const created = await json('assignment', 'show', 'north-tcp');
  expect(created).toMatchObject({
    devicesPerMinute: 600,
    waves: [
      { devices: 1, soakSeconds: 0 },
      { upToPercent: 100, soakSeconds: 0 },
    ],
    onFailure: 'rollback',
    window: { days: ['saturday', 'sunday'], from: '22:00', until: '04:00', timeZone: 'Europe/Berlin' },
  });
  await until('both devices were examined', async () =>
    JSON.stringify(await json('assignment', 'show', 'north-tcp')).includes('report-only'),
  );
  await succeeds(
    /window +sat,sun 22:00-04:00 Europe\/Berlin\n[\s\S]*unsatisfied, report-only: 2\nDEVICE .*\n.*\nrack-\d +0 +- +tcp is not loaded\n/,
    'assignment',
    'show',
    'north-tcp',
  );
  await succeeds(/CONTENT[\s\S]*tcp +1\.0\.0 +- +unsatisfied +report-only +north-tcp +report/, 'device', 'show', 'rack-1');

  // An edit changes only what is given.
  await succeeds(/^changed the assignment north-tcp .*, enforce\n$/, 'assignment', 'edit', 'north-tcp', '--mode', 'enforce');
  expect(await json('assignment', 'show', 'north-tcp')).toMatchObject({
    priority: 5,
    devicesPerMinute: 600,
    waves: [{ devices: 1 }, { upToPercent: 100 }],
    onFailure: 'rollback',
    window: { timeZone: 'Europe/Berlin' },
  });
  await until('both devices have the version', async () =>
    itemsOf(await service.get('/v1/devices')).every(({ modules }) => modules['tcp'] === '1.0.0'),
  );
  await succeeds(/tcp +1\.0\.0 +1\.0\.0 +satisfied +- +north-tcp +enforce/, 'device', 'show', 'rack-1');
  expect(await json('device', 'show', 'rack-1')).toMatchObject({
    desiredVersions: [{ assignmentName: 'north-tcp', desiredVersion: '1.0.0', installedVersion: '1.0.0', state: 'satisfied' }],
  });
  await succeeds(/north-below[\s\S]* report/, 'assignment', 'create', 'north-below', ...given);
  await succeeds(/the assignment north-below is overridden by north-tcp/, 'assignment', 'device', 'rack-1');
  await succeeds(/renamed/, 'assignment', 'edit', 'north-tcp', '--name', 'renamed', '--range', '1.0.x', '--priority', '7');
  expect(await json('assignment', 'show', 'renamed')).toMatchObject({ range: '1.0.x', priority: 7, mode: 'enforce' });

  for (const [args, message] of [
    [['create', 'one', ...given, '--patch-set', 'net'], 'either --module or --patch-set is required'],
    [['create', 'one', '--group', 'north', '--channel', 'stable', '--module', 'tcp'], '--range'],
    [['create', 'one', ...given, '--rate', '0'], 'rate'],
    [['create', 'one', ...given, '--priority', '1001'], 'priority'],
    [['create', 'one', ...given, '--mode', 'maybe'], 'Allowed choices are off, report, enforce'],
    [['create', 'one', ...given, '--window', 'never'], 'window'],
    [['edit', 'renamed'], 'give what to change, for example --mode or --range'],
  ] as const)
    await fails(2, message, 'assignment', ...args);
  for (const [args, message] of [
    [['create', 'renamed', ...given], 'is taken'],
    [['create', 'one', ...given.slice(2), '--group', 'nowhere'], 'the group nowhere does not exist'],
    [['edit', 'renamed', '--channel', 'nowhere'], 'the channel nowhere does not exist'],
    [['edit', 'renamed', '--range', 'x.y.z'], 'is not a semver range'],
    [['edit', 'renamed', '--wave', '1'], '100%'],
    [['show', 'north-tcp'], 'assignment north-tcp does not exist'],
  ] as const)
    await fails(1, message, 'assignment', ...args);
  await fails(1, 'the assignment renamed', 'channel', 'delete', 'stable');
  for (const name of ['renamed', 'north-below'])
    await succeeds(new RegExp(`^deleted the assignment ${name}\n$`), 'assignment', 'delete', name);
  expect(await json('assignment', 'list')).toMatchObject({ items: [] });
  await succeeds(/^no assignment decides for rack-1\n$/, 'assignment', 'device', 'rack-1');
});
