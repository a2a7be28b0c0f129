// Rollouts with the operator's commands, as processes against a service with real devices.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
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
  // What goes on until it is ended has the environment of this process.
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

/** A command that goes on until it is ended, or until what it watches has. */
function begin(...args: string[]): PatchbayProcess {
  const child = new PatchbayProcess(`patchbay rollout ${args.join(' ')}`, ['rollout', ...args]);
  children.push(child);
  return child;
}

/** No device keeps it: it says itself that it is not sound. */
const unsoundModule =
  '(module (func (export "self_check") (result i32) (i32.const 1)) (func (export "work") (param i32) (result i32) (i32.const 1)))';

/** Pushes two versions of a module, the first of which every device has. */
async function prepare(module: string): Promise<void> {
  await service.push(module, '1.0.0', workModule(1));
  await service.push(module, '1.1.0', workModule(2));
  await service.load(module, '1.0.0', devices);
}

/** The options that roll 1.1.0 of a module out to the named devices in two waves that are not watched. */
const inTwoWaves = (module: string, second = '100%') => [
  ...['--module', module, '--version', '1.1.0', '--device', 'rack-1', '--device', 'rack-2', '--device', 'rack-3'],
  ...['--wave', '1', second, '--soak', '0', '--name', `${module}-1.1`],
];

const newest = async () => firstOf(await service.get('/v1/rollouts?limit=1'));

/** Waits until the newest rollout is in a state, or waits for something. */
const stands = (expected: { module?: string; state?: string; waitingFor?: string }) =>
  until(`the rollout is ${JSON.stringify(expected)}`, async () => {
    const found = await newest();
    const { module = found.module, state = found.state, waitingFor = found.waitingFor } = expected;
    return found.module === module && found.state === state && found.waitingFor === waitingFor && found;
  });

test('a dry run tells the waves, who would refuse and why, and what is in the way, and does nothing', async () => {
  await prepare('dry');
  await service.push('dry', '2.0.0', workModule(3));
  await service.load('dry', '2.0.0', devices.slice(2));
  const asked = ['create', '--module', 'dry', '--version', '1.1.0', '--wave', '1', '--wave', '100%', '--dry-run'];
  const refused = await rollout(...asked, '--label', 'zone=north');
  expect(refused).toMatchObject({ code: 3, stderr: '' });
  expect(refused.stdout).toMatch(
    /^dry@1\.1\.0 would go to 3 devices\nwould refuse it: 1\n\nWAVE +DEVICES\n.*\n +1 +1\n +2 +2\n\nFORECAST .*\n.*\nrefused-not-newer +rack-3 +[12] +2\.0\.0 +dry@1\.1\.0 is older[^\n]*\n$/,
  );
  const [good, machine, left] = await Promise.all([
    rollout(...asked, '--running-version', '<2.0.0'),
    rollout(...asked, '--label', 'zone=north', '--json'),
    rollout(...asked.with(4, '1.0.0'), '--label', 'zone=north', '--version-policy', 'downgrade', '--reason', 'to see'),
  ]);
  expect(good).toMatchObject({ code: 0, stdout: expect.stringContaining('dry@1.1.0 would go to 2 devices\n\n') });
  expect(parseStdout(machine)).toMatchObject({ devices: 3, refused: 1, waves: [{ devices: 1 }, { devices: 2 }] });
  expect(left).toMatchObject({ code: 0, stdout: expect.stringContaining('would go to 1 device\nleft out, for they have it: 2\n') });
  expect(itemsOf(await service.get('/v1/rollouts?module=dry'))).toEqual([]);

  const held = ['create', '--module', 'dry', '--version', '1.1.0', '--device', 'rack-1', '--wave', '100%,approval', '--no-wait', '--json'];
  const { id } = parseStdout(await rollout(...held));
  const busy = await rollout(...asked, '--running-version', '<2.0.0');
  expect(busy.stdout).toContain(
    `the rollout ${id} has 1 device of these, and has not ended: it would be refused for that, but for --queue`,
  );
  const [queued, conflict] = await Promise.all([
    rollout(...asked, '--running-version', '<2.0.0', '--queue'),
    rollout('create', '--module', 'dry', '--version', '1.1.0', '--label', 'zone=north'),
  ]);
  expect(queued.stdout).toContain('it would wait for that');
  expect(conflict).toMatchObject({ code: 1, stderr: expect.stringContaining(`${id} has 1 of the devices`) });
  expect((await rollout('abort', String(id))).code).toBe(0);
});

test('a rollout is watched until it ends: a line for each change, a table at the end, one document for machines', async () => {
  await prepare('lines');
  const watched = await rollout('create', ...inTwoWaves('lines'));
  expect(watched).toMatchObject({ code: 0 });
  const { id } = await newest();
  expect(watched.stderr).toMatch(
    new RegExp(
      `^watching the rollout ${id}: lines@1\\.1\\.0 to 3 devices in 2 waves\\n(wave [12] [^\\n]+\\n)*wave 2 has passed: 2 loaded, 0 failed; `,
    ),
  );
  expect(watched.stdout).toMatch(/^WAVE +STATE .*\n.*\n +1 +passed +1 +1 +0 .* good\n +2 +passed +2 +2 +0 .* good\n\n/);
  expect(watched.stdout).toMatch(new RegExp(`\nlines-1\\.1 \\(${id}\\) is completed\n$`));

  const back = await rollout('rollback', 'lines-1.1', '--reason', 'it was a test', '--json');
  expect(back.code).toBe(0);
  expect(parseStdout(back)).toMatchObject({ state: 'completed', rollbackOf: id, deviceCounts: { loaded: 3 } });
  expect(back.stderr).toMatch(new RegExp(`^watching the rollback rol_\\w+, which takes back the devices of ${id}\\n`));
  // The name is of what was taken back, not of what has done it.
  const shown = await rollout('show', 'lines-1.1');
  expect(shown.stdout).toMatch(
    new RegExp(`^lines-1\\.1 +${id} +rolled-back\\n[\\s\\S]*\\nreason +it was a test\\nback by +${parseStdout(back)['id']}\\n`),
  );
  const again = await rollout('watch', String(id));
  expect(again).toMatchObject({ code: 4, stdout: expect.stringContaining('is rolled-back: it was a test\n') });

  const first = await rollout('create', '--module', 'lines', '--version', '1.0.0', '--label', 'zone=north');
  expect(first).toMatchObject({ code: 0, stdout: '', stderr: expect.stringMatching(/^every selected device has lines@1\.0\.0/) });
});

/** A command as a person has it, on a terminal. */
function beginOnTerminal(...args: string[]): {
  readonly said: () => string;
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
  return { said: () => stdout, ended };
}

test('on a terminal each wave has a bar', async () => {
  await prepare('bars');
  const { stdout } = await beginOnTerminal('create', ...inTwoWaves('bars')).ended;
  expect(stdout).toMatch(/wave 1 {2}\S*█{30}\S* {2}1\/1 {2}passed/);
  expect(stdout).toMatch(/wave 2 {2}\S*█{30}\S* {2}2\/2 {2}passed/);
  expect(stdout).not.toMatch(/wave 1 has passed/);
});

test('on a terminal it is watched on when a wave has failed, until it is decided what becomes of it', async () => {
  await prepare('eyes');
  await service.push('eyes', '1.2.0', unsoundModule);
  const watch = beginOnTerminal('create', '--module', 'eyes', '--version', '1.2.0', '--label', 'zone=north', '--soak', '0');
  await until('the watcher has told that an operator is waited for', async () => watch.said().includes('it waits for an operator'));
  const { id } = await newest();
  await rollout('abort', String(id));
  const { code, stdout } = await watch.ended;
  expect(code).toBe(4);
  expect(stdout).toMatch(
    /wave 1 failed: 1 of 1 loads failed; limit: 0%[\s\S]*it waits for an operator: [\s\S]* is \S*aborted\S*: aborted by an operator\r\n/,
  );
});

test('a wave waits for approval, also while the service is started anew, and whoever stops watching stops nothing else', async () => {
  await prepare('asks');
  const watch = begin('create', ...inTwoWaves('asks', '100%,approval'));
  const [, id = ''] = await watch.waitForLine(/^it waits for the approval of wave 2: patchbay rollout approve (rol_\w+) --wave 2$/);
  const lines = begin('watch', 'asks-1.1', '--json');
  await lines.waitForLine(/"state":"awaiting-approval"/);
  const other = begin('watch', id);
  await other.waitForLine(/it waits for the approval of wave 2/);
  expect(await other.stop('SIGINT')).toBe(130);
  expect(other.lastLines).toContain(`not watching any longer; the rollout goes on: patchbay rollout watch ${id}`);
  const wrong = await rollout('approve', id, '--wave', '1');
  expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining('wave 1 of the rollout') });
  await service.stop();
  await watch.waitForLine(/^the service is away/);
  await service.start();
  await watch.waitForLine(/^the service is there again/);
  await lines.waitForLine(/^the service is there again/);
  const approved = await rollout('approve', 'asks-1.1', '--wave', '2');
  expect(approved).toMatchObject({ code: 0, stdout: `asks-1.1 (${id}) is running\n` });
  expect([await watch.exited, await lines.exited]).toEqual([0, 0]);
  expect(watch.lastLines).toContain(`asks-1.1 (${id}) is completed`);
  // What has not changed is not said again.
  expect(watch.lastLines.match(/it waits for the approval/g)).toHaveLength(1);
  const documents = lines.lastLines.split('\n').filter((line) => line.startsWith('{'));
  expect(documents.filter((document, index) => document === documents[index - 1])).toEqual([]);
  expect(JSON.parse(documents.at(-1) ?? '')).toMatchObject({ id, state: 'completed', deviceCounts: { loaded: 3 } });
});

test('a rollout is paused, goes on, and is aborted', async () => {
  await prepare('holds');
  expect(await rollout('create', ...inTwoWaves('holds', '100%,approval'), '--no-wait')).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^holds-1\.1 \(rol_\w+\) is pending\npatchbay rollout watch rol_\w+ shows how it goes on\n$/),
  });
  const { id } = await stands({ module: 'holds', waitingFor: 'approval' });
  const paused = await rollout('pause', 'holds-1.1', '--reason', 'looking at the logs');
  expect(paused.stdout).toBe(`holds-1.1 (${id}) is paused: looking at the logs\nit waits for an operator: patchbay rollout resume ${id}\n`);
  // Nothing has failed: it is for whoever has paused it to go on, and for who watches to wait.
  const watch = begin('watch', 'holds-1.1');
  await watch.waitForLine(/^it is paused: looking at the logs$/);
  const [listed, none] = await Promise.all([
    rollout('list', '--module', 'holds', '--state', 'paused'),
    rollout('list', '--module', 'holds', '--state', 'completed'),
  ]);
  expect(listed.stdout).toMatch(new RegExp(`^ROLLOUT .*\\n.*\\n${id} +holds-1\\.1 +holds@1\\.1\\.0 +paused +2 of 2 +1 +0 +2 +20\\S+Z\\n$`));
  expect(none.stdout).toBe('there are no such rollouts\n');
  const resumed = parseStdout(await rollout('resume', 'holds-1.1', '--json'));
  expect(resumed).toMatchObject({ id, state: 'awaiting-approval', reason: null });
  const aborted = await rollout('abort', 'holds-1.1', '--reason', 'enough was seen');
  expect(aborted.stdout).toBe(`holds-1.1 (${id}) is aborted: enough was seen\n`);
  expect(await watch.exited).toBe(4);
  const late = await rollout('resume', 'holds-1.1');
  expect(late).toMatchObject({ code: 1, stderr: expect.stringContaining('cannot be resumed: its state is aborted') });
});

test('where a wave fails, who sees no terminal is told to decide; what failed is tried again', async () => {
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
  expect(stopped.stdout).toContain(`1 device without success: patchbay rollout devices ${id} --state failed\n`);
  expect(stopped.stderr).toMatch(
    new RegExp(
      `\\nwave 2 failed: 1 of 2 loads failed.*\\nit waits for an operator: patchbay rollout rollback ${id} --reason TEXT, retry-failed ${id}, abort ${id}, or resume ${id} .*\\n$`,
    ),
  );
  const [shown, failed, ofFirst] = await Promise.all([
    rollout('show', 'fails-1.1'),
    rollout('devices', 'fails-1.1', '--state', 'failed'),
    rollout('devices', 'fails-1.1', '--wave', '1', '--json'),
  ]);
  expect(shown.stdout).toMatch(
    /\ndevices +2 loaded, 1 failed\n[\s\S]*\nreason +wave 2 failed: .*\nwaits for an operator: [\s\S]*\nThresholds of wave 2:\n.*\n.*\nloads without success, in percent +0 +50 +too much\n[\s\S]* - {2,}too few calls to judge by\n/,
  );
  expect(failed.stdout).toMatch(/^WAVE .*\n.*\n +2 +rack-2 +failed +1\.1\.0 +1\.0\.0 +refused-image +1 +- +- +\S.*\n$/);
  expect(parseStdout(ofFirst)['items']).toMatchObject([{ deviceName: 'rack-1', state: 'loaded', outcome: 'replaced' }]);

  await publisher.sign('fails', '1.1.0');
  expect(await rollout('retry-failed', 'fails-1.1')).toMatchObject({ code: 0, stdout: `fails-1.1 (${id}) is running\n` });
  expect((await rollout('watch', 'fails-1.1')).code).toBe(0);
  const none = await rollout('retry-failed', 'fails-1.1');
  expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining('that could be tried again') });
});

test('a build that no device takes is told by the exit code, whatever is done about it', async () => {
  await prepare('checks');
  await service.push('checks', '1.2.0', unsoundModule);
  const asked = ['create', '--module', 'checks', '--version', '1.2.0', '--label', 'zone=north', '--soak', '0'];
  expect((await rollout(...asked)).code).toBe(4);
  const { id } = await newest();
  const back = await rollout('rollback', String(id), '--reason', 'it is unsound');
  expect(back).toMatchObject({ code: 1, stderr: expect.stringContaining('no device has got its version') });
  expect((await rollout('resume', String(id))).code).toBe(0);
  // The wave after it fails in its turn.
  expect((await rollout('watch', String(id))).code).toBe(4);
  expect((await rollout('abort', String(id))).code).toBe(0);
  const goingOn = await rollout(...asked, '--on-failure', 'continue', '--in-flight', '1', '--name', 'lenient');
  expect(goingOn).toMatchObject({
    code: 4,
    stdout: expect.stringMatching(/ failed, and goes on\n[\s\S]*is completed\n3 devices without success/),
  });
  const judged = await rollout(...asked, '--failed-loads', 'off', '--name', 'unjudged', '--json');
  expect(judged, judged.stderr).toMatchObject({ code: 4 });
  expect(parseStdout(judged)).toMatchObject({ state: 'completed', deviceCounts: { failed: 3 } });
});

test('what a rollout is asked is what it is', async () => {
  await prepare('asked');
  const made = await rollout(
    ...['create', '--module', 'asked', '--version', '1.1.0', '--running-version', '1.0.0', '--label', 'zone=north', '--name', 'all-of-it'],
    ...['--wave', '1,soak=300,approval', '50%', '--wave', '100%', '--soak', '30', '--failed-loads', '5', '--failed-calls', 'off'],
    ...['--interrupted-accesses', '2.5', '--abi-violations', '1', '--latency-increase', '50', '--minimum-calls', '7', '--require-calls'],
    ...['--on-failure', 'rollback', '--in-flight', '9', '--rate', '600', '--start-at', '2100-01-01T00:00:00Z'],
    ...[
      '--window',
      'sat,sun 22:00-04:00 Europe/Berlin',
      '--dynamic',
      '--until',
      '2100-02-01',
      '--queue',
      '--strategy',
      'drain-then-inject',
    ],
    ...['--drain-milliseconds', '40', '--invalidation', 'delete', '--version-policy', 'downgrade', '--reason', 'why not'],
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
  expect(parseStdout(made)).toMatchObject({
    name: 'all-of-it',
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
    downgradeReason: 'why not',
    similarityPolicy: 'off',
    deadlineSeconds: 77,
    rollbackDeadlineSeconds: 78,
    supersede: true,
  });
  const shown = await rollout('show', 'all-of-it');
  expect(shown.stdout).toMatch(/\nselected +zone=north, those that run 1\.0\.0, also those that match later\n/);
  expect(shown.stdout).toContain(
    '\npace      9 at once, 600 a minute, from 2100-01-01T00:00:00Z on, on saturday, sunday 22:00-04:00 Europe/Berlin\n',
  );
  expect(shown.stdout).toContain('\nwaits for its start at 2100-01-01T00:00:00Z\n');
  expect((await rollout('abort', 'all-of-it')).code).toBe(0);
});

test('devices join a dynamic rollout until it is closed to them', async () => {
  await prepare('joins');
  const options = ['--module', 'joins', '--version', '1.1.0', '--label', 'zone=north', '--wave', '100%', '--soak', '0', '--name', 'joins'];
  const watch = begin('create', ...options, '--dynamic');
  await watch.waitForLine(/^it waits for devices that join it: patchbay rollout close rol_\w+ ends that$/);
  expect(await rollout('close', 'joins')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^joins \(rol_\w+\) is running\n/) });
  expect(await watch.exited).toBe(0);
  const closed = await rollout('close', (await newest()).id, '--json');
  expect(parseStdout(closed)).toMatchObject({ state: 'completed', acceptsDevices: false });
});

test('a report is written for machines and spreadsheets', async () => {
  await prepare('told');
  await rollout('create', ...inTwoWaves('told'));
  const file = join(service.folder, 'told.csv');
  const [json, csv, written] = await Promise.all([
    rollout('report', 'told-1.1'),
    rollout('report', 'told-1.1', '--csv'),
    rollout('report', 'told-1.1', '--csv', '--output', file),
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
  expect(written).toMatchObject({ code: 0, stdout: `written to ${file}\n` });
  expect(readFileSync(file, 'utf8')).toBe(csv.stdout);
  const again = await rollout('report', 'told-1.1', '--csv', '--output', file);
  expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining('is there already') });
});

test('a name is of the only rollout that has not ended, or else of the newest', async () => {
  await Promise.all([prepare('one'), prepare('two')]);
  const make = async (module: string) =>
    String(parseStdout(await rollout('create', ...inTwoWaves(module, '100%,approval'), '--name', 'same', '--no-wait', '--json'))['id']);
  const named = async () => parseStdout(await rollout('show', 'same', '--json'))['id'];
  const first = await make('one');
  const second = await make('two');
  const both = await rollout('show', 'same');
  expect(both).toMatchObject({
    code: 2,
    stderr: expect.stringContaining(`2 rollouts called same have not ended: name one of ${second}, ${first}`),
  });
  await rollout('abort', second);
  expect(await named()).toBe(first);
  await rollout('abort', first);
  expect(await named()).toBe(second);
});

test.each([
  [['create', '--module', 'x', '--version', '1.0.0'], 'give --device, --label or --running-version: which devices get the build'],
  [['create', '--module', 'x', '--version', '1.0.0', '--device', 'a', '--label', 'b=c'], 'give either --device or --label'],
  [['create', '--module', 'x', '--version', '1.0.0', '--label', 'b=c', '--reason', 'd'], 'give a --reason with --version-policy downgrade'],
  [['create', '--module', 'x', '--version', '1.0.0', '--label', 'b=c', '--wave', '5,slow'], '--wave 5,slow: write a wave as 5 or 10%'],
  [['create', '--module', 'x', '--version', '1.0.0', '--label', 'b=c', '--window', 'noon'], '--window is "noon": give days'],
  [['create', '--module', 'x', '--version', '1.0.0', '--label', 'b=c', '--until', 'noon'], '--until is "noon": give a time'],
  [
    ['create', '--module', 'x', '--version', '1.0.0', '--label', 'b=c', '--on-failure', 'stop'],
    'Allowed choices are pause, rollback, continue',
  ],
  [['approve', 'x'], "required option '--wave <number>' not specified"],
  [['rollback', 'x'], "required option '--reason <text>' not specified"],
  [['show', 'nobody'], 'there is no rollout called nobody: "patchbay rollout list" shows those there are'],
  [['devices', 'x', '--state', 'lost'], 'Allowed choices are waiting, loading, loaded, failed, skipped'],
])('%j is a wrong command line', async (args, stderr) => {
  expect(await rollout(...args)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(stderr) });
});

test('a value that only the service can reject is reported in its words', async () => {
  const asked = ['create', '--module', 'dry', '--version', '1.1.0', '--label', 'zone=north'];
  const [last, zone, unknown] = await Promise.all([
    rollout(...asked, '--wave', '50%'),
    rollout(...asked, '--window', 'sat 22:00-04:00 Europe/Nowhere'),
    rollout('watch', 'rol_019365a1c0de7b1e9d2f4c6a8b0d1e2f'),
  ]);
  expect(last).toMatchObject({ code: 1, stderr: expect.stringContaining('/waves: the last wave must be') });
  expect(zone).toMatchObject({ code: 1, stderr: expect.stringContaining('unknown time zone "Europe/Nowhere"') });
  expect(unknown.code).toBe(1);
  expect(unknown.stderr).not.toContain('not watching any longer');
});
