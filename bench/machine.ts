// `npm run bench:machine`: what the machine costs, as ratios within this run. Prints a table, and the same as JSON with --json.

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

type Row = { readonly what: string; readonly figure: string; readonly bound: string; readonly holds: boolean | null };
const rows: Row[] = [];
const interruptionRounds = 20;
const warmUpRounds = 15;
/** How a module without imports is linked. */
const kernelLinking = {
  kind: 'module',
  stubs: { servedGlobal: null, pinnedGlobals: null, stackPointer: null },
  memoryPages: compilerLimits.memoryPages.value,
  tableElements: compilerLimits.grownTableElements.value,
} as const;
const compiler = new Compiler();

await benchAccesses();
await benchEntries(10_000);
await benchKernels();
await benchStacks(8);
await benchLongInstructions();
for (const threads of [1_000, 10_000]) benchErlang(threads, await benchInterruption(threads));
await benchIdleDevices(10_000);
await benchLoads();
await compiler.close();

if (process.argv.includes('--json')) console.log(JSON.stringify(rows, null, 2));
else
  console.log(
    formatTable(
      ['what', 'figure', 'bound', 'holds'],
      rows.map(({ what, figure, bound, holds }) => [what, figure, bound, holds === null ? '' : holds ? 'yes' : 'NO']),
    ).join('\n'),
  );

/** The least time of many, in nanoseconds: on a noisy machine the one that says most of the code. */
async function leastTime(run: () => unknown): Promise<number> {
  const { min } = await measure(run, { min_cpu_time: 150e6, min_samples: 5 });
  return min;
}

/** The least times of several, measured in turns, so that what else the machine does falls on all. */
async function leastTimes(...runs: readonly (() => unknown)[]): Promise<number[]> {
  const least = runs.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < 5; round += 1) {
    for (const [index, run] of runs.entries()) least[index] = Math.min(least[index] ?? 0, await leastTime(run));
  }
  return least;
}

/** A module as the compiler optimizes it. */
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

/** An access through stub, module table and reference count against a bare `call_indirect`. */
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
  const [bareTime = 0, stubTime = 0] = await leastTimes(
    () => bareRun(calls),
    () => stubRun(calls),
  );
  const ratio = bareTime / stubTime;
  rows.push({
    what: 'accesses through the module table, of the rate of bare call_indirect',
    figure: `${ratio.toFixed(2)} (${Math.round((calls / stubTime) * 1_000)} million/s)`,
    bound: '≥ 0.55',
    holds: ratio >= 0.55,
  });
}

/** Accesses that are entered from JavaScript, each on a thread, against as many bare promising calls; the least time of some rounds. */
async function benchEntries(count: number): Promise<void> {
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
    const entry = device.openHostCall({ program: 'p', driver: code });
    const began = performance.now();
    await Promise.all(Array.from({ length: count }, () => entry.call(7)));
    times.push(performance.now() - began);
    await device.close();
    processor.close();
    const floorBegan = performance.now();
    await Promise.all(Array.from({ length: count }, () => bare(7)));
    floors.push(performance.now() - floorBegan);
  }
  const [time, floor] = [Math.min(...times), Math.min(...floors)];
  rows.push({
    what: 'accesses entered from JavaScript, of the rate of bare promising calls',
    figure: `${(floor / time).toFixed(2)} (${((time / count) * 1_000).toFixed(2)} µs of ${((floor / count) * 1_000).toFixed(2)} µs)`,
    bound: '≥ 0.6',
    holds: floor / time >= 0.6,
  });
}

/** Instrumented against uninstrumented code. */
async function benchKernels(): Promise<void> {
  const plain = await compileAssemblyScript('kernels', kernels, []);
  if (!plain.ok) throw new Error(JSON.stringify(plain.diagnostics));
  const optimized = optimizedModule(plain.binary);
  // Without safepoints, as it is and with the copies of loops and recursions that the compiler makes: the faster of both is the baseline.
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
    if (new Set(runs.map((one) => one(times))).size > 1) throw new Error(`${name} computes something else with safepoints`);
    const [time = 0, ...plainTimes] = await leastTimes(...runs.map((one) => () => one(times)));
    const plainTime = Math.min(...plainTimes);
    const ratio = time / plainTime;
    ratios.push(ratio);
    rows.push({ what: `safepoints: ${name}, of the time without`, figure: ratio.toFixed(3), bound: '≤ 1.2', holds: ratio <= 1.2 });
    longest = Math.max(
      longest,
      longestBetweenLooks((tick) => getExportedFunction(withSafepoints(tick), name), times),
    );
  }
  const mean = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
  rows.push({ what: 'safepoints: geometric mean', figure: mean.toFixed(3), bound: '≤ 1.05', holds: mean <= 1.05 });
  rows.push({
    what: 'longest time between two looks at the clock',
    figure: `${longest.toFixed(3)} ms`,
    bound: '≤ 1 ms',
    holds: longest <= 1,
  });
}

/**
 * Threads inside functions of C with arrays on their stack, each with a part of the stack of its own, against the same image where the machine
 * leaves the stack alone, so that threads overwrite each other's; the least times of some rounds.
 */
async function benchStacks(threads: number): Promise<void> {
  const source = readFileSync(new URL('../examples/toolchains/c/checksum.wasm', import.meta.url));
  const separate = await image('checksum', '1.0.0', 'wasm', source);
  const { digest } = separate;
  const statement = { kind: 'module', digest, module: 'checksum', version: '1.0.0' } as const;
  const common = verifyImage({ ...separate, stamp: { ...separate.stamp, stack: null } }, statement);
  for (const name of ['check', 'leaf']) {
    const code = await driver('checksum', name, ['i32', 'i32']);
    const least = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (let round = 0; round < interruptionRounds; round += 1) {
      for (const [index, one] of [separate, common].entries()) {
        least[index] = Math.min(least[index] ?? 0, await programTime(one, code, { export: name, threads }));
      }
    }
    const [time = 0, floor = 0] = least;
    rows.push({
      what: `separate C stacks: ${threads} threads in checksum.${name}, of the time with one stack for all`,
      figure: (time / floor).toFixed(3),
      bound: '≤ 1.03',
      holds: time / floor <= 1.03,
    });
  }
}

/** Milliseconds that a program's threads take for ten calls each of 200,003 rounds. */
async function programTime(
  loaded: VerifiedImage,
  code: VerifiedImage,
  { export: name, threads }: { export: string; threads: number },
): Promise<number> {
  const processor = new Processor();
  const device = new Device({ processor, ramPages: 64 });
  await device.load({ image: loaded });
  const call = { module: 'checksum', export: name, arguments: ['1', '200003'], calls: 10 * threads, pauseMilliseconds: 0 };
  const began = performance.now();
  device.startProgram({ program: 'p', driver: code, ...call, threads });
  while (device.state().programs[0]?.state !== 'finished') await new Promise((resolve) => setImmediate(resolve));
  const time = performance.now() - began;
  await device.close();
  processor.close();
  return time;
}

/**
 * Code that does nothing but what takes an engine longest. Long instructions touch memory for the first time; loads find it touched: the system
 * takes about 0.6 µs for each page of 4 KiB, once in the life of a memory.
 */
async function benchLongInstructions(): Promise<void> {
  const { code } = await image('long', '1.0.0', 'wat', longInstructionsText);
  const longest = longInstructions.map((name) => ({
    name,
    time: longestBetweenLooks(
      (tick) => getExportedFunction(new WebAssembly.Instance(code, { patchbay: { tick, suspend: () => {} } }).exports, name),
      1,
    ),
  }));
  const [worst] = longest.toSorted((left, right) => right.time - left.time);
  rows.push({
    what: 'longest time between two clock checks, of instructions that take long',
    figure: `${worst?.time.toFixed(3)} ms (${worst?.name})`,
    bound: '≤ 1 ms',
    holds: (worst?.time ?? 0) <= 1,
  });
}

/**
 * The longest time in which code does not look at the clock, in milliseconds. Every run looks at the same places, and of each time between two
 * of them the least of some runs counts: others have the machine in between.
 */
function longestBetweenLooks(make: (tick: () => number) => (times: number) => unknown, times: number): number {
  const least: number[] = [];
  for (let sample = 0; sample < 10; sample += 1) {
    const looks: number[] = [];
    const run = make(() => {
      looks.push(performance.now());
      return fuelPerRefill;
    });
    looks.push(performance.now());
    run(times);
    looks.push(performance.now());
    for (const [index, look] of looks.slice(1).entries()) {
      least[index] = Math.min(least[index] ?? Number.POSITIVE_INFINITY, look - (looks[index] ?? look));
    }
  }
  return least.reduce((longest, time) => Math.max(longest, time), 0);
}

/**
 * Threads that are stuck in the old version, all driven out and gone on to the new one. Rounds alternate with those of the floor; the first ones, in which
 * code is still being compiled, do not count. Returns the median time in milliseconds.
 */
async function benchInterruption(threads: number): Promise<number> {
  const stuck = `(module (func (export "work") (param $n i32) (result i32) (loop $l (br_if $l (i32.eq (local.get $n) (i32.const 7)))) (i32.const 1)))`;
  const old = await image('tcp', '1.0.0', 'wat', stuck);
  const next = await image('tcp', '1.1.0', 'wat', '(module (func (export "work") (param i32) (result i32) (i32.const 2)))');
  const code = await driver('tcp', 'work');
  const times: number[] = [];
  const floors: number[] = [];
  for (let round = 0; round < warmUpRounds + interruptionRounds; round += 1) {
    times.push(await interruptionTime(threads, { old, next, code }));
    floors.push(await rejectionFloor(threads));
  }
  const [time, floor] = [median(times.slice(warmUpRounds)), median(floors.slice(warmUpRounds))];
  const ratio = time / floor;
  rows.push({
    what: `${threads} threads driven out and retried, of as many bare rejections`,
    figure: `${ratio.toFixed(2)} (${time.toFixed(1)} ms of ${floor.toFixed(1)} ms)`,
    bound: '≤ 2',
    holds: ratio <= 2,
  });
  return time;
}

/** Milliseconds from the swap of the module table's entry until the last thread has retried. */
async function interruptionTime(
  threads: number,
  { old, next, code }: { old: VerifiedImage; next: VerifiedImage; code: VerifiedImage },
): Promise<number> {
  const processor = new Processor();
  const device = new Device({ processor, ramPages: 64 });
  await device.load({ image: old });
  const call = { module: 'tcp', export: 'work', arguments: ['7'], calls: null, pauseMilliseconds: 0 };
  device.startProgram({ program: 'p', driver: code, ...call, threads });
  while ((device.state().moduleTable[0]?.referenceCount ?? 0) < threads) await new Promise((resolve) => setTimeout(resolve, 5));
  const report = await device.load({ image: next });
  if (report.retried !== threads) throw new Error(`${report.retried} of ${threads} retried`);
  await device.close();
  processor.close();
  const swap = report.steps.find(({ step }) => step === 'table-updated');
  const end = report.steps.find(({ step }) => step === 'references-reset');
  if (end === undefined || swap === undefined) throw new Error('the load did not interrupt');
  return (end.startedMicroseconds + end.microseconds - swap.startedMicroseconds) / 1_000;
}

/** Milliseconds for that many suspended stacks to be rejected with an exception and caught in wasm. */
async function rejectionFloor(threads: number): Promise<number> {
  const tag = new WebAssembly.Tag({ parameters: ['i32'] });
  const rejects: ((error: unknown) => void)[] = [];
  const suspend = new WebAssembly.Suspending(() => new Promise<void>((_, reject) => rejects.push(reject)));
  const text = `(module (import "m" "suspend" (func $suspend)) (import "m" "tag" (tag $tag (param i32)))
    (func (export "run") (block $caught (result i32) (try_table (catch $tag $caught) (call $suspend)) (return)) drop))`;
  const module = binaryen.parseText(text);
  module.setFeatures(binaryen.Features.ExceptionHandling);
  const code = new WebAssembly.Module(new Uint8Array(module.emitBinary()));
  const run = WebAssembly.promising(getExportedFunction(new WebAssembly.Instance(code, { m: { suspend, tag } }).exports, 'run'));
  const ended = Promise.all(Array.from({ length: threads }, () => run()));
  const began = performance.now();
  for (const reject of rejects) reject(new WebAssembly.Exception(tag, [1]));
  await ended;
  return performance.now() - began;
}

/** Resident memory of a device that has three modules and runs nothing. */
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
    what: `resident memory of each of ${devices.length} idle devices with three modules`,
    figure: `${kilobytes.toFixed(1)} KB`,
    bound: '≤ 20 KB',
    holds: kilobytes <= 20,
  });
  processor.close();
}

/** Loads of a small image on one device after another. */
async function benchLoads(): Promise<void> {
  const small = await image('a', '1.0.0', 'wat', '(module (func (export "work") (param i32) (result i32) (i32.const 1)))');
  const processor = new Processor();
  const count = 2_000;
  const devices = Array.from({ length: count }, () => new Device({ processor, ramPages: 64 }));
  const began = performance.now();
  await Promise.all(devices.map((device) => device.load({ image: small })));
  rows.push({
    what: 'loads of a small image',
    figure: `${Math.round(count / ((performance.now() - began) / 1_000))}/s`,
    bound: '',
    holds: null,
  });
  processor.close();
}

/** Erlang/OTP's hot code loading on the same work, where it is installed: one round, for it takes minutes. */
function benchErlang(threads: number, ours: number): void {
  const what = `${threads} threads driven out and retried, of Erlang/OTP's as many processes`;
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-erlang-'));
  const sources = join(import.meta.dirname, 'erlang');
  const compiled = spawnSync('erlc', ['-o', folder, join(sources, 'hot_code_loading.erl')]);
  if (compiled.error !== undefined) {
    rows.push({ what, figure: 'skipped: erl is not installed (Debian: erlang-base)', bound: '≥ 100 times as fast', holds: null });
    return;
  }
  const { stdout } = spawnSync('erl', ['-noshell', '-pa', folder, '-run', 'hot_code_loading', 'main', String(threads), sources]);
  rmSync(folder, { recursive: true });
  const time = Number(stdout) / 1_000;
  rows.push({
    what,
    figure: `${(time / ours).toFixed(0)} times as fast (${ours.toFixed(1)} ms of ${time.toFixed(0)} ms)`,
    bound: '≥ 100 times as fast',
    holds: threads < 10_000 ? null : time / ours >= 100,
  });
}
