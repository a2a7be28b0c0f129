// Programs with stale addresses, tainted images and invalid arguments, on the command line.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { itemsOf, TestService, until, workModule } from '../service/test-service.ts';
import { parseStdout, runPatchbay } from './command.ts';

const service = new TestService();
let device: string;
beforeAll(async () => {
  await service.start();
  service.startHost('rack', 1);
  [device = ''] = await service.connectedDevices(1);
  await service.push('work', '1.0.0', workModule(1));
  await service.push('work', '1.1.0', workModule(2));
  await service.load('work', '1.0.0', [device]);
});
afterAll(() => service.close());

const command = (...args: string[]) => runPatchbay(service.folder, args, { PATCHBAY_SERVICE: service.url, PATCHBAY_KEY: service.key });
const start = (...options: string[]) => command('program', 'start', 'rack-1', '1', '--module', 'work', '--export', 'work', ...options);
const programs = async () => itemsOf(await service.get(`/v1/devices/${device}/programs`));

test('a program with a stale address is listed by the load, the statistics and the device', async () => {
  const none = await command('device', 'violations', 'rack-1');
  expect(none).toMatchObject({ code: 0, stdout: 'no ABI violations found\n' });
  const options = ['--recovery', 'percolate', '--addressing', 'hard-coded', '--deadline', '60000'];
  const started = parseStdout(await start('--name', 'stale', '--pause', '1', ...options, '--json'));
  expect(started).toMatchObject({ name: 'stale', recovery: 'percolate', addressing: 'hard-coded', deadlineMilliseconds: 60_000 });
  await until('the program has the address', async () => JSON.stringify(await programs()).includes('"version":"1.0.0"'));
  const [load] = await service.load('work', '1.1.0', [device]);
  const shown = await command('load', 'show', String(load?.id));
  expect(shown.stdout).toContain(`heldBy=["${started['id']}"]`);
  await until('the program has faulted', async () => itemsOf(await service.get(`/v1/devices/${device}/abi-violations`)).length > 0);

  const [listed, asJson, ofOther, stats, detail] = await Promise.all([
    command('device', 'violations', 'rack-1'),
    command('device', 'violations', 'rack-1', '--program', String(started['id']), '--module', 'work', '--json'),
    command('device', 'violations', 'rack-1', '--module', 'other'),
    command('program', 'stats', 'rack-1'),
    command('device', 'show', 'rack-1'),
  ]);
  expect(listed.stdout).toMatch(
    new RegExp(`^PROGRAM +NAME +STALE VERSION .*\\n.*\\n${started['id']} +stale +work@1\\.0\\.0 +0x1000 +1 +nx +20\\S+ +20\\S+ +\\d+\\n$`),
  );
  expect(parseStdout(asJson)).toMatchObject({ items: [{ program: started['id'], version: '1.0.0', page: 1, flag: 'nx' }], next: null });
  expect(ofOther.stdout).toBe(none.stdout);
  expect(stats.stdout).toMatch(
    /^NAME +STATE +COMPLETED +FAILED +FAULTS .*\n.*\nstale +running +\d+ +[1-9]\d* +[1-9]\d* .* segmentation fault: /,
  );
  expect(stats.stdout).toMatch(/\nstale +1\.0\.0 +\d+ +[1-9]\d* +/);
  expect(detail.stdout).toContain('\nviolations 1: patchbay device violations rack-1\n');
});

test('a load shows that the replaced image was tainted', async () => {
  const spin = '(module (memory 1) (func (export "spin") (loop $again (i32.store (i32.const 0) (i32.const 1)) (br $again))))';
  for (const version of ['1.0.0', '1.1.0']) await service.push('spin', version, spin);
  await service.load('spin', '1.0.0', [device]);
  await command('program', 'start', 'rack-1', '--module', 'spin', '--export', 'spin', '--calls', '1', '--deadline', '5');
  await until('the call has failed', async () =>
    JSON.stringify((await service.get(`/v1/devices/${device}`)).body).includes('"reason":"deadline"'),
  );
  const [load] = await service.load('spin', '1.1.0', [device]);
  const shown = await command('load', 'show', String(load?.id));
  expect(shown.stdout).toContain('\ntainted    replaced image of 1.0.0: deadline, 1 access\n');
});

test('an invalid value is reported once', async () => {
  const result = await command('program', 'start', 'rack-1', '1', '2', '--module', 'work', '--export', 'work');
  expect(result).toMatchObject({ code: 1, stdout: '' });
  expect(result.stderr.match(/<arguments>: wrong number of arguments: expected 1 /g)).toHaveLength(1);
});

test('by default a program uses the module table, and its calls have no deadline', async () => {
  expect(parseStdout(await start('--calls', '1', '--json'))).toMatchObject({
    recovery: 'module',
    addressing: 'via-table',
    deadlineMilliseconds: null,
  });
});

test.each([
  [['--addressing', 'table'], 2, 'Allowed choices are via-table, hard-coded'],
  [['--recovery', 'retry'], 2, 'Allowed choices are module, percolate'],
  [['--deadline', '0'], 2, '--deadline: expected a whole number from 1 to 3600000, received "0"'],
  [['--deadline', '3600001'], 2, '--deadline: expected a whole number from 1 to 3600000, received "3600001"'],
])('%j is rejected', async (options, code, stderr) => {
  expect(await start(...options)).toMatchObject({ code, stdout: '', stderr: expect.stringContaining(stderr) });
});
