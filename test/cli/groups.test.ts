// Groups and labels of several devices, moves, webhooks and expiring keys, with operator commands as processes.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { itemsOf, TestService, workModule } from '../service/test-service.ts';
import { parseStdout, runPatchbay } from './command.ts';

const service = new TestService();

beforeAll(async () => {
  await service.start();
  service.startHost('rack', 3, { zone: 'north', beta: 'yes' });
  await service.connectedDevices(3);
  await service.push('tcp', '1.0.0', workModule(1));
});
afterAll(() => service.close());

const command = (...args: string[]) => runPatchbay(service.folder, args, { PATCHBAY_SERVICE: service.url, PATCHBAY_KEY: service.key });
const labelsOf = async (name: string) => itemsOf(await service.get(`/v1/devices?name=${name}`))[0]?.labels;

test('labels of devices are set and removed in the syntax of kubectl', async () => {
  const edited = await command('device', 'label', 'rack-1', 'rack-2', 'tier=edge', 'beta-');
  expect(edited).toMatchObject({ code: 0, stdout: 'changed 2 devices, 0 unchanged\n' });
  expect(await labelsOf('rack-2')).toEqual({ zone: 'north', tier: 'edge' });
  const preview = await command('device', 'label', '--selector', 'zone=north', 'tier=edge', '--dry-run');
  expect(preview).toMatchObject({ code: 0, stdout: 'would change 1 device, 2 unchanged\n' });
  expect(await labelsOf('rack-3')).toEqual({ zone: 'north', beta: 'yes' });
  for (const [args, message] of [
    [['rack-1'], 'give labels to set, like zone=north, or to remove, like beta-'],
    [['zone=north'], 'name devices, or select them with --label, --selector or --group'],
    [['rack-1', 'zone=north', 'zone-'], 'the label zone is set and removed'],
  ] as const)
    expect(await command('device', 'label', ...args)).toMatchObject({ code: 2, stderr: expect.stringContaining(message) });
});

test('a group is created, listed, shown, edited and deleted, and selects devices', async () => {
  const created = await command('group', 'create', 'edge', '--selector', 'tier=edge', '--description', 'at the edge');
  expect(created).toMatchObject({ code: 0, stdout: expect.stringMatching(/^created the group edge \(grp_\w+\): tier=edge\n$/) });
  expect((await command('group', 'list')).stdout).toMatch(/^NAME .*\n.*\nedge +grp_\w+ +tier=edge +at the edge\n$/);
  expect((await command('group', 'show', 'edge')).stdout).toMatch(/selector +tier=edge\ndevices +2\ndescription +at the edge\n/);
  const devices = parseStdout(await command('device', 'list', '--group', 'edge', '--json'));
  expect(devices).toMatchObject({ items: [{}, {}] });
  const loaded = await command('load', '--module', 'tcp', '--version', '1.0.0', '--group', 'edge', '--selector', '!beta');
  expect(loaded).toMatchObject({ code: 0 });
  expect(itemsOf(await service.get('/v1/loads?group=edge'))).toHaveLength(2);
  const dryRun = await command('rollout', 'create', '--module', 'tcp', '--version', '1.0.0', '--group', 'nowhere', '--dry-run');
  expect(dryRun).toMatchObject({ code: 1, stderr: expect.stringContaining('the group nowhere does not exist') });
  expect(dryRun.stderr).toContain('--group');
  const edited = await command('group', 'edit', 'edge', '--name', 'north', '--selector', 'zone=north');
  expect(edited).toMatchObject({ code: 0, stdout: expect.stringMatching(/^changed the group north \(grp_\w+\): zone=north\n$/) });
  expect(parseStdout(await command('group', 'show', 'north', '--json'))).toMatchObject({ description: 'at the edge', devices: 3 });
  expect(await command('group', 'edit', 'north')).toMatchObject({ code: 2, stderr: expect.stringContaining('give what to change') });
  expect(await command('group', 'delete', 'north')).toMatchObject({ code: 0, stdout: 'deleted the group north\n' });
  expect(await command('group', 'show', 'north')).toMatchObject({ code: 1, stderr: expect.stringContaining('group north does not exist') });
});

test('a group has maintenance windows, and loads of its devices are held or override them', async () => {
  const names = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
  const day = names[(new Date().getUTCDay() + 3) % 7] ?? 'mon';
  const window = `${day} 00:00-12:00 UTC`;
  const created = await command('group', 'create', 'shops', '--selector', 'zone=north', '--window', window);
  expect(created).toMatchObject({ code: 0, stdout: expect.stringMatching(/: zone=north\nwindow +[a-z]+ 00:00-12:00 UTC\n$/) });
  expect((await command('group', 'show', 'shops')).stdout).toMatch(new RegExp(`\nwindow +${day}[a-z]* 00:00-12:00 UTC\n`));
  await service.push('udp', '1.0.0', workModule(1));
  const load = ['load', '--module', 'udp', '--version', '1.0.0', '--device', 'rack-1'];
  const refused = await command(...load);
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('the maintenance windows of the device rack-1 are closed') });
  expect(refused.stderr).toMatch(
    /use a deadline of \d+ seconds or more \(--deadline\), or override the windows with a reason \(--override-maintenance-window\)/,
  );
  const preview = await command(...load, '--deadline', '604800', '--dry-run');
  expect(preview.stdout).toMatch(/in closed maintenance windows, so that their loads would be held: 1 \(the first open at .+\)/);
  const held = await command(...load, '--deadline', '604800', '--no-wait');
  expect(held).toMatchObject({
    code: 0,
    stderr: expect.stringContaining('held, because the maintenance windows of their devices are closed: 1 of 1'),
  });
  const [{ id = '' } = {}] = itemsOf(await service.get('/v1/loads?state=queued'));
  expect((await command('load', 'show', id)).stdout).toMatch(/\nheld +held since .+ for its maintenance windows, which open at /);
  expect((await command('load', 'list', '--state', 'queued')).stdout).toMatch(/ held .*held since/);
  const override = ['--override-maintenance-window', 'security fix'];
  expect(await command(...load, ...override)).toMatchObject({ code: 0 });
  const [urgent] = itemsOf(await service.get('/v1/loads?state=completed&limit=1'));
  expect((await command('load', 'show', urgent?.id ?? '')).stdout).toContain('override   of maintenance windows: security fix');
  const watching = command('load', 'watch', id);
  expect(await command('group', 'edit', 'shops', '--window', window, '--no-windows')).toMatchObject({ code: 2 });
  expect(await command('group', 'edit', 'shops', '--description', 'shops')).toMatchObject({ code: 0 });
  expect((await command('group', 'show', 'shops')).stdout).toContain('window ');
  expect(await command('group', 'edit', 'shops', '--no-windows')).toMatchObject({ code: 0 });
  expect((await watching).stdout).toContain('refused-not-newer');
  expect((await command('group', 'show', 'shops')).stdout).not.toContain('window ');
  const bad = await command('group', 'edit', 'shops', '--window', 'mon 00:00-12:00 Europe/Atlantis');
  expect(bad).toMatchObject({ code: 1, stderr: expect.stringContaining('--window 1: unknown time zone "Europe/Atlantis"') });
});

test('a move reports which devices moved, will move, or are there already', async () => {
  const elsewhere = await command('device', 'move', 'rack-3', '--to', 'attic');
  expect(elsewhere).toMatchObject({ code: 1, stderr: expect.stringContaining('--to: the host attic does not exist') });
  const host = await command('device-host', 'move-devices', 'rack', '--to', 'attic');
  expect(host).toMatchObject({ code: 1, stderr: expect.stringContaining('--to: the host attic does not exist') });
  const same = await command('device', 'move', 'rack-3', '--to', 'rack');
  expect(same).toMatchObject({ code: 0, stdout: 'nothing to move: no device that is not on rack already\n' });
});

test('a webhook is edited with an option or more, and its deletion names it', async () => {
  const args = ['--url', 'http://127.0.0.1:9/hook', '--event', '*', '--selector', 'zone=north', '--disabled'];
  expect(await command('webhook', 'create', 'audit', ...args)).toMatchObject({ code: 0 });
  expect(await command('webhook', 'edit', 'audit')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('give what to change: --name'),
  });
  const edited = await command('webhook', 'edit', 'audit', '--no-selector', '--json');
  expect(parseStdout(edited)).toMatchObject({ selector: null });
  const { id } = parseStdout(await command('group', 'create', 'hooked', '--selector', 'zone=north', '--json'));
  expect(parseStdout(await command('webhook', 'edit', 'audit', '--group', 'hooked', '--json'))).toMatchObject({ group: id });
  expect(parseStdout(await command('webhook', 'edit', 'audit', '--no-group', '--json'))).toMatchObject({ group: null });
  expect(await command('webhook', 'replay', 'audit', '--parked')).toMatchObject({ stdout: expect.stringContaining('0 parked events') });
  expect(await command('webhook', 'delete', 'audit')).toMatchObject({ code: 0, stdout: 'deleted the webhook audit\n' });
});

test('a key that expires is created with its end, and a wrong time names both forms', async () => {
  const created = await command('key', 'create', 'visitor', '--role', 'viewer', '--expires-at', '30d');
  expect(created).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/with the role viewer until \d{4}-\d\d-\d\dT[\d:]+Z; its secret/),
  });
  const wrong = await command('key', 'create', 'guest', '--role', 'viewer', '--expires-at', 'tomorrow');
  expect(wrong).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('2026-11-24T09:30:00Z, or a duration like 12h or 90d, received'),
  });
});
