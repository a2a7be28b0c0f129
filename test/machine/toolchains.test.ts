// Modules as toolchains build them: the copies in examples/toolchains run correctly with several threads, and are what the toolchains make today.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { decodeModule } from '../../src/compiler/binary/reader.ts';
import { readToolchain } from '../../src/compiler/toolchain.ts';
import { type Bench, compiler, makeBench, prebuiltImage, until } from './fixture.ts';

let bench: Bench;
beforeEach(() => {
  bench = makeBench();
});
afterEach(() => bench.close());
afterAll(() => compiler.close());

const fileOf = (path: string) => fileURLToPath(new URL(`../../examples/toolchains/${path}`, import.meta.url));

type Example = {
  readonly language: string;
  readonly source: string;
  readonly copy: string;
  readonly concurrency: 'shared' | 'exclusive';
  /** Whether its toolchain is here, with WebAssembly as a target. */
  readonly isPresent: boolean;
  /** Command and arguments that build a source into a file. */
  readonly build: (source: string, into: string) => readonly [string, ...string[]];
};

const examples: readonly Example[] = [
  {
    language: 'C',
    source: 'c/checksum.c',
    copy: 'c/checksum.wasm',
    isPresent: succeed(['clang', '--version'], ['wasm-ld', '--version']),
    concurrency: 'shared',
    build: (source, into) => ['clang', '--target=wasm32', '-O2', '-nostdlib', '-Wl,--no-entry', '-Wl,--strip-all', '-o', into, source],
  },
  {
    language: 'Rust',
    source: 'rust/checksum.rs',
    copy: 'rust/checksum.wasm',
    isPresent: hasRustTarget(),
    // Its standard library has an allocator.
    concurrency: 'exclusive',
    build: (source, into) => {
      const options = ['-C', 'opt-level=2', '-C', 'panic=abort', '-C', 'strip=symbols'];
      return ['rustc', '--target', 'wasm32-unknown-unknown', '--crate-type', 'cdylib', ...options, '-o', into, source];
    },
  },
  {
    language: 'Zig',
    source: 'zig/checksum.zig',
    copy: 'zig/checksum.wasm',
    isPresent: succeed(['zig', 'version']),
    concurrency: 'shared',
    build: (source, into) => {
      const options = ['-target', 'wasm32-freestanding', '-fno-entry', '-rdynamic', '-O', 'ReleaseSmall', '-fstrip'];
      return ['zig', 'build-exe', source, ...options, `-femit-bin=${into}`];
    },
  },
];

/** Builds an example. */
function rebuild({ source, build }: Example): Uint8Array {
  return inFolder((folder) => {
    const into = join(folder, 'module.wasm');
    const [command, ...parameters] = build(fileOf(source), into);
    run(folder, command, parameters);
    return readFileSync(into);
  });
}

/** Whether commands end without an error here. */
function succeed(...commands: readonly (readonly [string, ...string[]])[]): boolean {
  return inFolder((folder) => {
    try {
      for (const [command, ...parameters] of commands) run(folder, command, parameters);
      return true;
    } catch {
      return false;
    }
  });
}

function hasRustTarget(): boolean {
  return inFolder((folder) => {
    try {
      return existsSync(run(folder, 'rustc', ['--print', 'target-libdir', '--target', 'wasm32-unknown-unknown']).trim());
    } catch {
      return false;
    }
  });
}

function inFolder<Result>(use: (folder: string) => Result): Result {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-toolchain-'));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Toolchains keep their caches in the folder, and rustup its settings, where it has none: nothing is left in the home folder. */
function run(folder: string, command: string, parameters: readonly string[]): string {
  const settings = process.env['RUSTUP_HOME'] ?? join(homedir(), '.rustup');
  const env = { ...process.env, ZIG_GLOBAL_CACHE_DIR: folder, RUSTUP_HOME: existsSync(settings) ? settings : folder };
  return execFileSync(command, parameters, { stdio: ['ignore', 'pipe', 'pipe'], cwd: folder, env, encoding: 'utf8' });
}

async function checkWithThreads(source: Uint8Array, concurrency: Example['concurrency']): Promise<void> {
  const image = await prebuiltImage('checksum', '1.0.0', source);
  expect(image.stamp).toMatchObject({ concurrency });
  expect(image.stamp.stack).not.toBeNull();
  expect((await bench.device.load({ image })).reason).toBeNull();
  await bench.load(
    'verifier',
    '1.0.0',
    `(module
      (import "checksum" "check" (func $check (param i32 i32) (result i32)))
      (func (export "work") (param i32 i32) (result i32)
        (if (i32.ne (call $check (local.get 0) (local.get 1)) (i32.const 1)) (then (unreachable)))
        (i32.const 1)))`,
  );
  for (const seed of ['5', '70000'])
    await bench.start(`p${seed}`, { module: 'verifier', arguments: [seed, '200003'], threads: 4, calls: 25 });
  for (const seed of ['5', '70000']) {
    await until(() => bench.statistics(`p${seed}`).state === 'finished');
    expect(bench.statistics(`p${seed}`)).toMatchObject({ callsCompleted: 100, callsFailed: 0 });
  }
}

describe.each(examples)('$language', (example) => {
  test('the module in the repository is correct with eight threads', async () => {
    await checkWithThreads(readFileSync(fileOf(example.copy)), example.concurrency);
  });

  test.skipIf(!example.isPresent)('so is the module that the toolchain here builds', { timeout: 120_000 }, async () => {
    await checkWithThreads(rebuild(example), example.concurrency);
  });
});

test("Rust's allocator serves several threads: its module is exclusive", async () => {
  const image = await prebuiltImage('checksum', '1.0.0', readFileSync(fileOf('rust/checksum.wasm')));
  expect((await bench.device.load({ image })).reason).toBeNull();
  await bench.start('p', { module: 'checksum', export: 'sum', arguments: ['1000', '0'], threads: 8, calls: 500 });
  await until(() => bench.statistics('p').state === 'finished');
  expect(bench.statistics('p')).toMatchObject({ callsCompleted: 4_000, callsFailed: 0, lastResult: '499500' });
});

async function refusalOf(wat: string): Promise<string> {
  const result = await compiler.compileModule({ module: 'm', version: '1.0.0', language: 'wat', source: wat });
  return result.ok ? '' : result.diagnostics.map(({ message }) => message).join('; ');
}

test('a module with only _start is a program, and is refused', async () => {
  expect(await refusalOf('(module (func (export "_start")))')).toMatch(/a program, not a module/);
  expect(await refusalOf('(module (func (export "_start")) (func (export "_initialize")))')).toMatch(/a program, not a module/);
  expect(await refusalOf('(module (func (export "_start")) (func (export "work")))')).toBe('');
});

test('what Go builds imports WASI, and is refused with that import', async () => {
  const imports = '(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))';
  expect(await refusalOf(`(module ${imports} (func (export "_initialize")) (func (export "check") (drop (call $yield))))`)).toMatch(
    /"wasi_snapshot_preview1" "sched_yield" is unknown|WASI/,
  );
});

const reactor = (initialize: string) => `
  (module
    (memory 1)
    (func (export "_initialize") (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))) ${initialize})
    (func (export "self_check") (result i32) (i32.ne (i32.load (i32.const 0)) (i32.const 1)))
    (func (export "work") (param i32) (result i32) (i32.load (i32.const 0))))`;

test('_initialize is called once, before the self-check, and is no export of the module', async () => {
  const report = await bench.load('reactor', '1.0.0', reactor(''));
  expect(report).toMatchObject({ reason: null });
  expect(report.steps.find(({ step }) => step === 'loaded')?.facts).toMatchObject({ selfCheck: 'passed' });
  await bench.start('p', { module: 'reactor', threads: 4, calls: 3 });
  await until(() => bench.statistics('p').state === 'finished');
  expect(bench.statistics('p').lastResult).toBe('1');
});

test('an _initialize that traps fails the load', async () => {
  const report = await bench.load('reactor', '1.0.0', reactor('(unreachable)'));
  expect(report).toMatchObject({ outcome: 'failed' });
  expect(report.reason).toMatch(/its _initialize failed: unreachable/);
});

test('an _initialize with parameters is refused', async () => {
  expect(await refusalOf('(module (func (export "_initialize") (param i32)) (func (export "work")))')).toMatch(
    /function of type \(\) → \(\)/,
  );
});

test('the stack pointer is found by its prologues where no name is left, and the floor after the static data', () => {
  const toolchain = readToolchain(decodeModule(readFileSync(fileOf('c/checksum.wasm'))));
  expect(toolchain.stack).toEqual({ pointer: 0, base: 66_576, floor: 1_040 });
});
