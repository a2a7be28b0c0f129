// The front end accepts the output of compilers, and rejects modules that no device can run before it optimizes them.

import { afterAll, describe, expect, test } from 'vitest';
import { binaryen } from '../../src/compiler/binaryen.ts';
import { compile as compileHere } from '../../src/compiler/compilation.ts';
import { Compiler } from '../../src/compiler/compiler.ts';
import type { CompileRequest } from '../../src/compiler/result.ts';
import { readImage } from '../../src/machine/index.ts';

const compiler = new Compiler();
afterAll(() => compiler.close());

const compile = (request: Pick<CompileRequest, 'language' | 'source'> & Partial<CompileRequest>) =>
  compiler.compileModule({ module: 'tcp', version: '1.0.0', ...request });
const compileText = (source: string) => compile({ language: 'wat', source });

function assemble(text: string): Uint8Array {
  const module = binaryen.parseText(text);
  try {
    return module.emitBinary();
  } finally {
    module.dispose();
  }
}

const plain = assemble('(module (func (export "one") (result i32) (i32.const 1)))');
const section = (name: string, content: readonly number[]) => {
  const named = [name.length, ...new TextEncoder().encode(name), ...content];
  return [0, named.length, ...named];
};

test.each<[string, readonly number[]]>([
  ['a name section that ends early', [0x00, 0x0b, 0x04, 0x6e, 0x61, 0x6d, 0x65, 0x01, 0x04, 0x05, 0x00, 0x01, 0x61]],
  ['a name that is not UTF-8', section('name', [0x01, 0x05, 0x01, 0x00, 0x02, 0xff, 0xfe])],
  ['a section whose own name is not UTF-8', [0x00, 0x03, 0x02, 0xff, 0xfe]],
  ['a section without a name', [0x00, 0x00]],
  ['odd target features', section('target_features', [0x02, 0x2b, 0x03, 0x61, 0x62, 0x63, 0x99])],
  ['dynamic linking', section('dylink.0', [0x01, 0x04, 0x80, 0x80, 0x04, 0x04])],
  ['branch hints', section('metadata.code.branch_hint', [0x01, 0x7f, 0x01, 0x03, 0x01, 0x09])],
])('ignores a custom section: %s', async (_what, bytes) => {
  const compiled = await compile({ language: 'wasm', source: new Uint8Array([...plain, ...bytes]) });
  const first = await compile({ language: 'wasm', source: new Uint8Array([...plain.slice(0, 8), ...bytes, ...plain.slice(8)]) });
  expect(compiled).toMatchObject({ ok: true, compiled: { interface: { exports: [{ name: 'one' }] } } });
  expect(first).toMatchObject({ ok: true });
});

test.each([
  ['env', 'seed', "AssemblyScript's Math.random()"],
  ['env', 'trace', "AssemblyScript's trace()"],
  ['env', 'abort', '--use abort='],
  ['env', 'Date.now', "AssemblyScript's Date.now()"],
  ['env', 'emscripten_notify_memory_growth', "emscripten's JavaScript runtime"],
  ['env', 'send', 'import_module("tcp"), import_name("send")'],
  ['env', 'memset', '-mbulk-memory'],
  ['env', 'malloc', 'C library'],
  ['wasi_snapshot_preview1', 'fd_write', 'files or sockets'],
  ['wasi_snapshot_preview1', 'proc_exit', 'ends a process'],
  ['wbg', '__wbindgen_throw', 'wasm-bindgen'],
  ['gojs', 'runtime.wasmExit', 'TinyGo'],
  ['Upper', 'f', 'import from "kernel"'],
])('explains why the import "%s" "%s" is rejected', async (module, name, reason) => {
  const result = await compileText(`(module (import "${module}" "${name}" (func $f)) (func (export "g") (call $f)))`);
  expect(result).toMatchObject({
    ok: false,
    problem: 'unsupported',
    diagnostics: [{ message: expect.stringContaining(`the import "${module}" "${name}" is unknown`) }],
  });
  expect(result.ok ? '' : result.diagnostics[0]?.message).toContain(reason);
});

test.each([
  ['wasip1', 'wasi_snapshot_preview1', 'sched_yield'],
  ['js', 'gojs', 'runtime.nanotime1'],
])("rejects the output of Go's own compiler for GOOS=%s, and says what to build instead", async (system, module, name) => {
  const code = assemble(`(module (import "${module}" "${name}" (func $f)) (func (export "check") (call $f)))`);
  const entry = [...new TextEncoder().encode(`_rt0_wasm_${system}`)];
  // The name section's list of functions: the second one has a name.
  const names = section('name', [0x01, entry.length + 3, 0x01, 0x01, entry.length, ...entry]);
  expect(await compile({ language: 'wasm', source: new Uint8Array([...code, ...names]) })).toMatchObject({
    ok: false,
    problem: 'unsupported',
    diagnostics: [
      { message: expect.stringMatching(/^the module was built by Go's own compiler.*build it with TinyGo \(-target=wasm-unknown/) },
      { message: expect.stringContaining(`the import "${module}" "${name}" is unknown`) },
    ],
  });
});

test("rejects emscripten's imported memory, and says what to do", async () => {
  const result = await compileText('(module (import "env" "memory" (memory 256)) (func (export "g") (drop (i32.load (i32.const 0)))))');
  expect(result).toMatchObject({ ok: false, diagnostics: [{ message: expect.stringContaining('-sSTANDALONE_WASM') }] });
});

test('drops an unused import', async () => {
  const result = await compileText('(module (import "env" "abort" (func)) (func (export "g")))');
  expect(result).toMatchObject({ ok: true, compiled: { interface: { imports: [] } } });
});

test('warns of an import module with a minified name', async () => {
  const result = await compileText('(module (import "a" "b" (func $f)) (func (export "g") (call $f)))');
  expect(result).toMatchObject({ ok: true, warnings: [{ severity: 'warning', message: expect.stringContaining('look minified') }] });
});

test.each([
  ['an exported function with a funcref', '(func (export "f") (result funcref) (ref.null func))', 'would survive a patch'],
  ['an exported function with an externref', '(func (export "f") (param externref))', 'cannot be passed'],
  [
    'an imported function with a funcref',
    '(import "udp" "set" (func $set (param funcref))) (func (export "f") (call $set (ref.null func)))',
    'the import "udp" "set" has the type (funcref) → ()',
  ],
  [
    'a self-check of another type',
    '(func (export "self_check") (result i64) (i64.const 0))',
    'self_check must be () → i32; it is () → i64: loads call an export of this name; change its type, or rename it',
  ],
  ['a program', '(func (export "_start"))', 'a program, not a module'],
  ['a module without functions', '(memory (export "memory") 1)', 'export one or more (C: __attribute__((export_name('],
  ['a function with a reserved name', '(func (export "patchbay:fuel"))', 'reserved'],
  ['a global with a reserved name', '(global (export "patchbay:fuel") i32 (i32.const 1)) (func (export "f"))', 'reserved'],
  ['a table with a reserved name', '(table (export "patchbay:memory") 1 funcref) (func (export "f"))', 'reserved'],
  [
    'a stack past the memory',
    '(memory 1) (global (export "__stack_pointer") (mut i32) (i32.const 65540)) (func (export "f"))',
    'the stack pointer starts at 65540, beyond the memory of 65536 bytes',
  ],
  ['data past the end', '(memory 1) (data (i32.const 65534) "abcd") (func (export "f"))', 'data segment 0 has 4 bytes at offset 65534'],
  ['data far outside', '(memory 1) (data (i32.const 70000) "") (func (export "f"))', 'offset 70000'],
  ['data at a negative offset', '(memory 1) (data (i32.const -1) "a") (func (export "f"))', 'offset 4294967295'],
  ['data after a global', '(memory 1) (global $g i32 (i32.const 65536)) (data (global.get $g) "a") (func (export "f"))', 'offset 65536'],
  [
    'data at a sum',
    '(memory 1) (data (offset (i32.add (i32.const 65530) (i32.const 4))) "abcd") (func (export "f"))',
    'data segment 0 has 4 bytes at offset 65534',
  ],
  [
    'elements past the end',
    '(table 2 funcref) (elem (i32.const 1) $f $f) (func $f (export "f"))',
    'element segment 0 has 2 elements at offset 1, beyond the end of the table of 2 elements',
  ],
])('rejects %s', async (_what, fields, message) => {
  const result = await compileText(`(module ${fields})`);
  expect(result).toMatchObject({ ok: false, problem: 'unsupported', diagnostics: [{ message: expect.stringContaining(message) }] });
});

test('accepts segments that end at the end of the memory or table', async () => {
  const fields = '(memory 1) (data (i32.const 65532) "abcd") (table 2 funcref) (elem (i32.const 0) $f $f) (func $f (export "f"))';
  expect(await compileText(`(module ${fields})`)).toMatchObject({ ok: true });
});

const simd = `export function sum(a: i32): i32 {
  const lanes = i32x4.add(i32x4.splat(a), i32x4(1, 2, 3, 4));
  return i32x4.extract_lane(lanes, 3);
}`;

test('enables SIMD in AssemblyScript if the build requests it', async () => {
  const without = await compile({ language: 'assemblyscript', source: simd });
  const disabled = expect.objectContaining({ message: expect.stringContaining('push the build with the feature "simd"') });
  expect(without).toMatchObject({ ok: false, problem: 'malformed-source', diagnostics: expect.arrayContaining([disabled]) });
  expect(await compile({ language: 'assemblyscript', source: simd, features: ['simd'] })).toMatchObject({ ok: true });
});

describe('reports a lifecycle export of another type at its place', () => {
  const names = ['self_check', 'before_unload', 'state_save', 'state_restore', 'after_load'] as const;
  const messageOf = (name: (typeof names)[number]) =>
    `${name} must be () → ${name === 'self_check' ? 'i32' : '()'}; it is (i32) → i32: loads call an export of this name; change its type, or rename it`;
  const rejected = (diagnostic: object) => ({ ok: false, problem: 'unsupported', diagnostics: [{ severity: 'error', ...diagnostic }] });

  test.each(names)('%s in WAT', async (name) => {
    const source = `(module ;; (export "${name}")
      (; (export "${name}") ;) (func $f (param i32) (result i32) (local.get 0))
      (export "work" (func $f)) (export "${name}" (func $f)))`;
    expect(await compileText(source)).toEqual(rejected({ message: messageOf(name), file: 'tcp.wat', line: 3, column: 33 }));
  });

  test.each(names)('%s in AssemblyScript', async (name) => {
    const source = `// export function ${name}\nconst text = "export function ${name}";\n  export function ${name}(n: i32): i32 { return n + text.length; }`;
    const place = { file: 'tcp.ts', line: 3, column: 3 };
    expect(await compile({ language: 'assemblyscript', source })).toEqual(rejected({ message: messageOf(name), ...place }));
    const renamed = `function own(n: i32): i32 { return n; }\nexport { own as ${name} };`;
    expect(await compile({ language: 'assemblyscript', source: renamed })).toEqual(
      rejected({ message: messageOf(name), file: 'tcp.ts', line: 2, column: 14 }),
    );
  });

  test.each(names)('%s in a prebuilt module', async (name) => {
    const source = assemble(`(module (func) (func (export "${name}") (param i32) (result i32) (local.get 0)))`);
    const message = `${messageOf(name)} (function 1 of the prebuilt module)`;
    expect(await compile({ language: 'wasm', source })).toEqual(rejected({ message, file: null, line: null, column: null }));
  });

  test('and accepts the right types', async () => {
    const source = `(module (func (export "self_check") (result i32) (i32.const 0)) (func (export "before_unload"))
      (func (export "state_save")) (func (export "state_restore")) (func (export "after_load")))`;
    const result = await compileText(source);
    if (!result.ok) throw new Error(JSON.stringify(result));
    const { stamp } = readImage(new Uint8Array(result.compiled.image), result.compiled.digest);
    expect(stamp.hooks).toEqual(['before_unload', 'after_load']);
  });
});

test('writes the requested concurrency to the stamp', async () => {
  for (const concurrency of ['shared', 'exclusive'] as const) {
    const result = await compile({ language: 'wasm', source: plain, concurrency });
    if (!result.ok) throw new Error(JSON.stringify(result));
    expect(readImage(new Uint8Array(result.compiled.image), result.compiled.digest).stamp.concurrency).toBe(concurrency);
  }
});

test('warns of a prebuilt module that the compiler makes exclusive, unless its author chose the concurrency', async () => {
  const source = assemble('(module (memory 1) (func (export "f") (result i32) (memory.grow (i32.const 1))))');
  const message = expect.stringMatching(/^the build is exclusive, because it grows its memory \(memory\.grow\)/);
  expect(await compile({ language: 'wasm', source })).toMatchObject({ ok: true, warnings: [{ severity: 'warning', message }] });
  expect(await compile({ language: 'wasm', source, concurrency: 'exclusive' })).toMatchObject({ ok: true, warnings: [] });
});

/** With fast math, a NaN would be returned unchanged; if memory below 1,024 counted as unused, the load would get an offset, and trap for -16. */
const dependsOnOptions = assemble(`(module (memory 1)
  (func (export "multiply") (param f64) (result f64) (f64.mul (local.get 0) (f64.const 1)))
  (func (export "load") (param i32) (result i32) (i32.load (i32.add (local.get 0) (i32.const 16)))))`);

test('produces an image that does not depend on earlier compilations', async () => {
  const request = { kind: 'module', module: 'tcp', version: '1.0.0' } as const;
  const digest = async () => {
    const { result } = await compileHere({ ...request, language: 'wasm', source: dependsOnOptions });
    if (!result.ok) throw new Error(JSON.stringify(result));
    return result.compiled.digest;
  };
  const before = await digest();
  for (const allocates of [false, true]) {
    const source = `export function f(a: i32): i32 { return ${allocates ? 'a.toString().length' : 'a + 1'}; }`;
    expect((await compileHere({ ...request, language: 'assemblyscript', source })).result).toMatchObject({ ok: true });
    expect(await digest()).toBe(before);
  }
});
