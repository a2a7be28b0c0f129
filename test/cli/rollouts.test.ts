// Rollouts with operator commands, as processes against a service with real devices.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';
import { Publisher } from '../service/publishing.ts';
import { firstOf, itemsOf, TestService, until, workModule } from '../service/test-service.ts';
import { entry, environment, parseStdout, runPatchbay } from './command.ts';

const service = new TestService();
const children: PatchbayProcess[] = [];
let devices: string[];

beforeAll(async () => {
  await service.start();
  // Processes that run until they are stopped inherit the environment of this process.
  Object.assign(process.env, settings());
  service.startHost('rack', 3, { zone: 'north' });
  devices = await service.connectedDevices(3);
});
afterAll(async () => {
  await Promise.all(children.map((child) => child.stop('SIGKILL')));
  await service.close();
});

const settings = () => ({ PATCHBAY_SERVICE: service.url, PATCHBAY_KEY: service.key });
const rollout = (...args: string[]) => runPatchbay(service.folder, ['rollout', ...args], settings());

/** Starts a command that runs until it is stopped or its rollout ends. */
function start(...args: string[]): PatchbayProcess {
  const child = new PatchbayProcess(`patchbay rollout ${args.join(' ')}`, ['rollout', ...args]);
  children.push(child);
  return child;
}

/** Every load of this module fails, because its self-check fails. */
const failingModule =
  '(module (func (export "self_check") (result i32) (i32.const 1)) (func (export "work") (param i32) (result i32) (i32.const 1)))';

/** Pushes two versions of a module, and loads the first on every device. */
async function prepare(module: string): Promise<void> {
  await service.push(module, '1.0.0', workModule(1));
  await service.push(module, '1.1.0', workModule(2));
  await service.load(module, '1.0.0', devices);
}

/** Returns options that roll out 1.1.0 of a module in two waves without soak time. */
const inTwoWaves = (module: string, second = '100%') => [
  ...['--module', module, '--version', '1.1.0', '--device', 'rack-1', '--device', 'rack-2', '--device', 'rack-3'],
  ...['--wave', '1', second, '--soak', '0', '--name', `${module}-1.1`],
];

const newest = async () => firstOf(await service.get('/v1/rollouts?limit=1'));

/** Waits until the newest rollout has this module, state or wait. */
const waitForRollout = (expected: { module?: string; state?: string; waitingFor?: string }) =>
  until(`the rollout is ${JSON.stringify(expected)}`, async () => {
    const found = await newest();
    const { module = found.module, state = found.state, waitingFor = found.waitingFor } = expected;
    return found.module === module && found.state === state && found.waitingFor === waitingFor && found;
  });

test('a push and a dry run warn of a version that loses state', async () => {
  const file = join(service.folder, 'counter.wat');
  writeFileSync(
    file,
    `(module (global $n (mut i32) (i32.const 0))
      (func (export "work") (param i32) (result i32) (global.set $n (local.get 0)) (global.get $n)))`,
  );
  const push = (version: string) =>
    runPatchbay(service.folder, ['build', 'push', file, '--module', 'counter', '--version', version], settings());
  expect(await push('1.0.0')).toMatchObject({ code: 0, stderr: '' });
  const warning = '1.1.0 starts with fresh state and loses that of 1.0.0: 1.0.0 does not export state_save, and 1.1.0';
  expect(await push('1.1.0')).toMatchObject({ code: 0, stderr: expect.stringContaining(`warning: ${warning}`) });
  await service.load('counter', '1.0.0', devices.slice(0, 2));
  const dry = await rollout('create', '--module', 'counter', '--version', '1.1.0', '--label', 'zone=north', '--wave', '100%', '--dry-run');
  expect(dry).toMatchObject({ code: 0, stdout: expect.stringContaining(`\n\nwarning: on 2 devices, ${warning}`) });
});

test('a dry run shows waves, refusals and conflicts, and changes nothing', async () => {
  await prepare('dry');
  await service.push('dry', '2.0.0', workModule(3));
  await service.load('dry', '2.0.0', devices.slice(2));
  const options = ['create', '--module', 'dry', '--version', '1.1.0', '--wave', '1', '--wave', '100%', '--dry-run'];
  const refused = await rollout(...options, '--label', 'zone=north');
  expect(refused).toMatchObject({ code: 3, stderr: '' });
  expect(refused.stdout).toMatch(
    /^dry@1\.1\.0 would go to 3 devices\nwould refuse it: 1\n\nWAVE +DEVICES\n.*\n +1 +1\n +2 +2\n\nFORECAST .*\n.*\nrefused-not-newer +rack-3 +[12] +2\.0\.0 +dry@1\.1\.0 is older[^\n]*\n$/,
  );
  const [good, machine, left] = await Promise.all([
    rollout(...options, '--running-version', '<2.0.0'),
    rollout(...options, '--label', 'zone=north', '--json'),
    rollout(...options.with(4, '1.0.0'), '--label', 'zone=north', '--version-policy', 'downgrade', '--reason', 'test'),
  ]);
  expect(good).toMatchObject({ code: 0, stdout: expect.stringContaining('dry@1.1.0 would go to 2 devices\n\n') });
  expect(parseStdout(machine)).toMatchObject({ devices: 3, refused: 1, waves: [{ devices: 1 }, { devices: 2 }] });
  expect(left).toMatchObject({ code: 0, stdout: expect.stringContaining('would go to 1 device\nskipped, because they have it: 2\n') });
  expect(itemsOf(await service.get('/v1/rollouts?module=dry'))).toEqual([]);

  const waiting = [
    'create',
    '--module',
    'dry',
    '--version',
    '1.1.0',
    '--device',
    'rack-1',
    '--wave',
    '100%,approval',
    '--no-wait',
    '--json',
  ];
  const { id } = parseStdout(await rollout(...waiting));
  const busy = await rollout(...options, '--running-version', '<2.0.0');
  expect(busy.stdout).toContain(
    `the open rollout ${id} includes 1 device of these: the request would be rejected without --on-conflict queue`,
  );
  const [queued, conflict] = await Promise.all([
    rollout(...options, '--running-version', '<2.0.0', '--on-conflict', 'queue'),
    rollout('create', '--module', 'dry', '--version', '1.1.0', '--label', 'zone=north'),
  ]);
  expect(queued.stdout).toContain('this rollout would wait for it');
  expect(conflict).toMatchObject({ code: 1, stderr: expect.stringMatching(new RegExp(`${id}.* --on-conflict queue\\n`)) });
  expect((await rollout('abort', String(id))).code).toBe(0);
});

test('a patch set is previewed and rolled out', async () => {
  for (const module of ['set-a', 'set-b']) await prepare(module);
  const builds = ['set-a', 'set-b'].map((module) => ({ module, version: '1.1.0' }));
  expect((await service.post('/v1/patch-sets', { name: 'both', version: '1.0.0', builds })).status).toBe(201);
  const options = ['create', '--patch-set', 'both@1.0.0', '--label', 'zone=north', '--wave', '100%', '--soak', '0'];
  const [preview, unknown] = await Promise.all([rollout(...options, '--dry-run'), rollout(...options.with(2, 'both@2.0.0'))]);
  expect(preview).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^both@1\.0\.0 would go to 3 devices\n/) });
  expect(unknown).toMatchObject({ code: 1, stderr: expect.stringMatching(/: --patch-set: the patch set both@2\.0\.0 does not exist/) });
  expect(await rollout(...options)).toMatchObject({ code: 0, stdout: expect.stringContaining(' is completed') });
  const [created] = itemsOf(await service.get('/v1/rollouts?module=both'));
  const id = String(created?.id);
  expect((await rollout('rollback', id, '--reason', 'test')).code).toBe(0);
  const [shown, reverted] = await Promise.all([rollout('show', id), rollout('show', String((await newest()).id))]);
  expect(shown.stdout).toMatch(/^patch set {4}both@1\.0\.0$/m);
  expect(reverted.stdout).toContain(`patch set    both@1.0.0, reverted on each device to the versions before rollout ${id}\n`);
});

test('a rollout is watched until it ends: a line per change, and a table or a JSON document at the end', async () => {
  await prepare('lines');
  const watched = await rollout('create', ...inTwoWaves('lines'));
  expect(watched).toMatchObject({ code: 0 });
  const { id } = await newest();
  expect(watched.stderr).toMatch(
    new RegExp(
      `^watching the rollout ${id}: lines@1\\.1\\.0 to 3 devices in 2 waves\\n(wave [12] [^\\n]+\\n)*wave 2 passed: 2 loaded, 0 failed; `,
    ),
  );
  expect(watched.stdout).toMatch(/^WAVE +STATE .*\n.*\n +1 +passed +1 +1 +0 .* passed\n +2 +passed +2 +2 +0 .* passed\n\n/);
  expect(watched.stdout).toMatch(new RegExp(`\nlines-1\\.1 \\(${id}\\) is completed\n$`));

  const back = await rollout('rollback', 'lines-1.1', '--reason', 'it was a test', '--json');
  expect(back.code).toBe(0);
  expect(parseStdout(back)).toMatchObject({ state: 'completed', rollbackOf: id, deviceCounts: { loaded: 3 } });
  expect(back.stderr).toBe('');
  // The name means the rollout, not its rollback.
  const shown = await rollout('show', 'lines-1.1');
  expect(shown.stdout).toMatch(
    new RegExp(`^lines-1\\.1 +${id} +rolled-back\\n[\\s\\S]*\\nreason +it was a test\\nrollback +${parseStdout(back)['id']}\\n`),
  );
  const again = await rollout('watch', String(id));
  expect(again).toMatchObject({ code: 4, stdout: expect.stringContaining('is rolled-back: it was a test\n') });

  const first = await rollout('create', '--module', 'lines', '--version', '1.0.0', '--label', 'zone=north');
  expect(first).toMatchObject({ code: 0, stdout: expect.stringMatching(/^every selected device .*lines@1\.0\.0/), stderr: '' });
});

/** Starts a command on a terminal. */
function beginOnTerminal(...args: string[]): {
  readonly output: () => string;
  readonly ended: Promise<{ code: number | null; stdout: string }>;
} {
  const words = [process.execPath, entry, 'rollout', ...args];
  const env = environment({ HOME: service.folder, TERM: 'xterm', ...settings() });
  const terminal = spawn('script', ['-qec', words.join(' '), '/dev/null'], { env, cwd: service.folder });
  let stdout = '';
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  const ended = once(terminal, 'close').then(() => ({ code: terminal.exitCode, stdout }));
  return { output: () => stdout, ended };
}

test('on a terminal, each wave has a progress bar', async () => {
  await prepare('bars');
  const { stdout } = await beginOnTerminal('create', ...inTwoWaves('bars')).ended;
  expect(stdout).toMatch(/wave 1 {2}\S*█{30}\S* {2}1\/1 {2}passed/);
  expect(stdout).toMatch(/wave 2 {2}\S*█{30}\S* {2}2\/2 {2}passed/);
  expect(stdout).not.toMatch(/wave 1 passed/);
});

test('on a terminal, watching continues after a failed wave until an operator decides', async () => {
  await prepare('eyes');
  await service.push('eyes', '1.2.0', failingModule);
  const watch = beginOnTerminal('create', '--module', 'eyes', '--version', '1.2.0', '--label', 'zone=north', '--soak', '0');
  await until('the watch prints that an operator must decide', async () => watch.output().includes('waiting for an operator'));
  const { id } = await newest();
  await rollout('abort', String(id));
  const { code, stdout } = await watch.ended;
  expect(code).toBe(4);
  expect(stdout).toMatch(/wave 1 failed: [\s\S]*waiting for an operator: [\s\S]* is \S*aborted\S*: .*\r\n/);
});

test('a wave waits for approval across a restart of the service, and the rollout continues after a watch is interrupted', async () => {
  await prepare('asks');
  const watch = start('create', ...inTwoWaves('asks', '100%,approval'));
  const [, id = ''] = await watch.waitForLine(/^waiting for the approval of wave 2: patchbay rollout approve (rol_\w+) --wave 2$/);
  const lines = start('watch', 'asks-1.1', '--json');
  await lines.waitForLine(/"state":"awaiting-approval"/);
  const other = start('watch', id);
  await other.waitForLine(/waiting for the approval of wave 2/);
  expect(await other.stop('SIGINT')).toBe(130);
  expect(other.lastLines).toContain(`error: interrupted\nhint: the rollout continues: patchbay rollout watch ${id}`);
  const wrong = await rollout('approve', id, '--wave', '1');
  expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining(': wave 1 of ') });
  await service.stop();
  await watch.waitForLine(/^connection to the service lost/);
  await service.start();
  await watch.waitForLine(/^reconnected to the service/);
  const approved = await rollout('approve', 'asks-1.1', '--wave', '2');
  expect(approved).toMatchObject({ code: 0, stdout: `asks-1.1 (${id}) is running\n` });
  expect([await watch.exited, await lines.exited]).toEqual([0, 0]);
  expect(watch.lastLines).toContain(`asks-1.1 (${id}) is completed`);
  // An unchanged state is not printed again.
  expect(watch.lastLines.match(/waiting for the approval/g)).toHaveLength(1);
  const documents = lines.lastLines.split('\n').filter((line) => line.startsWith('{'));
  expect(documents.filter((document, index) => document === documents[index - 1])).toEqual([]);
  expect(JSON.parse(documents.at(-1) ?? '')).toMatchObject({ id, state: 'completed', deviceCounts: { loaded: 3 } });
});

test('a rollout is paused, resumed and aborted', async () => {
  await prepare('holds');
  expect(await rollout('create', ...inTwoWaves('holds', '100%,approval'), '--no-wait')).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^holds-1\.1 \(rol_\w+\) is pending\nto watch it: patchbay rollout watch rol_\w+\n$/),
  });
  const { id } = await waitForRollout({ module: 'holds', waitingFor: 'approval' });
  const paused = await rollout('pause', 'holds-1.1', '--reason', 'looking at the logs');
  expect(paused.stdout).toBe(`holds-1.1 (${id}) is paused: looking at the logs\nwaiting for an operator: patchbay rollout resume ${id}\n`);
  // Nothing has failed: the watch continues while the rollout is paused.
  const watch = start('watch', 'holds-1.1');
  await watch.waitForLine(/^paused: looking at the logs$/);
  const [listed, none] = await Promise.all([
    rollout('list', '--module', 'holds', '--state', 'paused'),
    rollout('list', '--module', 'holds', '--state', 'completed'),
  ]);
  expect(listed.stdout).toMatch(new RegExp(`^ROLLOUT .*\\n.*\\n${id} +holds-1\\.1 +holds@1\\.1\\.0 +paused +2 of 2 +1 +0 +2 +20\\S+Z\\n$`));
  expect(none.stdout).toBe('no rollouts found\n');
  const resumed = parseStdout(await rollout('resume', 'holds-1.1', '--json'));
  expect(resumed).toMatchObject({ id, state: 'awaiting-approval', reason: null });
  const aborted = await rollout('abort', 'holds-1.1', '--reason', 'enough was seen');
  expect(aborted.stdout).toBe(`holds-1.1 (${id}) is aborted: enough was seen\n`);
  expect(await watch.exited).toBe(4);
  const late = await rollout('resume', 'holds-1.1');
  expect(late).toMatchObject({ code: 1, stderr: expect.stringContaining('aborted') });
});

test('without a terminal, watching ends when a wave fails; failed loads are retried', async () => {
  await prepare('fails');
  const publisher = await new Publisher(service, 'releases').register();
  await service.post('/v1/signature-policies', {
    name: 'signed',
    device: devices[1] ?? '',
    module: 'fails',
    publisherKeys: [publisher.id],
  });
  const stopped = await rollout('create', ...inTwoWaves('fails'));
  const { id } = await newest();
  expect(stopped).toMatchObject({ code: 4, stdout: expect.stringMatching(/\n +2 +failed +2 +1 +1 .* failed\n/) });
  expect(stopped.stdout).toContain(`1 device unsuccessful: patchbay rollout devices ${id} --state failed\n`);
  expect(stopped.stderr).toMatch(
    new RegExp(
      `\\nwave 2 failed: .*\\nwaiting for an operator: patchbay rollout rollback ${id} --reason TEXT, retry-failed ${id}, abort ${id}, or resume ${id} .*\\n$`,
    ),
  );
  const [shown, failed, ofFirst] = await Promise.all([
    rollout('show', 'fails-1.1'),
    rollout('devices', 'fails-1.1', '--state', 'failed'),
    rollout('devices', 'fails-1.1', '--wave', '1', '--json'),
  ]);
  expect(shown.stdout).toMatch(
    /\ndevices +2 loaded, 1 failed\n[\s\S]*\nreason +wave 2 .*\nwaiting for +an operator: [\s\S]*\nThresholds of wave 2:\n.*\n.*\nunsuccessful loads \(%\) +0 +50 +limit exceeded\n[\s\S]* - {2,}too few calls\n/,
  );
  expect(failed.stdout).toMatch(/^WAVE .*\n.*\n +2 +rack-2 +failed +1\.1\.0 +1\.0\.0 +refused-image +1 +- +- +\S.*\n$/);
  expect(parseStdout(ofFirst)['items']).toMatchObject([{ deviceName: 'rack-1', state: 'loaded', outcome: 'replaced' }]);

  await publisher.sign('fails', '1.1.0');
  expect(await rollout('retry-failed', 'fails-1.1')).toMatchObject({ code: 0, stdout: `fails-1.1 (${id}) is running\n` });
  expect((await rollout('watch', 'fails-1.1')).code).toBe(0);
  const none = await rollout('retry-failed', 'fails-1.1');
  expect(none).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error: .*\nrequest: req_/) });
});

test('a build that every device rejects sets the exit code, whatever the operator decides', async () => {
  await prepare('checks');
  await service.push('checks', '1.2.0', failingModule);
  const options = ['create', '--module', 'checks', '--version', '1.2.0', '--label', 'zone=north', '--soak', '0'];
  expect((await rollout(...options)).code).toBe(4);
  const { id } = await newest();
  const back = await rollout('rollback', String(id), '--reason', 'its self-check fails');
  expect(back).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error: .*\nrequest: req_/) });
  expect((await rollout('resume', String(id))).code).toBe(0);
  // The next wave fails, too.
  expect((await rollout('watch', String(id))).code).toBe(4);
  expect((await rollout('abort', String(id))).code).toBe(0);
  const continued = await rollout(...options, '--on-failure', 'continue', '--in-flight', '1', '--name', 'lenient');
  expect(continued).toMatchObject({
    code: 4,
    stdout: expect.stringMatching(/ failed \(ignored\)\n[\s\S]*is completed\n3 devices unsuccessful/),
  });
  const unlimited = await rollout(...options, '--failed-loads', 'off', '--name', 'unlimited', '--json');
  expect(unlimited, unlimited.stderr).toMatchObject({ code: 4 });
  expect(parseStdout(unlimited)).toMatchObject({ state: 'completed', deviceCounts: { failed: 3 } });
});

test('every option of rollout create sets its field', async () => {
  await prepare('every');
  const created = await rollout(
    ...[
      'create',
      '--module',
      'every',
      '--version',
      '1.1.0',
      '--running-version',
      '1.0.0',
      '--label',
      'zone=north',
      '--name',
      'every-option',
    ],
    ...['--wave', '1,soak=300,approval', '50%', '--wave', '100%', '--soak', '30', '--failed-loads', '5', '--failed-calls', 'off'],
    ...['--interrupted-accesses', '2.5', '--abi-violations', '1', '--latency-increase', '50', '--minimum-calls', '7', '--require-calls'],
    ...['--on-failure', 'rollback', '--in-flight', '9', '--rate', '600', '--start-at', '2100-01-01T00:00:00Z'],
    ...[
      '--window',
      'sat,sun 22:00-04:00 Europe/Berlin',
      '--dynamic',
      '--dynamic-until',
      '2100-02-01',
      '--on-conflict',
      'queue',
      '--strategy',
      'drain-then-inject',
    ],
    ...['--drain-milliseconds', '40', '--invalidation', 'delete', '--version-policy', 'downgrade', '--reason', 'a test'],
    ...['--similarity-policy', 'off', '--deadline', '77', '--rollback-deadline', '78', '--supersede', '--no-wait', '--json'],
  );
  const thresholds = {
    failedLoadsPercent: 5,
    interruptedAccesses: 2.5,
    failedCallsPercent: null,
    abiViolations: 1,
    latencyIncreasePercent: 50,
    minimumCalls: 7,
    requireCalls: true,
  };
  const wave = { soakSeconds: 30, approval: false, upToPercent: null, thresholds };
  expect(parseStdout(created)).toMatchObject({
    name: 'every-option',
    version: '1.1.0',
    selector: { labels: { zone: 'north' }, runningVersion: '1.0.0' },
    waves: [
      { ...wave, devices: 1, soakSeconds: 300, approval: true },
      { ...wave, devices: 1, upToPercent: 50 },
      { ...wave, devices: 1, upToPercent: 100 },
    ],
    onFailure: 'rollback',
    devicesInFlight: 9,
    loadsPerMinute: 600,
    startAt: '2100-01-01T00:00:00.000Z',
    window: { days: ['saturday', 'sunday'], from: '22:00', until: '04:00', timeZone: 'Europe/Berlin' },
    acceptsDevicesUntil: '2100-02-01T00:00:00.000Z',
    acceptsDevices: true,
    onConflict: 'queue',
    strategy: 'drain-then-inject',
    drainMilliseconds: 40,
    invalidation: 'delete',
    versionPolicy: 'downgrade',
    downgradeReason: 'a test',
    similarityPolicy: 'off',
    deadlineSeconds: 77,
    rollbackDeadlineSeconds: 78,
    supersede: true,
  });
  const shown = await rollout('show', 'every-option');
  expect(shown.stdout).toMatch(/\nselection +zone=north, running 1\.0\.0, devices that match later join\n/);
  expect(shown.stdout).toContain(
    '\npace         9 loads in progress, 600 per minute, from 2100-01-01T00:00:00Z, on saturday, sunday 22:00-04:00 Europe/Berlin\n',
  );
  expect(shown.stdout).toContain('\nwaiting for  its start time 2100-01-01T00:00:00Z\n');
  expect((await rollout('abort', 'every-option')).code).toBe(0);
});

test('devices join a dynamic rollout until it is closed', async () => {
  await prepare('joins');
  const options = ['--module', 'joins', '--version', '1.1.0', '--label', 'zone=north', '--wave', '100%', '--soak', '0', '--name', 'joins'];
  const watch = start('create', ...options, '--dynamic');
  await watch.waitForLine(/^waiting for more devices; to end the wait: patchbay rollout close rol_\w+$/);
  expect(await rollout('close', 'joins')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^joins \(rol_\w+\) is running\n/) });
  expect(await watch.exited).toBe(0);
  const closed = await rollout('close', (await newest()).id, '--json');
  expect(parseStdout(closed)).toMatchObject({ state: 'completed', acceptsDevices: false });
});

test('a report is exported as JSON or CSV', async () => {
  await prepare('report');
  await rollout('create', ...inTwoWaves('report'));
  const file = join(service.folder, 'report.csv');
  const [json, csv, written] = await Promise.all([
    rollout('report', 'report-1.1'),
    rollout('report', 'report-1.1', '--csv'),
    rollout('report', 'report-1.1', '--csv', '--output', file),
  ]);
  expect(parseStdout(json)).toMatchObject({
    rollout: { state: 'completed' },
    devices: [{ deviceName: 'rack-1' }, { wave: 2 }, { wave: 2 }],
  });
  expect(csv.stdout.split('\r\n')).toEqual([
    expect.stringMatching(/^device,deviceName,wave,state,/),
    expect.stringMatching(/^dev_\w+,rack-1,1,loaded,1\.1\.0,1\.0\.0,1,lod_\w+,replaced,/),
    expect.stringMatching(/^dev_\w+,rack-2,2,loaded,/),
    expect.stringMatching(/^dev_\w+,rack-3,2,loaded,/),
    '',
  ]);
  expect(written).toMatchObject({ code: 0, stdout: `exported to ${file}\n` });
  expect(readFileSync(file, 'utf8')).toBe(csv.stdout);
  const again = await rollout('report', 'report-1.1', '--csv', '--output', file);
  expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining('already exists') });
});

test('a name means the open rollout, or the newest if all have ended', async () => {
  await Promise.all([prepare('one'), prepare('two')]);
  const create = async (module: string) =>
    String(parseStdout(await rollout('create', ...inTwoWaves(module, '100%,approval'), '--name', 'same', '--no-wait', '--json'))['id']);
  const resolvedId = async () => parseStdout(await rollout('show', 'same', '--json'))['id'];
  const first = await create('one');
  const second = await create('two');
  const both = await rollout('show', 'same');
  expect(both).toMatchObject({
    code: 2,
    stderr: expect.stringContaining(`2 open rollouts are named "same": give one of ${second}, ${first}`),
  });
  await rollout('abort', second);
  expect(await resolvedId()).toBe(first);
  await rollout('abort', first);
  expect(await resolvedId()).toBe(second);
});

test.each([
  [['create', '--module', 'x', '--version', '1.0.0'], 'select devices with --device, --label, --selector, --group or --running-version'],
  [
    ['create', '--module', 'x', '--version', '1.0.0', '--device', 'a', '--label', 'b=c'],
    'select devices with either --device, or one or more of --label, --selector and --group',
  ],
  [
    ['create', '--module', 'x', '--version', '1.0.0', '--label', 'b=c', '--reason', 'd'],
    '--version-policy downgrade and --reason require each other',
  ],
  [['create', '--module', 'x', '--version', '1.0.0', '--label', 'b=c', '--wave', '5,slow'], '--wave 5,slow: expected a size with options'],
  [['create', '--module', 'x', '--version', '1.0.0', '--label', 'b=c', '--window', 'noon'], '--window: expected days'],
  [['create', '--module', 'x', '--version', '1.0.0', '--label', 'b=c', '--dynamic-until', 'noon'], '--dynamic-until: expected a time like'],
  [
    ['create', '--module', 'x', '--version', '1.0.0', '--label', 'b=c', '--on-failure', 'stop'],
    'Allowed choices are pause, rollback, continue',
  ],
  [['create', '--label', 'a=b'], 'either --module and --version or --patch-set are required'],
  [['create', '--label', 'a=b', '--patch-set', 'net'], '--patch-set: expected name@version, received "net"'],
  [
    ['create', '--label', 'a=b', '--patch-set', 'net@1.0.0', '--module', 'tcp'],
    '--patch-set cannot be combined with --module and --version',
  ],
  [['approve', 'x'], "required option '--wave <number>' not specified"],
  [['rollback', 'x'], "required option '--reason <text>' not specified"],
  [['show', 'unknown'], 'there is no rollout named "unknown": "patchbay rollout list" lists rollouts'],
  [['devices', 'x', '--state', 'lost'], 'Allowed choices are waiting, loading, loaded, failed, skipped'],
])('%j is a usage error', async (args, stderr) => {
  expect(await rollout(...args)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(stderr) });
});

test('a value that the service rejects is reported with its option', async () => {
  const options = ['create', '--module', 'dry', '--version', '1.1.0', '--label', 'zone=north'];
  const [last, zone, unknown] = await Promise.all([
    rollout(...options, '--wave', '50%'),
    rollout(...options, '--window', 'sat 22:00-04:00 Europe/Nowhere'),
    rollout('watch', 'rol_019365a1c0de7b1e9d2f4c6a8b0d1e2f'),
  ]);
  expect(last).toMatchObject({ code: 1, stderr: expect.stringMatching(/: --wave: .*last wave/) });
  expect(zone).toMatchObject({ code: 1, stderr: expect.stringMatching(/: --window\b.*Europe\/Nowhere/) });
  expect(unknown.code).toBe(1);
  expect(unknown.stderr).not.toContain('the rollout continues');
});
