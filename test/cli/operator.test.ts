// Operator commands, as processes against a service with real devices.

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
  // Processes that run until they are stopped inherit the environment of this process.
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

/** Starts a command that runs until it is stopped. */
function start(...args: string[]): PatchbayProcess {
  const child = new PatchbayProcess(`patchbay ${args.join(' ')}`, args);
  children.push(child);
  return child;
}

function write(name: string, content: string | Uint8Array): string {
  const file = join(service.folder, name);
  writeFileSync(file, content);
  return file;
}

const expectSuccess = (result: CommandResult) => expect(result, result.stderr).toMatchObject({ code: 0 });

test('health exits with 0 for a healthy fleet', async () => {
  const healthy = await command('health', '--json');
  expect(healthy.code).toBe(0);
  expect(parseStdout(healthy)).toMatchObject({ status: 'healthy', reasons: [] });
});

test('builds of every language are pushed, also with the next version, and listed', async () => {
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
  expect(list.stderr).toBe('only the first 1 items are shown: use --limit or --all\n');
  expect(list.stdout).not.toContain('\u001b');
});

test('--concurrency and --enable set options of the build; unknown values are rejected', async () => {
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

test('--dependency declares ranges of versions of other modules, and --link-policy loads despite unresolved links', async () => {
  const file = write('timer.wat', workModule(1));
  const push = ['build', 'push', file, '--module', 'timer', '--version', '1.0.0'];
  const pushed = await command(...push, '--dependency', 'clock=^1.2.0', '--dependency', 'udp=>=1.0.0 <3', '--json');
  expect(parseStdout(pushed)).toMatchObject({ options: { dependencies: { clock: '^1.2.0', udp: '>=1.0.0 <3' } } });
  const unnamed = await command(...push, '--dependency', '^1.2.0');
  expect(unnamed).toMatchObject({ code: 2, stderr: expect.stringContaining('expected module=range, for example udp=^1.2.0') });
  const twice = await command(...push, '--dependency', 'udp=1.x', '--dependency', 'udp=2.x');
  expect(twice).toMatchObject({ code: 2, stderr: expect.stringContaining('two ranges for udp') });
  const invalid = await command(...push, '--dependency', 'udp=banana');
  expect(invalid).toMatchObject({ code: 1, stderr: expect.stringContaining('is not a range of semantic versions') });
  expect(await command('load', 'timer@1.0.0', '--help')).toMatchObject({ stdout: expect.stringContaining('--link-policy <policy>') });
});

test('patch sets are created, listed and shown; a rejected set is described in terms of the command', async () => {
  await Promise.all(['left', 'right'].map((module) => service.push(module, '1.0.0', workModule(1))));
  await service.post('/v1/modules/right/builds', {
    version: '2.0.0',
    language: 'wat',
    source: workModule(1),
    dependencies: { left: '^2.0.0' },
  });
  const create = (...builds: readonly string[]) => command('patch-set', 'create', 'both', '1.0.0', ...builds);
  const created = await create('right@1.0.0', 'left@1.0.0');
  expect(created).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^patch set both@1\.0\.0 \(pset_\w+\): left@1\.0\.0 right@1\.0\.0\n$/),
    stderr: '',
  });
  const [listed, none, shown, json, provenance, envelope, missing, single, unknown, malformed, mismatch] = await Promise.all([
    command('patch-set', 'list', '--name', 'both', '--module', 'left'),
    command('patch-set', 'list', '--version', '9.9.9'),
    command('patch-set', 'show', 'both', '1.0.0'),
    command('patch-set', 'show', 'both', '1.0.0', '--json'),
    command('patch-set', 'provenance', 'both', '1.0.0'),
    command('patch-set', 'provenance', 'both', '1.0.0', '--json'),
    command('patch-set', 'show', 'both', '9.9.9'),
    create('left@1.0.0'),
    command('patch-set', 'create', 'other', '1.0.0', 'left@1.0.0', 'right@3.0.0'),
    create('left'),
    command('patch-set', 'create', 'other', '1.0.0', 'left@1.0.0', 'right@2.0.0'),
  ]);
  const [set] = itemsOf(await service.get('/v1/patch-sets?name=both'));
  expect(listed.stdout).toMatch(new RegExp(`^PATCH SET .*\n.*\n${set?.id} +both +1\\.0\\.0 +\\S+ +left@1\\.0\\.0 right@1\\.0\\.0\n$`));
  expect(none.stdout).toBe('no patch sets found\n');
  expect(shown.stdout).toMatch(
    /^both@1\.0\.0 {2}pset_\w+\ncreated +\S+ by key_\w+\nsigned by +sha256:\w+\n\nBUILD +IMAGE +DEPENDENCIES\n.*\nleft@1\.0\.0 +sha256:\w+ +-\n/,
  );
  expect(parseStdout(json)).toEqual(set);
  expect(provenance.stdout).toMatch(
    /^created by key_\w+\n\nBUILD +IMAGE\n.*\nleft@1\.0\.0 +sha256:\w{64}\n[\s\S]*SIGNED BY\n─+\nsha256:\w{64}\n$/,
  );
  expect(parseStdout(envelope)).toEqual((await service.get(`/v1/patch-sets/${set?.id}/provenance`)).body);
  expect(missing).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('there is no patch set both@9.9.9: "patchbay patch-set list --name both"'),
  });
  expect(single).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('<build>: must have 2 or more builds: load a single build with "patchbay load"'),
  });
  expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('right has no version 3.0.0: choose one of 2.0.0, 1.0.0') });
  expect(malformed).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('<build>: expected module@version, for example tcp@1.2.0, received "left"'),
  });
  expect(mismatch).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('<build> 2: right@2.0.0 requires left ^2.0.0, but the set contains left@1.0.0'),
  });
});

test('a patch set is loaded and a module unloaded, with the same output as a load', async () => {
  const loaded = await command('load', '--patch-set', 'both@1.0.0', '--device', 'rack-2');
  expect(loaded).toMatchObject({ code: 0, stdout: expect.stringMatching(/^OUTCOME .*\n.*\ninstalled +1 /) });
  expect(loaded.stderr).toMatch(/^waiting for 1 load in batch bat_/);
  const [load] = itemsOf(await service.get('/v1/loads?module=both'));
  const [shown, listed, unloaded, again, unnamed, malformed] = await Promise.all([
    command('load', 'show', String(load?.id)),
    command('load', 'list', '--module', 'both'),
    command('unload', 'right', '--device', 'rack-2', '--strategy', 'drain'),
    command('load', '--patch-set', 'both@9.9.9', '--device', 'rack-2'),
    command('unload', 'right', '--device', 'rack-1'),
    command('load', '--patch-set', 'both', '--device', 'rack-2'),
  ]);
  expect(shown.stdout).toMatch(/^lod_\w+ {2}patch-set both@1\.0\.0 {2}installed\n/);
  expect(shown.stdout).toContain('\nmember     left: none to 1.0.0\nmember     right: none to 1.0.0\n');
  expect(shown.stdout).toMatch(/\n240 +table-updated left /);
  expect(listed.stdout).toMatch(/^LOAD +KIND .*\n.*\nlod_\w+ +patch-set +rack-2 +both@1\.0\.0 +installed /);
  expect(unloaded).toMatchObject({ code: 0, stdout: expect.stringMatching(/^OUTCOME .*\n.*\nunloaded +1 /) });
  expect(unloaded.stderr).toMatch(/^waiting for 1 unload in batch bat_/);
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('--patch-set: the patch set both@9.9.9 does not exist') });
  expect(unnamed).toMatchObject({ code: 1, stderr: expect.stringContaining('right is not loaded on rack-1; no load was created') });
  expect(malformed).toMatchObject({ code: 2, stderr: expect.stringContaining('--patch-set: expected name@version, received "both"') });
});

test('a source that does not compile is reported by file, line and column', async () => {
  const file = write('bad.ts', 'export function a(): i32 {\n  return "x";\n}\n');
  const result = await command('build', 'push', file, '--module', 'bad', '--version', '1.0.0');
  expect(result).toMatchObject({ code: 1, stdout: '' });
  expect(result.stderr).toMatch(new RegExp(`^error: [^\\n]+\\n${file}:2:10: Type .* is not assignable`));
  expect(result.stderr.match(/is not assignable/g)).toHaveLength(1);
  const json = await command('build', 'push', file, '--module', 'bad', '--version', '1.0.0', '--json');
  expect(JSON.parse(json.stderr)).toMatchObject({ status: 422, diagnostics: [{ file, line: 2, column: 10 }] });
  const unknown = await command('build', 'push', write('notes.txt', ''), '--module', 'bad', '--version', '1.0.0');
  expect(unknown).toMatchObject({ code: 2, stderr: expect.stringContaining('compile C, Rust and other languages to .wasm first') });
});

test('devices are listed with filters, and shown by name', async () => {
  const listed = await command('device', 'list', '--label', 'zone=north', '-l', 'zone,!beta', '--status', 'connected', '--json');
  expect(parseStdout(listed)['items']).toMatchObject([{ labels: { zone: 'north' } }, { labels: { zone: 'north' } }]);
  const shown = await command('device', 'show', 'rack-1');
  expect(shown).toMatchObject({ code: 0, stdout: expect.stringContaining(`rack-1  ${devices[1]}  connected`) });
  const unknown = await command('device', 'show', 'rack-9');
  expect(unknown).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(/^error: there is no device "rack-9": "patchbay device list"/),
  });
});

test('load waits, prints a summary, and exits with 3 if devices refuse loads', async () => {
  const loaded = await command('load', '--module', 'work', '--version', '1.0.0', '--selector', 'zone in (north,west),!beta');
  expectSuccess(loaded);
  expect(loaded.stdout).toMatch(/^OUTCOME +LOADS .*\n.*\ninstalled +2 +0 +0 +0\n$/);
  expect(loaded.stderr).toMatch(/^waiting for 2 loads in batch bat_\w+\n$/);
  const some = await command('load', '--module', 'work', '--version', '1.0.0', '--device', 'rack-1', '--device', 'away-1');
  expect(some.code).toBe(3);
  expect(some.stdout).toMatch(/installed +1 +0[\s\S]*refused-not-newer +1 +0[\s\S]*\nlod_\w+ +rack-1 +refused-not-newer +work@1\.0\.0 /);
});

test('the modules of a device and a build are shown with what they import', async () => {
  const [graph, dot, build] = await Promise.all([
    command('module', 'graph', 'rack-1'),
    command('module', 'graph', 'rack-1', '--format', 'dot'),
    command('build', 'show', 'work', '1.0.0'),
  ]);
  expect(graph).toMatchObject({ code: 0, stdout: 'work@1.0.0\n' });
  expect(dot.stdout).toContain('  "work" [label="work@1.0.0"];\n');
  expect(build.stdout).toMatch(
    /^work@1\.0\.0 {2}bld_\w+\n[\s\S]*\nstate +none\nexports +work\n\nimports no module\n\nno module depends on it\n$/,
  );
});

test('progress is drawn on a terminal, in colours unless they are disabled', async () => {
  const draw = async (...flags: string[]) => {
    const words = [process.execPath, entry, 'load', '--module', 'work', '--version', '1.0.0', '--label', 'zone=north', ...flags];
    const env = environment({ HOME: service.folder, TERM: 'xterm', ...settings() });
    return (await run('script', ['-qec', words.join(' '), '/dev/null'], { env, cwd: service.folder })).stdout;
  };
  const [drawn, plain] = await Promise.all([draw(), draw('--no-color')]);
  expect(drawn).toMatch(/work@1\.0\.0 {2}\S*█{30}\S* {2}2\/2 {2}2 unsuccessful/);
  expect(drawn).toContain('\u001b[33mrefused-not-newer\u001b[39m');
  expect(plain).toMatch(/work@1\.0\.0 {2}█{30} {2}2\/2 {2}2 unsuccessful/);
  expect(plain).not.toContain('\u001b[3');
});

test('programs are started, listed, measured and stopped', async () => {
  const calls = ['--module', 'work', '--export', 'work', '--threads', '2', '--pause', '5'];
  const started = parseStdout(await command('program', 'start', 'rack-1', '1000', ...calls, '--json'));
  expect(started).toMatchObject({ name: 'work.work', threads: 2, arguments: ['1000'] });
  const watch = start('program', 'stats', 'rack-1', '--watch', '--json');
  await watch.waitForLine(/"state":"running".*"callsCompleted":[1-9]/);
  expect(await watch.stop('SIGINT')).toBe(0);
  const stats = await command('program', 'stats', 'rack-1');
  expect(stats.stdout).toMatch(/\nwork\.work +running +\d+ +0 +0 +\d+ +\d+ +1\.0\.0 100\.0%\n/);
  expect(stats.stdout).toMatch(
    /\nNAME +VERSION +COMPLETED +FAILED +P50 +P99 +MAX\n.*\nwork\.work +1\.0\.0 +\d+ +0 +\S+ (µs|ms) +\S+ (µs|ms|s) +\S+ (µs|ms|s)\n$/,
  );
  expect((await command('program', 'list', 'rack-1')).stdout).toMatch(/running +work\.work\(1000\) +2 /);
  const stopped = parseStdout(await command('program', 'stop', 'rack-1', String(started['id']), '--json'));
  expect(stopped).toMatchObject({ id: started['id'], state: expect.stringMatching(/^stop/) });
  const wrong = await command('program', 'start', 'rack-1', 'many', '--module', 'work', '--export', 'work');
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('expected a number as argument, received "many"') });
});

test('devices roll back to the version before, or to a given version', async () => {
  await service.load('work', '1.1.0', devices.slice(1));
  const back = await command('rollback', '--label', 'zone=north', '--module', 'work', '--reason', '1.1.0 is wrong', '--json');
  expectSuccess(back);
  expect(parseStdout(back)['loads']).toMatchObject([
    { version: '1.0.0', versionPolicy: 'downgrade', downgradeReason: '1.1.0 is wrong', outcome: 'replaced' },
    { version: '1.0.0', outcome: 'replaced' },
  ]);
  const [rolledBack] = itemsOf(await service.get('/v1/loads?limit=1'));
  expect((await command('load', 'show', String(rolledBack?.id))).stdout).toMatch(/\nrequester +key_\w+ \(rollback\)\n/);
  const history = await command('history', 'rack-1', 'work');
  expect(history.stdout).toMatch(
    /\nwork +1\.0\.0 .* installed [\s\S]*\nwork +1\.1\.0 .* replaced +0 +nx +0x2000-0x2fff +\S+ +lod_[\s\S]*\nwork +1\.0\.0 .* replaced /,
  );
  expect((await command('history', 'rack-1')).stdout).toBe(history.stdout);
  const [, replaced] = itemsOf(await service.get(`/v1/devices/${devices[1]}/modules/work/history`));
  const then = await command('history', 'rack-1', 'work', '--at', String(replaced?.installedAt), '--json');
  expect(parseStdout(then)).toMatchObject({ items: [{ version: '1.1.0', load: replaced?.load }] });
  expect((await command('history', 'rack-1', '--at', '2000-01-01')).stdout).toBe('no module was installed on rack-1 at that time\n');
  expect(await command('history', 'rack-1', '--at', 'noon')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--at: expected a time like'),
  });
  const running = await command('build', 'devices', 'work', '1.0.0', '--installed');
  expect(running.stdout).toMatch(/\nrack-1 +dev_\w+ .* installed +2\n/);
  const removed = parseStdout(await command('build', 'devices', 'work', '1.1.0', '--removed', '--json'))['items'];
  expect(removed).toMatchObject([{ removedAt: expect.any(String), residencies: 1 }, { residencies: 1 }]);
  await service.load('work', '1.1.0', devices.slice(2));
  // One device has the version already, and is skipped.
  const named = await command('rollback', '--label', 'zone=north', '--module', 'work', '--to', '1.0.0', '--reason', 'again', '--json');
  expect(parseStdout(named)['loads']).toMatchObject([{ device: devices[2], version: '1.0.0' }]);
  const already = await command('rollback', '--label', 'zone=north', '--module', 'work', '--to', '1.0.0', '--reason', 'again');
  expect(already).toMatchObject({ code: 0, stdout: expect.stringMatching(/^every selected device already runs work@1\.0\.0/), stderr: '' });
  const none = await command('rollback', '--device', 'away-1', '--device', 'rack-1', '--module', 'work', '--reason', 'again');
  expect(none).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/no previous version of work .* on away-1, rack-1; no load was created/),
  });
});

test('devices roll a patch set back, after a dry run', async () => {
  await service.push('extra', '1.0.0', workModule(1));
  const builds = ['extra', 'work'].map((module) => ({ module, version: module === 'work' ? '1.1.0' : '1.0.0' }));
  expect((await service.postRaw('/v1/patch-sets', { name: 'pair', version: '1.0.0', builds })).status).toBe(201);
  expectSuccess(await command('load', '--patch-set', 'pair@1.0.0', '--device', 'rack-1'));
  const rollBack = ['rollback', '--patch-set', 'pair', '--label', 'zone=north', '--reason', 'work is wrong'];
  const preview = await command(...rollBack, '--dry-run');
  expect(preview.stdout).toMatch(
    /^DEVICE +ACTION +CHANGES +REASON\n.*\nrack-2 +skip +no load of the patch set pair .*\nrack-1 +roll-back +extra 1\.0\.0 → none, work 1\.1\.0 → 1\.0\.0 *\n$/,
  );
  expect(preview.stderr).toContain('without --on-missing-version skip, the rollback is rejected');
  const back = await command(...rollBack, '--on-missing-version', 'skip');
  expect(back).toMatchObject({
    code: 0,
    stderr: expect.stringContaining('skipped, because they have no version to roll back to: 1 device'),
  });
  expect(back.stdout).toMatch(/\nreplaced +1 +/);
  expect((await command('history', 'rack-1', 'extra')).stdout).toMatch(/\nextra +1\.0\.0 .* unloaded /);
  expect(await command('rollback', '--label', 'zone=north', '--reason', 'why')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('either --module or --patch-set is required'),
  });
  expect(await command(...rollBack, '--module', 'work')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--module cannot be combined with --patch-set'),
  });
  expect((await command('load', 'watch', 'lod_missing')).stderr).not.toContain('the load continues');
  expect(await command('rollback', '--patch-set', 'pair@1.0.0', '--label', 'zone=north', '--reason', 'why')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--patch-set: expected a name without a version, received "pair@1.0.0"'),
  });
});

test('commands that wait or follow resume after a restart of the service and miss nothing; a cancelled load sets the exit code', async () => {
  await stopAway();
  const tail = start('audit', 'tail', '-f', '--json');
  await tail.waitForLine(/"number"/);
  const wait = start('load', '--module', 'work', '--version', '1.1.0', '--device', 'away-1');
  const [, batch = ''] = await wait.waitForLine(/waiting for 1 load in batch (bat_\w+)/);
  const interrupted = start('load', '--module', 'work', '--version', '1.1.0', '--device', 'away-1');
  await interrupted.waitForLine(/waiting for 1 load/);
  expect(await interrupted.stop('SIGINT')).toBe(130);
  expect(interrupted.lastLines).toMatch(/\nerror: interrupted\nhint: the loads continue: patchbay load list --batch bat_\w+$/);
  await service.stop();
  await wait.waitForLine(/^connection to the service lost/);
  await service.start();
  await wait.waitForLine(/^reconnected to the service/);
  const queued = itemsOf(await service.get(`/v1/loads?batch=${batch}`));
  const listed = await command('load', 'list', '--device', 'away-1', '--state', 'queued');
  expect(listed.stdout).toMatch(new RegExp(`\n${queued[0]?.id} +build +away-1 +work@1\\.1\\.0 +queued `));
  const cancelled = await command('load', 'cancel', String(queued[0]?.id));
  expect(cancelled).toMatchObject({ code: 0, stdout: `cancelled ${queued[0]?.id}\n` });
  expect(await wait.exited).toBe(4);
  expect(wait.lastLines).toMatch(/away-1 +cancelled +cancelled by/);
  await tail.waitForLine(/"outcome":"cancelled"/);
  const events = tail.lastLines.split('\n').filter((line) => line.startsWith('{'));
  const numbers = events.map((line) => Number(/"number":(\d+)/.exec(line)?.[1]));
  expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
});

test('load watch follows a drain; load inject and load cancel end it', async () => {
  const waiting = `(module (import "kernel" "sleep" (func $sleep (param i32)))
    (func (export "work") (param $n i32) (result i32) (loop $next (call $sleep (i32.const 5)) (br $next)) (unreachable)))`;
  await service.push('slow', '1.0.0', waiting);
  await service.push('slow', '1.1.0', waiting);
  await service.push('slow', '1.2.0', workModule(2));
  const device = devices[1] ?? '';
  await service.load('slow', '1.0.0', [device]);
  const program = { name: 'slow', module: 'slow', export: 'work', arguments: [1], threads: 2, calls: 1 };
  await service.post(`/v1/devices/${device}/programs` as const, program);
  await until('the threads are inside', async () => {
    const { body } = await service.get(`/v1/devices/${device}` as const);
    return (body.moduleTable ?? []).some(({ module, referenceCount }) => module === 'slow' && referenceCount === 2);
  });
  const drain = async (version: string): Promise<string> => {
    const options = ['--device', device, '--strategy', 'drain', '--drain-milliseconds', '600000', '--no-wait', '--json'];
    const accepted = await command('load', '--module', 'slow', '--version', version, ...options);
    const load = /lod_\w+/.exec(accepted.stdout)?.[0] ?? '';
    await until('it drains', async () => (await service.get(`/v1/loads/${load}` as const)).body.progress ?? null);
    return load;
  };
  const first = await drain('1.1.0');
  const watch = start('load', 'watch', first);
  await watch.waitForLine(/slow@1\.1\.0 {2}draining since \S+Z: 2 accesses inside 1\.0\.0 \(threads: prg_\w+ 2\)/);
  expect((await command('load', 'show', first)).stdout).toMatch(/\nprogress +draining since /);
  const cancelled = await command('load', 'cancel', first);
  expect(cancelled).toMatchObject({ code: 0, stdout: `requested to cancel ${first}: patchbay load watch ${first}\n` });
  expect(await watch.exited).toBe(4);
  expect(watch.lastLines).toMatch(/slow@1\.1\.0 {2}cancelled: cancelled by key_\w+: 2 accesses were still inside 1\.0\.0/);
  const second = await drain('1.2.0');
  const json = start('load', 'watch', second, '--json');
  await json.waitForLine(/"progress":\{"operation":250/);
  const injected = await command('load', 'inject', second);
  expect(injected).toMatchObject({ code: 0, stdout: expect.stringContaining(`requested to inject ${second} now`) });
  expect(await json.exited).toBe(0);
  expect(json.lastLines).toMatch(/"outcome":"replaced-interrupting"/);
  const late = await command('load', 'inject', second);
  expect(late).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^error: The load is not draining: .*its outcome is replaced-interrupting/),
  });
});

test('load --no-wait does not wait; a load is shown with every step', async () => {
  const accepted = await command('load', '--module', 'work', '--version', '1.1.0', '--device', 'rack-1', '--no-wait');
  expect(accepted.stdout).toMatch(/^requested 1 load of work@1\.1\.0 in batch bat_\w+\n$/);
  const load = await until('the load has completed', async () => {
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
  expect(late).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^error: The load is neither queued nor draining: .*\nrequest: req_/),
  });
});

test('events are watched, and the audit trail is listed, followed and verified', async () => {
  const watch = start('device', 'watch', 'rack-2', '--json');
  const tail = start('audit', 'tail', '-f', '-n', '2', '--type', 'load', '--json');
  const [, number = ''] = await tail.waitForLine(/"number":(\d+).*"action":"load\.completed"/);
  // The watch prints nothing before it is connected: loads are repeated until it prints one.
  const seen = watch.waitForLine(/"action":"load\.completed"/);
  await until('the watch is connected', async () => {
    const [load] = await service.load('work', '1.0.0', devices.slice(2), { versionPolicy: 'downgrade', downgradeReason: 'for the watch' });
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
  const checkpoint = parseStdout(await command('audit', 'checkpoint', '--create', '--json'));
  const verified = await command('audit', 'verify', '--json');
  expect(verified.code).toBe(0);
  expect(parseStdout(verified)).toMatchObject({ kind: 'intact', first: 1, checkpoint: { size: checkpoint['size'] } });
});

test('the audit trail is exported, continued in another file, and verified without the service', async () => {
  const publicKey = String(itemsOf(await service.get('/v1/signing-keys'))[0]?.publicKey);
  const file = (name: string) => join(service.folder, name);
  writeFileSync(file('service.pem'), publicKey);
  await command('audit', 'checkpoint', '--create');
  const written = await command('audit', 'export', '--output', file('trail.ndjson'));
  expect(written).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/with a checkpoint of \d+ events in \S+trail\.ndjson\.checkpoint\n$/),
  });
  expect(await command('audit', 'export', '--output', file('trail.ndjson'))).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('already exists'),
  });
  const { until: last }: { until: number } = JSON.parse(readFileSync(file('trail.ndjson'), 'utf8').split('\n')[0] ?? '');
  await service.post('/v1/keys', { name: 'later-event', role: 'viewer' });
  await command('audit', 'export', '--after', String(last), '--output', file('rest.ndjson'));
  const verifyOffline = (...args: string[]) =>
    runPatchbay(service.folder, ['audit', 'verify', ...args], { PATCHBAY_SERVICE: 'http://127.0.0.1:1' });
  const key = ['--public-key', file('service.pem')];
  const whole = await verifyOffline(file('trail.ndjson'), file('rest.ndjson'), ...key);
  expect(whole).toMatchObject({ code: 0, stdout: expect.stringContaining('the audit trail is intact: events 1 to ') });
  expect(whole.stdout).toMatch(/the checkpoint of \S+, signed by sha256:[0-9a-f]{64}, proves \d+ events/);
  expect(await verifyOffline(file('trail.ndjson'))).toMatchObject({ code: 2, stderr: expect.stringContaining('--public-key') });
  expect(await verifyOffline(file('rest.ndjson'), file('trail.ndjson'), ...key)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('give all files, in order'),
  });
  const lines = readFileSync(file('trail.ndjson'), 'utf8').split('\n');
  writeFileSync(file('bad.ndjson'), lines.with(5, (lines[5] ?? '').replace('"actor":"', '"actor":"x')).join('\n'));
  const bad = await verifyOffline(file('bad.ndjson'), '--checkpoint', file('trail.ndjson.checkpoint'), ...key);
  expect(bad).toMatchObject({
    code: 5,
    stdout: expect.stringMatching(/the audit trail was altered: event 5 is invalid: .*\nthe 4 events before are valid\n$/),
  });
  expect(await verifyOffline(file('nowhere.ndjson'), ...key)).toMatchObject({ code: 2, stderr: expect.stringContaining('cannot read') });
  expect(await command('audit', 'verify', ...key)).toMatchObject({
    code: 0,
    stdout: expect.not.stringContaining('the service supplied its own public key'),
  });
});

test('health exits with 5 for a degraded fleet', async () => {
  await service.stop();
  service.unreachableAfter = 1_000;
  await service.start();
  await until('the stopped host is unreachable', async () => (await service.get('/v1/health')).body.status === 'degraded');
  const degraded = await command('health');
  expect(degraded).toMatchObject({ code: 5, stdout: expect.stringMatching(/^The fleet is degraded\.\n {2}\S/) });
});

test('keys are created, used, listed and revoked', async () => {
  const created = await command('key', 'create', 'reader', '--role', 'viewer');
  expect(created).toMatchObject({ code: 0, stderr: expect.stringMatching(/^created the key reader \(key_\w+\) with the role viewer; /) });
  expect(created.stdout).toMatch(/^patchbay_[0-9a-f]{32}_\S{43}\n$/);
  const asReader = (...args: string[]) => runPatchbay(service.folder, args, { ...settings(), PATCHBAY_KEY: created.stdout.trim() });
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
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/key reader was revoked.*\n.*\nhint: .*PATCHBAY_KEY/) });
  expect(none).toMatchObject({ code: 2, stderr: expect.stringContaining('there is no active key named "reader"') });
  expect(parseStdout(again)).toMatchObject({ role: 'agent', host: 'rack', secret: expect.any(String) });
  expect(parseStdout(await command('key', 'list', '--revoked', '--json'))['items']).toMatchObject([{ name: 'reader' }]);
  // A name that begins like an identifier.
  await command('key', 'create', 'key_rotation', '--role', 'viewer');
  expect(await command('key', 'revoke', 'key_rotation')).toMatchObject({ code: 0 });
});
