// `npm run bench:machine`: measures the overhead of the machine as ratios within one run. Prints a table, or JSON with --json.

import { spawnSync } from 'node:child_process';
import console from 'node:console';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { measure } from 'mitata';
import { formatTable } from '../src/cli/terminal/table.ts';
import { compileAssemblyScript } from '../src/compiler/assemblyscript.ts';
import type { Module } from '../src/compiler/binary/module.ts';
import { decodeModule } from '../src/compiler/binary/reader.ts';
import { encodeModule } from '../src/compiler/binary/writer.ts';
import { binaryen, supportedFeatures } from '../src/compiler/binaryen.ts';
import { Compiler } from '../src/compiler/compiler.ts';
import { instrument } from '../src/compiler/instrumentation.ts';
import type { Language } from '../src/compiler/languages.ts';
import { compilerLimits } from '../src/compiler/limits.ts';
import { link } from '../src/compiler/linker.ts';
import { fuelPerRefill, imageRecord, runningThread, tableEntry, threadBlock } from '../src/machine/abi.ts';
import { getExportedFunction } from '../src/machine/images/instance-exports.ts';
import type { ValueType } from '../src/machine/images/stamp.ts';
import { Device, Processor, readImage, type VerifiedImage, verifyImage } from '../src/machine/index.ts';
import { KernelMemory } from '../src/machine/memory/kernel-memory.ts';
import { kernels, longInstructions, longInstructionsText, repetitions } from './kernels.ts';
import { median } from './service/measuring.ts';

type Row = { readonly name: string; readonly result: string; readonly limit: string; readonly passed: boolean | null };
const rows: Row[] = [];
const interruptionRounds = 20;
/** Loads of a patch set and of its members, half of them before measuring. */
const patchSetRounds = 4_000;
/** Threads to interrupt before measuring, because code is still being compiled, and while measuring. */
const interruptedThreads = { warmUp: 150_000, measured: 200_000 } as const;
/** Link options for a module without imports. */
const kernelLinking = {
  kind: 'module',
  stubs: { servedGlobal: null, pinnedGlobals: null, stackPointer: null },
  memoryPages: compilerLimits.memoryPages.value,
  tableElements: compilerLimits.grownTableElements.value,
} as const;
/** A module whose calls with argument 7 never return, one whose calls return immediately, and one that calls another module. */
const stuck = `(module (func (export "work") (param $n i32) (result i32) (loop $l (br_if $l (i32.eq (local.get $n) (i32.const 7)))) (i32.const 1)))`;
const quick = '(module (func (export "work") (param i32) (result i32) (i32.const 2)))';
const callerOf = (inner: string) => `(module (import "${inner}" "work" (func $inner (param i32) (result i32)))
  (func (export "work") (param $n i32) (result i32) (i32.add (call $inner (local.get $n)) (i32.const 1))))`;

const compiler = new Compiler();

await benchAccesses();
await benchHostCalls(10_000);
await benchKernels();
await benchStacks(8);
await benchLongInstructions();
for (const threads of [1_000, 10_000]) benchErlang(threads, await benchInterruption(threads));
await benchSetInterruption(10_000);
await benchIdleDevices(10_000);
await benchLoads();
await benchPatchSets(5);
await compiler.close();

if (process.argv.includes('--json')) console.log(JSON.stringify(rows, null, 2));
else
  console.log(
    formatTable(
      ['measurement', 'result', 'limit', 'passed'],
      rows.map(({ name, result, limit, passed }) => [name, result, limit, passed === null ? '' : passed ? 'yes' : 'NO']),
    ).join('\n'),
  );

/** Returns the minimum time of many runs, in nanoseconds: the least disturbed by other load. */
async function minTime(run: () => unknown): Promise<number> {
  const { min } = await measure(run, { min_cpu_time: 150e6, min_samples: 5 });
  return min;
}

/** Returns the minimum times of several functions, measured in alternation so that other load affects all of them. */
async function minTimes(...runs: readonly (() => unknown)[]): Promise<number[]> {
  const minimum = runs.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < 5; round += 1) {
    for (const [index, run] of runs.entries()) minimum[index] = Math.min(minimum[index] ?? 0, await minTime(run));
  }
  return minimum;
}

/** Returns a module as the compiler optimizes it. */
function optimizedModule(binary: Uint8Array): Module {
  const module = binaryen.readBinary(binary);
  try {
    module.setFeatures(supportedFeatures);
    binaryen.setOptimizeLevel(2);
    binaryen.setShrinkLevel(0);
    module.optimize();
    return decodeModule(module.emitBinary());
  } finally {
    module.dispose();
  }
}

async function image(module: string, version: string, language: Language, source: string | Uint8Array): Promise<VerifiedImage> {
  const result = await compiler.compileModule({ module, version, language, source });
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  const { image: bytes, digest } = result.compiled;
  return verifyImage(readImage(new Uint8Array(bytes), digest), { kind: 'module', digest, module, version });
}

async function driver(module: string, name: string, parameters: readonly ValueType[] = ['i32']): Promise<VerifiedImage> {
  const target = { module, export: name, type: { parameters, results: ['i32'] }, addressing: 'via-table' } as const;
  const result = await compiler.compileDriver(target);
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  const { image: bytes, digest } = result.compiled;
  return verifyImage(readImage(new Uint8Array(bytes), digest), { kind: 'driver', digest, ...target });
}

/** Compares accesses through stub, module table and reference count with a bare `call_indirect`. */
async function benchAccesses(): Promise<void> {
  const calls = 1_000_000;
  const loop = (call: string) => `(func (export "run") (param $n i32) (result i32) (local $r i32)
    (loop $next (local.set $r ${call}) (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) (local.get $r))`;
  const callee = `(func (export "work") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))`;
  const plain = (text: string) => new WebAssembly.Module(new Uint8Array(binaryen.parseText(text).emitBinary()));
  const space = new WebAssembly.Table({ element: 'anyfunc', initial: 16 });
  const target = getExportedFunction(new WebAssembly.Instance(plain(`(module ${callee})`), {}).exports, 'work');
  space.set(1, target);
  const bare =
    plain(`(module (type $t (func (param i32) (result i32))) (import "m" "space" (table $space 0 funcref)) (import "m" "address" (global $address (mut i32)))
    ${loop('(call_indirect $space (type $t) (local.get $r) (global.get $address))')})`);
  const address = new WebAssembly.Global({ value: 'i32', mutable: true }, 1);
  const bareRun = getExportedFunction(new WebAssembly.Instance(bare, { m: { space, address } }).exports, 'run');

  const memory = new KernelMemory(1);
  const [entry, record, block] = [
    memory.allocate(tableEntry.bytes),
    memory.allocate(imageRecord.bytes),
    memory.allocate(threadBlock.bytes),
  ];
  memory.words[(entry + tableEntry.address) >> 2] = 1;
  memory.words[(entry + tableEntry.record) >> 2] = record;
  memory.words[runningThread.stack >> 2] = block + threadBlock.frames;
  const caller = await image(
    'caller',
    '1.0.0',
    'wat',
    `(module (import "tcp" "work" (func $work (param i32) (result i32))) ${loop('(call $work (local.get $r))')})`,
  );
  const patchbay = {
    memory: memory.memory,
    space,
    injected: new WebAssembly.Tag({ parameters: [] }),
    tick: () => fuelPerRefill,
    suspend: () => {},
  };
  const stubRun = getExportedFunction(
    new WebAssembly.Instance(caller.code, { patchbay, 'patchbay:entry': { tcp: entry }, 'patchbay:offset:tcp': { work: 0 } }).exports,
    'run',
  );
  const [bareTime = 0, stubTime = 0] = await minTimes(
    () => bareRun(calls),
    () => stubRun(calls),
  );
  const ratio = bareTime / stubTime;
  rows.push({
    name: 'accesses through the module table, rate relative to bare call_indirect',
    result: `${ratio.toFixed(2)} (${Math.round((calls / stubTime) * 1_000)} million/s)`,
    limit: '≥ 0.55',
    passed: ratio >= 0.55,
  });
}

/** Compares host calls, each on its own thread, with bare promising calls; minimum time of several rounds. */
async function benchHostCalls(count: number): Promise<void> {
  const quick = await image('tcp', '1.0.0', 'wat', '(module (func (export "work") (param i32) (result i32) (i32.const 1)))');
  const code = await driver('tcp', 'work');
  const callee = binaryen.parseText('(module (func (export "work") (param i32) (result i32) (i32.const 1)))');
  const instance = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(callee.emitBinary())), {});
  const bare = WebAssembly.promising(getExportedFunction(instance.exports, 'work'));
  const times: number[] = [];
  const floors: number[] = [];
  for (let round = 0; round < interruptionRounds; round += 1) {
    const processor = new Processor();
    const device = new Device({ processor, ramPages: 64 });
    await device.load({ image: quick });
    const hostCall = device.openHostCall({ program: 'p', driver: code });
    const startedAt = performance.now();
    await Promise.all(Array.from({ length: count }, () => hostCall.call(7)));
    times.push(performance.now() - startedAt);
    await device.close();
    processor.close();
    const floorStartedAt = performance.now();
    await Promise.all(Array.from({ length: count }, () => bare(7)));
    floors.push(performance.now() - floorStartedAt);
  }
  const [time, floor] = [Math.min(...times), Math.min(...floors)];
  rows.push({
    name: 'host calls, rate relative to bare promising calls',
    result: `${(floor / time).toFixed(2)} (${((time / count) * 1_000).toFixed(2)} µs of ${((floor / count) * 1_000).toFixed(2)} µs)`,
    limit: '≥ 0.6',
    passed: floor / time >= 0.6,
  });
}

/** Compares instrumented with uninstrumented code. */
async function benchKernels(): Promise<void> {
  const plain = await compileAssemblyScript('kernels', kernels, []);
  if (!plain.ok) throw new Error(JSON.stringify(plain.diagnostics));
  const optimized = optimizedModule(plain.binary);
  // Two variants without safepoints: the optimized module, and with the loop and recursion copies that the compiler makes. The faster is the baseline.
  const baselines = [optimized, link(instrument(optimized, { omitsSafepoints: true }), kernelLinking)].map(
    (module) => new WebAssembly.Instance(new WebAssembly.Module(encodeModule(module)), {}).exports,
  );
  const instrumented = new WebAssembly.Module(encodeModule(link(instrument(optimized), kernelLinking)));
  let longest = 0;
  const withSafepoints = (ticker: () => number) =>
    new WebAssembly.Instance(instrumented, { patchbay: { tick: ticker, suspend: () => {} } }).exports;
  const exports = withSafepoints(() => fuelPerRefill);
  const ratios: number[] = [];
  for (const [name, times] of Object.entries(repetitions)) {
    const run = getExportedFunction(exports, name);
    const runs = [run, ...baselines.map((baseline) => getExportedFunction(baseline, name))];
    if (new Set(runs.map((run) => run(times))).size > 1) throw new Error(`${name} returns a different result with safepoints`);
    const [time = 0, ...plainTimes] = await minTimes(...runs.map((run) => () => run(times)));
    const plainTime = Math.min(...plainTimes);
    const ratio = time / plainTime;
    ratios.push(ratio);
    rows.push({ name: `safepoints: ${name}, time relative to without`, result: ratio.toFixed(3), limit: '≤ 1.2', passed: ratio <= 1.2 });
    longest = Math.max(
      longest,
      longestBetweenChecks((tick) => getExportedFunction(withSafepoints(tick), name), times),
    );
  }
  const mean = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
  rows.push({ name: 'safepoints: geometric mean', result: mean.toFixed(3), limit: '≤ 1.05', passed: mean <= 1.05 });
  rows.push({
    name: 'longest time between two clock checks',
    result: `${longest.toFixed(3)} ms`,
    limit: '≤ 1 ms',
    passed: longest <= 1,
  });
}

/**
 * Compares threads inside C functions with arrays on their stack, each with its own part of the stack, with the same image without stack switching,
 * where threads overwrite each other's frames; minimum times of several rounds.
 */
async function benchStacks(threads: number): Promise<void> {
  const source = readFileSync(new URL('../examples/toolchains/c/checksum.wasm', import.meta.url));
  const separate = await image('checksum', '1.0.0', 'wasm', source);
  const { digest } = separate;
  const statement = { kind: 'module', digest, module: 'checksum', version: '1.0.0' } as const;
  const common = verifyImage({ ...separate, stamp: { ...separate.stamp, stack: null } }, statement);
  for (const name of ['check', 'leaf']) {
    const code = await driver('checksum', name, ['i32', 'i32']);
    const minimum = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (let round = 0; round < interruptionRounds; round += 1) {
      for (const [index, one] of [separate, common].entries()) {
        minimum[index] = Math.min(minimum[index] ?? 0, await programTime(one, code, { export: name, threads }));
      }
    }
    const [time = 0, floor = 0] = minimum;
    rows.push({
      name: `separate C stacks: ${threads} threads in checksum.${name}, time relative to one shared stack`,
      result: (time / floor).toFixed(3),
      limit: '≤ 1.03',
      passed: time / floor <= 1.03,
    });
  }
}

/** Returns the milliseconds that a program's threads take for ten calls each of 200,003 rounds. */
async function programTime(
  loaded: VerifiedImage,
  code: VerifiedImage,
  { export: name, threads }: { export: string; threads: number },
): Promise<number> {
  const processor = new Processor();
  const device = new Device({ processor, ramPages: 64 });
  await device.load({ image: loaded });
  const call = { module: 'checksum', export: name, arguments: ['1', '200003'], calls: 10 * threads, pauseMilliseconds: 0 };
  const startedAt = performance.now();
  device.startProgram({ program: 'p', driver: code, ...call, threads });
  while (device.state().programs[0]?.state !== 'finished') await new Promise((resolve) => setImmediate(resolve));
  const time = performance.now() - startedAt;
  await device.close();
  processor.close();
  return time;
}

/**
 * Measures the operations that take an engine longest. Long instructions touch memory for the first time, loads do not: the operating system takes
 * about 0.6 µs for the first touch of a page of 4 KiB.
 */
async function benchLongInstructions(): Promise<void> {
  const { code } = await image('long', '1.0.0', 'wat', longInstructionsText);
  const longest = longInstructions.map((name) => ({
    name,
    time: longestBetweenChecks(
      (tick) => getExportedFunction(new WebAssembly.Instance(code, { patchbay: { tick, suspend: () => {} } }).exports, name),
      1,
    ),
  }));
  const [worst] = longest.toSorted((left, right) => right.time - left.time);
  rows.push({
    name: 'longest time between two clock checks, in long instructions',
    result: `${worst?.time.toFixed(3)} ms (${worst?.name})`,
    limit: '≤ 1 ms',
    passed: (worst?.time ?? 0) <= 1,
  });
}

/**
 * Returns the longest time between two clock checks, in milliseconds. Every run checks at the same places, and the minimum of several runs counts for
 * each interval, because other processes use the machine in between.
 */
function longestBetweenChecks(make: (tick: () => number) => (times: number) => unknown, times: number): number {
  const minimum: number[] = [];
  for (let sample = 0; sample < 10; sample += 1) {
    const checks: number[] = [];
    const run = make(() => {
      checks.push(performance.now());
      return fuelPerRefill;
    });
    checks.push(performance.now());
    run(times);
    checks.push(performance.now());
    for (const [index, check] of checks.slice(1).entries()) {
      minimum[index] = Math.min(minimum[index] ?? Number.POSITIVE_INFINITY, check - (checks[index] ?? check));
    }
  }
  return minimum.reduce((longest, time) => Math.max(longest, time), 0);
}

/**
 * Measures how long it takes to interrupt all threads inside the old version and retry in the new one. Rounds alternate with those of the floor.
 * Returns the median time in milliseconds.
 */
async function benchInterruption(threads: number): Promise<number> {
  const old = await image('tcp', '1.0.0', 'wat', stuck);
  const next = await image('tcp', '1.1.0', 'wat', quick);
  const code = await driver('tcp', 'work');
  const name = `${threads} threads interrupted and retried, time relative to bare rejections`;
  return measureInterruption(name, threads, { old: [old], next: [next], code });
}

/** Like `benchInterruption`, with each thread inside three modules that are one patch set. */
async function benchSetInterruption(threads: number): Promise<void> {
  const old = [
    await image('http', '1.0.0', 'wat', callerOf('ip')),
    await image('ip', '1.0.0', 'wat', callerOf('tcp')),
    await image('tcp', '1.0.0', 'wat', stuck),
  ];
  const next = [
    await image('http', '1.1.0', 'wat', callerOf('ip')),
    await image('ip', '1.1.0', 'wat', callerOf('tcp')),
    await image('tcp', '1.1.0', 'wat', quick),
  ];
  const name = `${threads} threads inside a patch set of 3 interrupted and retried, time relative to bare rejections`;
  await measureInterruption(name, threads, { old, next, code: await driver('http', 'work') });
}

type Interrupted = { readonly old: readonly VerifiedImage[]; readonly next: readonly VerifiedImage[]; readonly code: VerifiedImage };

async function measureInterruption(name: string, threads: number, images: Interrupted): Promise<number> {
  const times: number[] = [];
  const floors: number[] = [];
  const warmUpRounds = interruptedThreads.warmUp / threads;
  const rounds = warmUpRounds + interruptedThreads.measured / threads;
  for (let round = 0; round < rounds; round += 1) {
    times.push(await interruptionTime(threads, images));
    floors.push(await rejectionFloor(threads, images.old.length));
  }
  const [time, floor] = [median(times.slice(warmUpRounds)), median(floors.slice(warmUpRounds))];
  const ratio = time / floor;
  rows.push({
    name,
    result: `${ratio.toFixed(2)} (${time.toFixed(1)} ms of ${floor.toFixed(1)} ms)`,
    limit: '≤ 2',
    passed: ratio <= 2,
  });
  return time;
}

/** Collects what creating the threads left over; otherwise its collection falls into the measured time in some runs and not in others. */
function collectSetUpGarbage(): void {
  globalThis.gc?.({ type: 'minor' });
}

/** Loads one image, or several as a patch set. */
function loadAll(device: Device, images: readonly VerifiedImage[]) {
  const [only] = images;
  return images.length === 1 && only !== undefined
    ? device.load({ image: only })
    : device.loadPatchSet({ members: images.map((one) => ({ image: one })) });
}

/** Returns the milliseconds from the swap of the module table entry until the last thread has retried. */
async function interruptionTime(threads: number, { old, next, code }: Interrupted): Promise<number> {
  const processor = new Processor();
  const device = new Device({ processor, ramPages: 64 });
  await loadAll(device, old);
  const module = old[0]?.stamp.module ?? '';
  const call = { module, export: 'work', arguments: ['7'], calls: null, pauseMilliseconds: 0 };
  device.startProgram({ program: 'p', driver: code, ...call, threads });
  const isInside = () => device.state().moduleTable.every(({ referenceCount }) => referenceCount >= threads);
  while (!isInside()) await new Promise((resolve) => setTimeout(resolve, 5));
  collectSetUpGarbage();
  const report = await loadAll(device, next);
  if (report.retried !== threads) throw new Error(`${report.retried} of ${threads} retried`);
  await device.close();
  processor.close();
  const swap = report.steps.find(({ step }) => step === 'table-updated');
  const end = report.steps.find(({ step }) => step === 'references-reset');
  if (end === undefined || swap === undefined) throw new Error('the load did not interrupt');
  return (end.startedMicroseconds + end.microseconds - swap.startedMicroseconds) / 1_000;
}

/** Returns the milliseconds to reject a number of suspended stacks, some calls deep, with an exception that the outermost function catches. */
async function rejectionFloor(threads: number, depth: number): Promise<number> {
  const tag = new WebAssembly.Tag({ parameters: ['i32'] });
  const rejects: ((error: unknown) => void)[] = [];
  const suspend = new WebAssembly.Suspending(() => new Promise<void>((_, reject) => rejects.push(reject)));
  const inner = Array.from({ length: depth }, (_, index) => `(func $f${index} (call_indirect (i32.const ${index})))`);
  const elements = ['$suspend', ...inner.map((_, index) => `$f${index}`)];
  const text = `(module (import "m" "suspend" (func $suspend)) (import "m" "tag" (tag $tag (param i32)))
    (table ${elements.length} funcref) (elem (i32.const 0) ${elements.join(' ')}) ${inner.join(' ')}
    (func (export "run")
      (block $caught (result i32) (try_table (catch $tag $caught) (call_indirect (i32.const ${depth}))) (return)) drop))`;
  const module = binaryen.parseText(text);
  module.setFeatures(binaryen.Features.ExceptionHandling | binaryen.Features.ReferenceTypes);
  const code = new WebAssembly.Module(new Uint8Array(module.emitBinary()));
  const run = WebAssembly.promising(getExportedFunction(new WebAssembly.Instance(code, { m: { suspend, tag } }).exports, 'run'));
  const ended = Promise.all(Array.from({ length: threads }, () => run()));
  collectSetUpGarbage();
  const startedAt = performance.now();
  for (const reject of rejects) reject(new WebAssembly.Exception(tag, [1]));
  await ended;
  return performance.now() - startedAt;
}

/** Measures the resident memory of an idle device with three modules. */
async function benchIdleDevices(count: number): Promise<void> {
  const images = await Promise.all(
    ['a', 'b', 'c'].map((module) =>
      image(module, '1.0.0', 'wat', '(module (func (export "work") (param i32) (result i32) (i32.const 1)))'),
    ),
  );
  const processor = new Processor();
  globalThis.gc?.();
  const before = process.memoryUsage().rss;
  const devices: Device[] = [];
  for (let index = 0; index < count; index += 1) {
    const device = new Device({ processor, ramPages: 64 });
    for (const one of images) await device.load({ image: one });
    devices.push(device);
  }
  globalThis.gc?.();
  const kilobytes = (process.memoryUsage().rss - before) / 1_024 / count;
  rows.push({
    name: `resident memory of each of ${devices.length} idle devices with three modules`,
    result: `${kilobytes.toFixed(1)} KB`,
    limit: '≤ 20 KB',
    passed: kilobytes <= 20,
  });
  processor.close();
}

/** Measures loads of a small image on one device after another. */
async function benchLoads(): Promise<void> {
  const small = await image('a', '1.0.0', 'wat', '(module (func (export "work") (param i32) (result i32) (i32.const 1)))');
  const processor = new Processor();
  const count = 2_000;
  const devices = Array.from({ length: count }, () => new Device({ processor, ramPages: 64 }));
  const startedAt = performance.now();
  await Promise.all(devices.map((device) => device.load({ image: small })));
  rows.push({
    name: 'loads of a small image',
    result: `${Math.round(count / ((performance.now() - startedAt) / 1_000))}/s`,
    limit: '',
    passed: null,
  });
  processor.close();
}

/** Compares a patch set with single loads of its members, which call each other in a chain. Rounds alternate. */
async function benchPatchSets(members: number): Promise<void> {
  const names = Array.from({ length: members }, (_, index) => `m${index}`);
  const textOf = (index: number) => (index + 1 < members ? callerOf(`m${index + 1}`) : quick);
  const versionOf = (version: string) => Promise.all(names.map((name, index) => image(name, version, 'wat', textOf(index))));
  const versions = [await versionOf('1.0.0'), await versionOf('1.1.0')];
  const processor = new Processor();
  const device = new Device({ processor, ramPages: 256 });
  const times: { set: number[]; single: number[] } = { set: [], single: [] };
  for (let round = 0; round < patchSetRounds; round += 1) {
    const images = versions[round % 2] ?? [];
    const isSet = Math.floor(round / 2) % 2 === 0;
    const startedAt = performance.now();
    if (isSet) await device.loadPatchSet({ members: images.map((one) => ({ image: one })), versionPolicy: 'different' });
    else for (const one of images.toReversed()) await device.load({ image: one, versionPolicy: 'different' });
    if (round >= patchSetRounds / 2) times[isSet ? 'set' : 'single'].push(performance.now() - startedAt);
  }
  const ratio = median(times.set) / median(times.single);
  rows.push({
    name: `patch set of ${members}, time of each member relative to a single load`,
    result: `${ratio.toFixed(2)} (${((median(times.set) / members) * 1_000).toFixed(0)} µs)`,
    limit: '≤ 1.2',
    passed: ratio <= 1.2,
  });
  processor.close();
}

/** Compares with Erlang/OTP's hot code loading, if it is installed: one round, because it takes minutes. */
function benchErlang(threads: number, machineTime: number): void {
  const name = `${threads} threads interrupted and retried, compared with as many Erlang/OTP processes`;
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-erlang-'));
  const sources = join(import.meta.dirname, 'erlang');
  const compiled = spawnSync('erlc', ['-o', folder, join(sources, 'hot_code_loading.erl')]);
  if (compiled.error !== undefined) {
    rows.push({ name, result: 'skipped: erl is not installed (Debian: erlang-base)', limit: '≥ 100 times as fast', passed: null });
    return;
  }
  const { stdout } = spawnSync('erl', ['-noshell', '-pa', folder, '-run', 'hot_code_loading', 'main', String(threads), sources]);
  rmSync(folder, { recursive: true });
  const time = Number(stdout) / 1_000;
  rows.push({
    name,
    result: `${(time / machineTime).toFixed(0)} times as fast (${machineTime.toFixed(1)} ms of ${time.toFixed(0)} ms)`,
    limit: '≥ 100 times as fast',
    passed: threads < 10_000 ? null : time / machineTime >= 100,
  });
}
