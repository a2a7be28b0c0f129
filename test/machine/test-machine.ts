// Modules, drivers and devices for the machine's tests, compiled once each by the real compiler.

import { Compiler } from '../../src/compiler/compiler.ts';
import { Device, type DeviceOptions, Processor, type VerifiedImage } from '../../src/machine/index.ts';
import type { LinkPolicy } from '../../src/machine/isolation/load-report.ts';
import type { ProgramRequest, ProgramStatistics } from '../../src/machine/programs/program.ts';
import { readVerified } from './read-verified.ts';

export const compiler = new Compiler();

const images = new Map<string, Promise<VerifiedImage>>();

/** Returns the image of a module's text. */
export function moduleImage(
  module: string,
  version: string,
  wat: string,
  concurrency?: 'shared' | 'exclusive',
  dependencies: Readonly<Record<string, string>> = {},
): Promise<VerifiedImage> {
  return once(`${module}@${version} ${concurrency} ${JSON.stringify(dependencies)} ${wat}`, async () => {
    const result = await compiler.compileModule({ module, version, language: 'wat', source: wat, concurrency, dependencies });
    if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
    return readVerified(result.compiled.image, result.compiled.digest);
  });
}

/** Returns the image of a prebuilt module. */
export function prebuiltImage(
  module: string,
  version: string,
  source: Uint8Array,
  concurrency?: 'shared' | 'exclusive',
): Promise<VerifiedImage> {
  return once(`${module}@${version} ${concurrency} ${Buffer.from(source).toString('base64')}`, async () => {
    const result = await compiler.compileModule({ module, version, language: 'wasm', source, concurrency });
    if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
    return readVerified(result.compiled.image, result.compiled.digest);
  });
}

/** Returns the driver of an export that takes and returns 32-bit integers. */
export function driverImage(
  module: string,
  name: string,
  parameters = 1,
  addressing: 'via-table' | 'hard-coded' = 'via-table',
): Promise<VerifiedImage> {
  return once(`${module}.${name}/${parameters} ${addressing}`, async () => {
    const type = { parameters: Array.from({ length: parameters }, () => 'i32' as const), results: ['i32' as const] };
    const result = await compiler.compileDriver({ module, export: name, type, addressing });
    if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
    return readVerified(result.compiled.image, result.compiled.digest);
  });
}

function once(key: string, make: () => Promise<VerifiedImage>): Promise<VerifiedImage> {
  const known = images.get(key) ?? make();
  images.set(key, known);
  return known;
}

/** An argument with which `work` of `workModule` loops endlessly. */
export const endless = '2000000000';

/** `work(n)` emits n, loops n times, and returns n plus a number. */
export const workModule = (plus: number) => `
  (module
    (import "kernel" "emit" (func $emit (param i32 i64)))
    (func (export "work") (param $n i32) (result i32)
      (local $i i32)
      (call $emit (i32.const ${plus}) (i64.extend_i32_u (local.get $n)))
      (loop $next
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.or (i32.eq (local.get $n) (i32.const ${endless})) (i32.lt_u (local.get $i) (local.get $n)))))
      (i32.add (local.get $n) (i32.const ${plus}))))`;

/** `work(n)` emits n, and returns n plus a number immediately. */
export const quickModule = (plus: number) => `
  (module
    (import "kernel" "emit" (func $emit (param i32 i64)))
    (func (export "work") (param $n i32) (result i32)
      (call $emit (i32.const ${plus}) (i64.extend_i32_u (local.get $n)))
      (i32.add (local.get $n) (i32.const ${plus}))))`;

export type TestMachine = {
  readonly processor: Processor;
  readonly device: Device;
  readonly effects: { program: string; channel: number; value: bigint }[];
  /** Loads a module, which may import what is not in memory if `linkPolicy` is `off`. Default: `require`. */
  load(module: string, version: string, wat: string, linkPolicy?: LinkPolicy): ReturnType<Device['load']>;
  start(
    program: string,
    call: { module: string; export?: string; addressing?: 'via-table' | 'hard-coded' } & Partial<
      Pick<ProgramRequest, 'arguments' | 'threads' | 'calls' | 'pauseMilliseconds' | 'recovery' | 'deadlineMilliseconds'>
    >,
  ): Promise<void>;
  statistics(program: string): ProgramStatistics;
  close(): Promise<void>;
};

/** Creates a device on its own processor. */
export function createTestMachine(options: Partial<DeviceOptions> = {}): TestMachine {
  const processor = options.processor ?? new Processor();
  const effects: TestMachine['effects'] = [];
  const onEffects = (program: string, committed: readonly { channel: number; value: bigint }[]) => {
    for (const effect of committed) effects.push({ program, ...effect });
  };
  const device = new Device({ ramPages: 64, onEffects, ...options, processor });
  return {
    processor,
    device,
    effects,
    load: async (module, version, wat, linkPolicy = 'require') =>
      device.load({ image: await moduleImage(module, version, wat), strategy: 'inject', invalidation: 'nx', linkPolicy }),
    start: async (
      program,
      { module, export: name = 'work', addressing, arguments: values = ['1'], threads = 1, calls = null, pauseMilliseconds = 0, ...rest },
    ) => {
      const driver = await driverImage(module, name, values.length, addressing);
      device.startProgram({ program, driver, module, export: name, arguments: values, threads, calls, pauseMilliseconds, ...rest });
    },
    statistics: (program) => {
      const found = device.state().programs.find((statistics) => statistics.program === program);
      if (found === undefined) throw new Error(`no program ${program}`);
      return found;
    },
    close: async () => {
      await device.close();
      processor.close();
    },
  };
}

/** Returns the number of accesses inside a module. */
export function referenceCount({ device }: Pick<TestMachine, 'device'>, module: string): number {
  return device.state().moduleTable.find((entry) => entry.module === module)?.referenceCount ?? 0;
}

/** Waits until a condition holds while the device runs. */
export async function until(condition: () => boolean, what = condition.toString()): Promise<void> {
  const deadline = Date.now() + 120_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`condition not met within 120 s:  ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
