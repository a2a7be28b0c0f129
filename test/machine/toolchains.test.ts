// Modules built by common toolchains: the copies in examples/toolchains run correctly with several threads, and match what the toolchains build.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { decodeModule } from '../../src/compiler/binary/reader.ts';
import { detectRequirements } from '../../src/compiler/toolchain.ts';
import { compiler, createTestMachine, driverImage, prebuiltImage, referenceCount, type TestMachine, until } from './test-machine.ts';

let machine: TestMachine;
beforeEach(() => {
  machine = createTestMachine();
});
afterEach(() => machine.close());
afterAll(() => compiler.close());

const fileOf = (path: string) => fileURLToPath(new URL(`../../examples/toolchains/${path}`, import.meta.url));

type Example = {
  readonly language: string;
  readonly source: string;
  readonly copy: string;
  readonly concurrency: 'shared' | 'exclusive';
  /** The second argument of `check`. */
  readonly rounds?: string;
  /** Whether the toolchain is installed with WebAssembly as a target. */
  readonly isPresent: boolean;
  /** Returns the command and arguments that build a source into a file. */
  readonly build: (source: string, into: string) => readonly [string, ...string[]];
};

const hasTinyGo = succeed(['tinygo', 'version']);
const tinyGo: Example['build'] = (source, into) => {
  return ['tinygo', 'build', '-target=wasm-unknown', '-gc=precise', '-no-debug', '-o', into, source];
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
    // Rust's standard library has an allocator.
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
  {
    language: 'TinyGo',
    source: 'tinygo/checksum.go',
    copy: 'tinygo/checksum.wasm',
    isPresent: hasTinyGo,
    concurrency: 'shared',
    build: tinyGo,
  },
  {
    language: 'TinyGo with its garbage collector',
    source: 'tinygo/words.go',
    copy: 'tinygo/words.wasm',
    isPresent: hasTinyGo,
    concurrency: 'exclusive',
    rounds: '150',
    build: tinyGo,
  },
];

/** Builds an example with the installed toolchain. */
function rebuild({ source, build }: Example): Uint8Array {
  return inFolder((folder) => {
    const into = join(folder, 'module.wasm');
    const [command, ...parameters] = build(fileOf(source), into);
    run(folder, command, parameters);
    return readFileSync(into);
  });
}

/** Returns whether all commands exit without an error. */
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

/** Runs a command with its caches in the folder, and rustup's settings too if it has none, so that nothing is left in the home folder. */
function run(folder: string, command: string, parameters: readonly string[]): string {
  const settings = process.env['RUSTUP_HOME'] ?? join(homedir(), '.rustup');
  const env = {
    ...process.env,
    XDG_CACHE_HOME: folder,
    ZIG_GLOBAL_CACHE_DIR: folder,
    RUSTUP_HOME: existsSync(settings) ? settings : folder,
  };
  return execFileSync(command, parameters, { stdio: ['ignore', 'pipe', 'pipe'], cwd: folder, env, encoding: 'utf8' });
}

async function loadChecked(source: Uint8Array, concurrency: Example['concurrency']): Promise<void> {
  const image = await prebuiltImage('checksum', '1.0.0', source);
  expect(image.stamp).toMatchObject({ concurrency });
  expect(image.stamp.stack).not.toBeNull();
  expect((await machine.device.load({ image })).reason).toBeNull();
  await machine.load(
    'verifier',
    '1.0.0',
    `(module
      (import "checksum" "check" (func $check (param i32 i32) (result i32)))
      (func (export "work") (param i32 i32) (result i32)
        (if (i32.ne (call $check (local.get 0) (local.get 1)) (i32.const 1)) (then (unreachable)))
        (i32.const 1)))`,
  );
}

const seeds = ['5', '70000'];

/** Starts eight threads that call `check` of the module and verify its results. */
async function startVerifiers(rounds: string, calls: number | null): Promise<void> {
  for (const seed of seeds) await machine.start(`p${seed}`, { module: 'verifier', arguments: [seed, rounds], threads: 4, calls });
}

async function checkWithThreads(source: Uint8Array, { concurrency, rounds = '200003' }: Example): Promise<void> {
  await loadChecked(source, concurrency);
  await startVerifiers(rounds, 25);
  for (const seed of seeds) {
    await until(() => machine.statistics(`p${seed}`).state === 'finished');
    expect(machine.statistics(`p${seed}`)).toMatchObject({ callsCompleted: 100, callsFailed: 0 });
  }
}

describe.each(examples)('$language', (example) => {
  test('runs the module in the repository correctly with eight threads', async () => {
    await checkWithThreads(readFileSync(fileOf(example.copy)), example);
  });

  test.skipIf(!example.isPresent)(
    'runs a module built by the installed toolchain correctly with eight threads',
    { timeout: 120_000 },
    async () => {
      await checkWithThreads(rebuild(example), example);
    },
  );

  test('runs the module in the repository correctly while eight threads are interrupted and patched', async () => {
    const source = readFileSync(fileOf(example.copy));
    await loadChecked(source, example.concurrency);
    await startVerifiers(example.rounds ?? '200003', null);
    let interrupted = 0;
    for (let version = 1; version <= 5; version += 1) {
      await until(() => referenceCount(machine, 'checksum') === 8);
      const report = await machine.device.load({ image: await prebuiltImage('checksum', `1.${version}.0`, source), strategy: 'inject' });
      expect(report).toMatchObject({ reason: null, failed: 0 });
      interrupted += report.interrupted;
    }
    expect(interrupted).toBeGreaterThan(0);
    const before = seeds.map((seed) => machine.statistics(`p${seed}`).callsCompleted);
    await until(() => seeds.every((seed, index) => machine.statistics(`p${seed}`).callsCompleted > (before[index] ?? 0)));
    for (const seed of seeds) expect(machine.statistics(`p${seed}`)).toMatchObject({ callsFailed: 0, lastFailure: null });
  });
});

test("TinyGo's collector keeps the size of the heap over 20,000 calls of eight threads", async () => {
  await loadChecked(readFileSync(fileOf('tinygo/words.wasm')), 'exclusive');
  const heap = machine.device.openHostCall({ program: 'heap', driver: await driverImage('checksum', 'heap') });
  const before = Number(await heap.call(0));
  await startVerifiers('100', 2_500);
  for (const seed of seeds) {
    await until(() => machine.statistics(`p${seed}`).state === 'finished');
    expect(machine.statistics(`p${seed}`)).toMatchObject({ callsCompleted: 10_000, callsFailed: 0 });
  }
  expect(before).toBeGreaterThan(0);
  expect(await heap.call(0)).toBe(before);
});

test('makes a Rust module with an allocator exclusive, and runs it correctly with several threads', async () => {
  const image = await prebuiltImage('checksum', '1.0.0', readFileSync(fileOf('rust/checksum.wasm')));
  expect((await machine.device.load({ image })).reason).toBeNull();
  await machine.start('p', { module: 'checksum', export: 'sum', arguments: ['1000', '0'], threads: 8, calls: 500 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 4_000, callsFailed: 0, lastResult: '499500' });
});

async function rejectionOf(wat: string): Promise<string> {
  const result = await compiler.compileModule({ module: 'm', version: '1.0.0', language: 'wat', source: wat });
  return result.ok ? '' : result.diagnostics.map(({ message }) => message).join('; ');
}

test('rejects a module with only _start, which is a program', async () => {
  expect(await rejectionOf('(module (func (export "_start")))')).toMatch(/a program, not a module/);
  expect(await rejectionOf('(module (func (export "_start")) (func (export "_initialize")))')).toMatch(/a program, not a module/);
  expect(await rejectionOf('(module (func (export "_start")) (func (export "work")))')).toBe('');
});

test("rejects a module of Go's own compiler and recommends TinyGo, even without function names", async () => {
  const imports = '(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))';
  expect(await rejectionOf(`(module ${imports} (func (export "_initialize")) (func (export "check") (drop (call $yield))))`)).toMatch(
    /^the import "wasi_snapshot_preview1" "sched_yield" is unknown.*devices have no WASI.*TinyGo: -target=wasm-unknown/,
  );
});

const reactor = (initialize: string) => `
  (module
    (memory 1)
    (func (export "_initialize") (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))) ${initialize})
    (func (export "self_check") (result i32) (i32.ne (i32.load (i32.const 0)) (i32.const 1)))
    (func (export "work") (param i32) (result i32) (i32.load (i32.const 0))))`;

test('calls _initialize once, before the self-check, and does not export it', async () => {
  const report = await machine.load('reactor', '1.0.0', reactor(''));
  expect(report).toMatchObject({ reason: null });
  expect(report.steps.find(({ step }) => step === 'loaded')?.facts).toMatchObject({ selfCheck: 'passed' });
  await machine.start('p', { module: 'reactor', threads: 4, calls: 3 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p').lastResult).toBe('1');
});

test('fails the load if _initialize traps', async () => {
  const report = await machine.load('reactor', '1.0.0', reactor('(unreachable)'));
  expect(report).toMatchObject({ outcome: 'failed' });
  expect(report.reason).toMatch(/its _initialize failed: unreachable/);
});

test('rejects an _initialize with parameters', async () => {
  expect(await rejectionOf('(module (func (export "_initialize") (param i32)) (func (export "work")))')).toMatch(
    /wrong type: expected \(\) → \(\)/,
  );
});

test('finds the stack pointer by its prologues if names are stripped, and the floor after the static data', () => {
  const toolchain = detectRequirements(decodeModule(readFileSync(fileOf('c/checksum.wasm'))));
  expect(toolchain.stack).toEqual({ pointer: 0, base: 66_576, floor: 1_040 });
});
