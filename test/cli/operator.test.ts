// The operator's commands, as processes against a service with real devices.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';
import { itemsOf, prebuiltModule, TestService, until, workModule } from '../service/test-service.ts';
import { type CommandResult, entry, environment, parseStdout, run, runPatchbay } from './command.ts';

const service = new TestService();
const children: PatchbayProcess[] = [];
let devices: string[];
let stopAway: () => Promise<void>;

beforeAll(async () => {
  await service.start();
  // What goes on until it is ended has the environment of this process.
  Object.assign(process.env, settings());
  stopAway = service.startHost('away', 1, { zone: 'south' });
  service.startHost('rack', 2, { zone: 'north' });
  devices = await service.connectedDevices(3);
});
afterAll(async () => {
  await Promise.all(children.map((child) => child.stop('SIGKILL')));
  await service.close();
});

const settings = () => ({ PATCHBAY_SERVICE: service.url, PATCHBAY_KEY: service.key });
const command = (...args: string[]) => runPatchbay(service.folder, args, settings());

/** A command that goes on until it is ended. */
function begin(...args: string[]): PatchbayProcess {
  const child = new PatchbayProcess(`patchbay ${args.join(' ')}`, args);
  children.push(child);
  return child;
}

function write(name: string, content: string | Uint8Array): string {
  const file = join(service.folder, name);
  writeFileSync(file, content);
  return file;
}

const succeed = (said: CommandResult) => expect(said, said.stderr).toMatchObject({ code: 0 });

test('the exit code of health tells that the fleet is well', async () => {
  const healthy = await command('health', '--json');
  expect(healthy.code).toBe(0);
  expect(parseStdout(healthy)).toMatchObject({ status: 'healthy', reasons: [] });
});

test('builds are pushed of every language, with the version after the last, and listed', async () => {
  const first = await command('build', 'push', write('work.wat', workModule(1)), '--module', 'work', '--version', '1.0.0');
  expect(first).toMatchObject({ code: 0, stdout: expect.stringMatching(/^pushed work@1\.0\.0: \d+ bytes/), stderr: '' });
  const assembly = write('count.ts', 'export function count(n: i32): i32 { return n; }');
  const [second, third] = await Promise.all([
    command('build', 'push', assembly, '--module', 'count', '--version', 'next-minor', '--json'),
    command('build', 'push', write('one.wasm', prebuiltModule), '--module', 'one', '--version', '2.0.0-rc.1', '--json'),
  ]);
  expect(parseStdout(second)).toMatchObject({ module: 'count', version: '1.0.0', language: 'assemblyscript' });
  expect(parseStdout(third)).toMatchObject({ module: 'one', version: '2.0.0-rc.1', language: 'wasm' });
  await service.push('work', '1.1.0', workModule(2));
  const list = await command('build', 'list', 'work', '--limit', '1');
  expect(list.stdout).toMatch(/^VERSION .*\n.*\n1\.1\.0 +wat +\d+/);
  expect(list.stderr).toBe('there are more than 1 items: use --limit or --all\n');
  expect(list.stdout).not.toContain('\u001b');
});

test('--concurrency and --enable are options of the build; an unknown value is refused', async () => {
  const vectors = write('vectors.ts', 'export function two(n: i32): i32 { return i32x4.extract_lane(i32x4.splat(n), 1); }');
  const push = ['build', 'push', vectors, '--module', 'vectors', '--version', '1.0.0'];
  const without = await command(...push);
  expect(without).toMatchObject({ code: 1, stderr: expect.stringContaining("Feature 'simd' is not enabled") });
  const pushed = await command(...push, '--concurrency', 'exclusive', '--enable', 'simd', '--json');
  expect(parseStdout(pushed)).toMatchObject({ options: { concurrency: 'exclusive', features: ['simd'] } });
  expect(await command(...push, '--concurrency', 'serial')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('shared, exclusive'),
  });
  expect(await command(...push, '--enable', 'threads')).toMatchObject({ code: 2, stderr: expect.stringContaining('simd') });
});

test('a source that does not compile is reported by file, line and column', async () => {
  const file = write('bad.ts', 'export function a(): i32 {\n  return "x";\n}\n');
  const said = await command('build', 'push', file, '--module', 'bad', '--version', '1.0.0');
  expect(said).toMatchObject({ code: 1, stdout: '' });
  expect(said.stderr).toMatch(new RegExp(`^${file}:2:10: Type .* is not assignable`));
  const unknown = await command('build', 'push', write('notes.txt', ''), '--module', 'bad', '--version', '1.0.0');
  expect(unknown).toMatchObject({ code: 2, stderr: expect.stringContaining('compile C, Rust and other languages to .wasm first') });
});

test('devices are listed with filters, and shown by name', async () => {
  const listed = await command('device', 'list', '--label', 'zone=north', '--status', 'connected', '--json');
  expect(parseStdout(listed)['items']).toMatchObject([{ labels: { zone: 'north' } }, { labels: { zone: 'north' } }]);
  const shown = await command('device', 'show', 'rack-1');
  expect(shown).toMatchObject({ code: 0, stdout: expect.stringContaining(`rack-1  ${devices[1]}  connected`) });
  const unknown = await command('device', 'show', 'rack-9');
  expect(unknown).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(/^there is no device "rack-9": "patchbay device list"/),
  });
});

test('loads are waited for and summed up, and the exit code tells of those that are refused', async () => {
  const loaded = await command('load', '--module', 'work', '--version', '1.0.0', '--label', 'zone=north');
  succeed(loaded);
  expect(loaded.stdout).toMatch(/^OUTCOME +LOADS .*\n.*\ninstalled +2 +0 +0 +0\n$/);
  expect(loaded.stderr).toMatch(/^waiting for 2 loads of the batch bat_\w+\n$/);
  const some = await command('load', '--module', 'work', '--version', '1.0.0', '--device', 'rack-1', '--device', 'away-1');
  expect(some.code).toBe(3);
  expect(some.stdout).toMatch(
    /installed +1 +0[\s\S]*refused-not-newer +1 +0[\s\S]*\nlod_\w+ +rack-1 +refused-not-newer +work@1\.0\.0 is of the same/,
  );
});

test('on a terminal the progress is drawn, in colours unless they are forbidden', async () => {
  const draw = async (...flags: string[]) => {
    const words = [process.execPath, entry, 'load', '--module', 'work', '--version', '1.0.0', '--label', 'zone=north', ...flags];
    const env = environment({ HOME: service.folder, TERM: 'xterm', ...settings() });
    return (await run('script', ['-qec', words.join(' '), '/dev/null'], { env, cwd: service.folder })).stdout;
  };
  const [drawn, plain] = await Promise.all([draw(), draw('--no-color')]);
  expect(drawn).toMatch(/work@1\.0\.0 {2}\S*█{30}\S* {2}2\/2 {2}2 without success/);
  expect(drawn).toContain('\u001b[33mrefused-not-newer\u001b[39m');
  expect(plain).toMatch(/work@1\.0\.0 {2}█{30} {2}2\/2 {2}2 without success/);
  expect(plain).not.toContain('\u001b[3');
});

test('programs are started, listed, measured and stopped', async () => {
  const calls = ['--module', 'work', '--export', 'work', '--threads', '2', '--pause', '5'];
  const started = parseStdout(await command('program', 'start', 'rack-1', '1000', ...calls, '--json'));
  expect(started).toMatchObject({ name: 'work.work', threads: 2, arguments: ['1000'] });
  const watch = begin('program', 'stats', 'rack-1', '--watch', '--json');
  await watch.waitForLine(/"state":"running".*"callsCompleted":[1-9]/);
  expect(await watch.stop('SIGINT')).toBe(0);
  const stats = await command('program', 'stats', 'rack-1');
  expect(stats.stdout).toMatch(/\nwork\.work +running +\d+ +0 +0 +\d+ +\d+ +1\.0\.0 100\.0%\n/);
  expect(stats.stdout).toMatch(
    /\nNAME +VERSION +COMPLETED +FAILED +P50 +P99 +LONGEST\n.*\nwork\.work +1\.0\.0 +\d+ +0 +\S+ (µs|ms) +\S+ (µs|ms|s) +\S+ (µs|ms|s)\n$/,
  );
  expect((await command('program', 'list', 'rack-1')).stdout).toMatch(/running +work\.work\(1000\) +2 /);
  const stopped = parseStdout(await command('program', 'stop', 'rack-1', String(started['id']), '--json'));
  expect(stopped).toMatchObject({ id: started['id'], state: expect.stringMatching(/^stop/) });
  const wrong = await command('program', 'start', 'rack-1', 'many', '--module', 'work', '--export', 'work');
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('the argument "many" is not a number') });
});

test('devices go back to the version before, or to one that is named', async () => {
  await service.load('work', '1.1.0', devices.slice(1));
  const back = await command('rollback', '--label', 'zone=north', '--module', 'work', '--reason', '1.1.0 is wrong', '--json');
  succeed(back);
  expect(parseStdout(back)['loads']).toMatchObject([
    { version: '1.0.0', versionPolicy: 'downgrade', downgradeReason: '1.1.0 is wrong', outcome: 'replaced' },
    { version: '1.0.0', outcome: 'replaced' },
  ]);
  const [rolledBack] = itemsOf(await service.get('/v1/loads?limit=1'));
  expect((await command('load', 'show', String(rolledBack?.id))).stdout).toMatch(/\nrequester +key_\w+, to roll back\n/);
  const history = await command('history', 'rack-1', 'work');
  expect(history.stdout).toMatch(
    /\nwork +1\.0\.0 .* in memory [\s\S]*\nwork +1\.1\.0 .* replaced +0 +nx +0x2000-0x2fff +\S+ +lod_[\s\S]*\nwork +1\.0\.0 .* replaced /,
  );
  expect((await command('history', 'rack-1')).stdout).toBe(history.stdout);
  const [, replaced] = itemsOf(await service.get(`/v1/devices/${devices[1]}/modules/work/history`));
  const then = await command('history', 'rack-1', 'work', '--at', String(replaced?.installedAt), '--json');
  expect(parseStdout(then)).toMatchObject({ items: [{ version: '1.1.0', load: replaced?.load }] });
  expect((await command('history', 'rack-1', '--at', '2000-01-01')).stdout).toBe('rack-1 had no module in memory\n');
  expect(await command('history', 'rack-1', '--at', 'noon')).toMatchObject({ code: 2, stderr: expect.stringContaining('--at is "noon"') });
  const running = await command('build', 'devices', 'work', '1.0.0', '--running');
  expect(running.stdout).toMatch(/\nrack-1 +dev_\w+ .* in memory +2\n/);
  const gone = parseStdout(await command('build', 'devices', 'work', '1.1.0', '--gone', '--json'))['items'];
  expect(gone).toMatchObject([{ removedAt: expect.any(String), residencies: 1 }, { residencies: 1 }]);
  await service.load('work', '1.1.0', devices.slice(2));
  // One of them has it already, and is left alone.
  const named = await command('rollback', '--label', 'zone=north', '--module', 'work', '--to', '1.0.0', '--reason', 'again', '--json');
  expect(parseStdout(named)['loads']).toMatchObject([{ device: devices[2], version: '1.0.0' }]);
  const already = await command('rollback', '--label', 'zone=north', '--module', 'work', '--to', '1.0.0', '--reason', 'again');
  expect(already).toMatchObject({
    code: 0,
    stdout: '',
    stderr: expect.stringMatching(/^every selected device already runs work@1\.0\.0\n$/),
  });
  const none = await command('rollback', '--device', 'away-1', '--device', 'rack-1', '--module', 'work', '--reason', 'again');
  expect(none).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/no previous version of work .* on away-1, rack-1; no load was created/),
  });
});

test('who waits or follows goes on when the service is started anew, and misses nothing; a load that is cancelled is told by the exit code', async () => {
  await stopAway();
  const tail = begin('audit', 'tail', '-f', '--json');
  await tail.waitForLine(/"number"/);
  const wait = begin('load', '--module', 'work', '--version', '1.1.0', '--device', 'away-1');
  const [, batch = ''] = await wait.waitForLine(/waiting for 1 load of the batch (bat_\w+)/);
  const broken = begin('load', '--module', 'work', '--version', '1.1.0', '--device', 'away-1');
  await broken.waitForLine(/waiting for 1 load/);
  expect(await broken.stop('SIGINT')).toBe(130);
  expect(broken.lastLines).toMatch(/not waiting any longer; the loads go on: patchbay load list --batch bat_\w+/);
  await service.stop();
  await wait.waitForLine(/^the service is away/);
  await service.start();
  await wait.waitForLine(/^the service is there again/);
  await tail.waitForLine(/^the service is there again/);
  const queued = itemsOf(await service.get(`/v1/loads?batch=${batch}`));
  const listed = await command('load', 'list', '--device', 'away-1', '--state', 'queued');
  expect(listed.stdout).toMatch(new RegExp(`\n${queued[0]?.id} +away-1 +work@1\\.1\\.0 +queued `));
  const cancelled = await command('load', 'cancel', String(queued[0]?.id));
  expect(cancelled).toMatchObject({ code: 0, stdout: `${queued[0]?.id} is cancelled\n` });
  expect(await wait.exited).toBe(4);
  expect(wait.lastLines).toMatch(/away-1 +cancelled +cancelled by/);
  await tail.waitForLine(/"outcome":"cancelled"/);
  const events = tail.lastLines.split('\n').filter((line) => line.startsWith('{'));
  const numbers = events.map((line) => Number(/"number":(\d+)/.exec(line)?.[1]));
  expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
});

test('a load is not waited for where nobody wants to, and shown with every step', async () => {
  const accepted = await command('load', '--module', 'work', '--version', '1.1.0', '--device', 'rack-1', '--no-wait');
  expect(accepted.stdout).toMatch(/^work@1\.1\.0: requested 1 load as the batch bat_\w+\n$/);
  const load = await until('it has completed', async () => {
    const [newest] = itemsOf(await service.get('/v1/loads?limit=1'));
    return newest?.state === 'completed' && String(newest.id);
  });
  const shown = await command('load', 'show', load);
  for (const [operation, step] of [
    ['200', 'received'],
    ['220', 'compared'],
    ['240', 'table-updated'],
    ['280', 'completed'],
  ])
    expect(shown.stdout).toMatch(new RegExp(`\n${operation} +${step} +20\\d\\d-\\S+Z +\\d+ +\\d+ +\\w+=`));
  const late = await command('load', 'cancel', load);
  expect(late).toMatchObject({ code: 1, stderr: expect.stringMatching(/^The load is no longer queued: .*\n {2}request req_/) });
});

test('events are watched and the trail is listed, followed and verified', async () => {
  const watch = begin('device', 'watch', 'rack-2', '--json');
  const tail = begin('audit', 'tail', '-f', '-n', '2', '--type', 'load', '--json');
  const [, number = ''] = await tail.waitForLine(/"number":(\d+).*"action":"load\.completed"/);
  // The first says nothing before something happens: whatever happens until it follows is not its.
  const seen = watch.waitForLine(/"action":"load\.completed"/);
  await until('it follows the events', async () => {
    const [load] = await service.load('work', '1.0.0', devices.slice(2), { versionPolicy: 'downgrade', downgradeReason: 'to be seen' });
    return (
      load !== undefined && (await Promise.race([seen.then(() => true), service.load('work', '1.1.0', devices.slice(2)).then(() => false)]))
    );
  });
  const [line] = await seen;
  expect(line).toBeDefined();
  await tail.waitForLine(new RegExp(`"number":(?!${number})\\d+.*"action":"load\\.completed".*${devices[2]}`));
  expect([await watch.stop('SIGINT'), await tail.stop('SIGINT')]).toEqual([0, 0]);
  for (const text of watch.lastLines.split('\n')) expect(JSON.parse(text)).toMatchObject({ detail: { device: devices[2] } });
  const list = parseStdout(await command('audit', 'list', '--action', 'device.created', '--order', 'asc', '--limit', '2', '--json'));
  expect(list['items']).toMatchObject([{ action: 'device.created' }, { action: 'device.created' }]);
  const checkpoint = parseStdout(await command('audit', 'checkpoint', '--make', '--json'));
  const verified = await command('audit', 'verify', '--json');
  expect(verified.code).toBe(0);
  expect(parseStdout(verified)).toMatchObject({ kind: 'intact', first: 1, checkpoint: { size: checkpoint['size'] } });
});

test('the trail is exported, goes on in another file, and is verified without the service', async () => {
  const publicKey = String(itemsOf(await service.get('/v1/signing-keys'))[0]?.publicKey);
  const file = (name: string) => join(service.folder, name);
  writeFileSync(file('service.pem'), publicKey);
  await command('audit', 'checkpoint', '--make');
  const written = await command('audit', 'export', '--output', file('trail.ndjson'));
  expect(written).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/and a checkpoint of \d+ events to \S+trail\.ndjson\.checkpoint\n$/),
  });
  expect(await command('audit', 'export', '--output', file('trail.ndjson'))).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('is there already'),
  });
  const { until: last }: { until: number } = JSON.parse(readFileSync(file('trail.ndjson'), 'utf8').split('\n')[0] ?? '');
  await service.post('/v1/keys', { name: 'to-go-on', role: 'viewer' });
  await command('audit', 'export', '--after', String(last), '--output', file('rest.ndjson'));
  const apart = (...args: string[]) =>
    runPatchbay(service.folder, ['audit', 'verify', ...args], { PATCHBAY_SERVICE: 'http://127.0.0.1:1' });
  const key = ['--public-key', file('service.pem')];
  const whole = await apart(file('trail.ndjson'), file('rest.ndjson'), ...key);
  expect(whole).toMatchObject({ code: 0, stdout: expect.stringContaining('the trail is whole: events 1 to ') });
  expect(whole.stdout).toMatch(/the checkpoint of \S+ over \d+ events, signed by sha256:[0-9a-f]{64}, is of these/);
  expect(await apart(file('trail.ndjson'))).toMatchObject({ code: 2, stderr: expect.stringContaining('--public-key') });
  expect(await apart(file('rest.ndjson'), file('trail.ndjson'), ...key)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('in their order'),
  });
  const lines = readFileSync(file('trail.ndjson'), 'utf8').split('\n');
  writeFileSync(file('bad.ndjson'), lines.with(5, (lines[5] ?? '').replace('"actor":"', '"actor":"x')).join('\n'));
  const bad = await apart(file('bad.ndjson'), '--checkpoint', file('trail.ndjson.checkpoint'), ...key);
  expect(bad).toMatchObject({
    code: 5,
    stdout: expect.stringMatching(/event 5 is bad: its content is not what its hash says.*\nthe 4 before are good\n$/),
  });
  expect(await apart(file('nowhere.ndjson'), ...key)).toMatchObject({ code: 2, stderr: expect.stringContaining('cannot read') });
  expect(await command('audit', 'verify', ...key)).toMatchObject({
    code: 0,
    stdout: expect.not.stringContaining('the key is what the service says'),
  });
});

test('the exit code of health tells that the fleet is not well', async () => {
  await service.stop();
  service.unreachableAfter = 1_000;
  await service.start();
  await until('the host that was stopped is missed', async () => (await service.get('/v1/health')).body.status === 'degraded');
  const degraded = await command('health');
  expect(degraded).toMatchObject({ code: 5, stdout: expect.stringMatching(/^The fleet is degraded\.\n {2}\S/) });
});

test('keys are made, of use, listed and revoked', async () => {
  const made = await command('key', 'create', 'reader', '--role', 'viewer');
  expect(made).toMatchObject({ code: 0, stderr: expect.stringMatching(/^made the key reader \(key_\w+\) of the role viewer; /) });
  expect(made.stdout).toMatch(/^patchbay_[0-9a-f]{32}_\S{43}\n$/);
  const asReader = (...args: string[]) => runPatchbay(service.folder, args, { ...settings(), PATCHBAY_KEY: made.stdout.trim() });
  const [listed, forbidden] = await Promise.all([asReader('device', 'list'), asReader('key', 'list')]);
  expect(listed.code).toBe(0);
  expect(forbidden).toMatchObject({ code: 1, stderr: expect.stringContaining('the operation requires admin') });
  expect((await command('key', 'list', '--role', 'viewer')).stdout).toMatch(/key_\w+ +reader +viewer/);
  expect(await command('key', 'revoke', 'reader')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^revoked the key reader /) });
  const [refused, none, again] = await Promise.all([
    asReader('device', 'list'),
    command('key', 'revoke', 'reader'),
    command('key', 'create', 'rack', '--role', 'agent', '--host', 'rack', '--json'),
  ]);
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/the key reader was revoked.*\n.*\nhint: .*PATCHBAY_KEY/) });
  expect(none).toMatchObject({ code: 2, stderr: expect.stringContaining('there is no key in use called reader') });
  expect(parseStdout(again)).toMatchObject({ role: 'agent', host: 'rack', secret: expect.any(String) });
  expect(parseStdout(await command('key', 'list', '--revoked', '--json'))['items']).toMatchObject([{ name: 'reader' }]);
});
