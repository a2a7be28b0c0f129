// Sources of every language compile to an image, or to diagnostics that say what to change.

import { afterAll, expect, test } from 'vitest';
import { Compiler } from '../../src/compiler/compiler.ts';
import type { Language } from '../../src/compiler/languages.ts';
import { readImage } from '../../src/machine/index.ts';

const compiler = new Compiler();
afterAll(() => compiler.close());

const compile = (language: Language, source: string | Uint8Array, version = '1.2.3') =>
  compiler.compileModule({ module: 'tcp', version, language, source });

const assemblyScript = `
@external("udp", "send") declare function send(size: i32): i64;
export function add(a: i32, b: i32): i32 { return a + b; }
export function forward(size: i32): i64 { return send(size); }`;
const wat =
  '(module (memory (export "memory") 1) (global (export "count") i32 (i32.const 1)) (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))';
/** (module (func (export "one") (result i32) (i32.const 1))) */
const wasm = () => new Uint8Array(Buffer.from('0061736d010000000105016000017f03020100070701036f6e6500000a0601040041010b', 'hex'));

test('AssemblyScript compiles to an image stamped with name, version, compiler, digest and interface', async () => {
  const result = await compile('assemblyscript', assemblyScript);
  if (!result.ok) throw new Error(JSON.stringify(result));
  const { stamp } = readImage(new Uint8Array(result.compiled.image), result.compiled.digest);
  expect(stamp).toMatchObject({
    kind: 'module',
    module: 'tcp',
    version: '1.2.3',
    compiler: expect.stringMatching(/^assemblyscript \d/),
    sourceDigest: result.compiled.sourceDigest,
    interface: {
      exports: [
        { name: 'add', parameters: ['i32', 'i32'], results: ['i32'] },
        { name: 'forward', parameters: ['i32'], results: ['i64'] },
      ],
      imports: [{ module: 'udp', name: 'send', parameters: ['i32'], results: ['i64'] }],
    },
  });
});

test('WAT and prebuilt modules compile to images; exports that are not functions are omitted, with a warning if linkers do not add them by default', async () => {
  const text = await compile('wat', wat);
  expect(text).toMatchObject({
    ok: true,
    compiled: { interface: { exports: [{ name: 'add' }] } },
    warnings: [{ severity: 'warning', message: expect.stringContaining('"count"') }],
  });
  expect(await compile('wasm', wasm())).toMatchObject({
    ok: true,
    compiled: { interface: { exports: [{ name: 'one', parameters: [], results: ['i32'] }] } },
  });
});

test('the same input produces the same bytes, and another version other bytes', async () => {
  const digests = await Promise.all([
    compile('assemblyscript', assemblyScript),
    compile('assemblyscript', assemblyScript),
    compile('assemblyscript', assemblyScript, '1.2.4'),
  ]);
  const [first, again, other] = digests.map((result) => (result.ok ? result.compiled.digest : null));
  expect(again).toBe(first);
  expect(other).not.toBe(first);
});

test.each([
  [
    'assemblyscript',
    'export function f(: i32',
    'malformed-source',
    { message: 'Identifier expected.', file: 'tcp.ts', line: 1, column: 18 },
  ],
  [
    'assemblyscript',
    'export function f(): i32 {\n  return missing;\n}',
    'malformed-source',
    { message: "Cannot find name 'missing'.", file: 'tcp.ts', line: 2, column: 10 },
  ],
  ['assemblyscript', 'import { x } from "./other";', 'malformed-source', { message: "File 'other.ts' not found.", line: 1, column: 19 }],
  ['wat', '(module\n  (fun))', 'malformed-source', { file: 'tcp.wat', line: 2, column: 3 }],
  ['wat', '(module (func (export "f") (result i32)))', 'malformed-source', { message: 'popping from empty stack', line: 1 }],
  [
    'wat',
    '(module (func $sum (export "f") (result i32) (i64.const 1)))',
    'malformed-source',
    { message: expect.stringContaining('function sum') },
  ],
  ['wasm', new Uint8Array([1, 2, 3]), 'not-webassembly', { message: expect.stringContaining('WebAssembly.Module()') }],
  ['wasm', 'text', 'not-webassembly', { message: expect.stringContaining('bytes') }],
  ['wat', '(module)', 'unsupported', { message: expect.stringContaining('exports no function') }],
  [
    'wat',
    '(module (memory 1 2 shared) (func (export "f") (drop (i32.load (i32.const 0)))))',
    'unsupported',
    { message: expect.stringContaining('threads') },
  ],
  ['wat', '(module (func $f (export "f") (return_call $f)))', 'unsupported', { message: expect.stringContaining('tail calls') }],
  ['wat', '(module (tag $e) (func (export "f") (throw $e)))', 'unsupported', { message: expect.stringContaining('exception') }],
  [
    'wat',
    '(module (memory 1025) (func (export "f") (drop (i32.load (i32.const 0)))))',
    'unsupported',
    { message: expect.stringContaining('the limit is 1,024') },
  ],
  [
    'wat',
    '(module (import "env" "abort" (func $a)) (func (export "f") (call $a)))',
    'unsupported',
    { message: expect.stringContaining('"env" "abort" is unknown') },
  ],
  [
    'wat',
    '(module (import "patchbay" "tick" (func $a)) (func (export "f") (call $a)))',
    'unsupported',
    { message: expect.stringContaining('"patchbay" "tick"') },
  ],
  [
    'wat',
    '(module (import "wasi_snapshot_preview1" "proc_exit" (func $a)) (func (export "f") (call $a)))',
    'unsupported',
    { message: expect.stringContaining('wasi') },
  ],
  [
    'wat',
    '(module (import "kernel" "reboot" (func $a)) (func (export "f") (call $a)))',
    'unsupported',
    { message: expect.stringContaining('expected one of emit, sleep') },
  ],
  [
    'wat',
    '(module (import "kernel" "emit" (func $a)) (func (export "f") (call $a)))',
    'unsupported',
    { message: expect.stringContaining('(i32, i64)') },
  ],
  [
    'wat',
    '(module (import "tcp" "g" (global $g i32)) (func (export "f") (result i32) (global.get $g)))',
    'unsupported',
    { message: expect.stringContaining('is a global') },
  ],
] as const)('%s %j is rejected as %s', async (language, source, problem, finding) => {
  const result = await compile(language, source);
  expect(result).toMatchObject({ ok: false, problem });
  expect(result.ok ? [] : result.diagnostics).toContainEqual(expect.objectContaining({ severity: 'error', ...finding }));
});

test('terminates a compilation that exceeds its time, and the next one succeeds', async () => {
  const impatient = new Compiler({ milliseconds: 20 });
  const result = await impatient.compileModule({ module: 'tcp', version: '1.0.0', language: 'assemblyscript', source: assemblyScript });
  expect(result).toMatchObject({ ok: false, problem: 'too-costly', diagnostics: [{ message: expect.stringContaining('0.02 s') }] });
  await impatient.close();
  expect(await compile('wat', wat)).toMatchObject({ ok: true });
});

test('rejects a source that exceeds the size limit without compiling it', async () => {
  const small = new Compiler({ sourceBytes: 100 });
  expect(await small.compileModule({ module: 'tcp', version: '1.0.0', language: 'wat', source: ' '.repeat(101) })).toMatchObject({
    ok: false,
    problem: 'too-costly',
  });
  await small.close();
});

test('terminates a compilation that exceeds its memory, and the next one succeeds', async () => {
  const narrow = new Compiler({ heapMebibytes: 64, milliseconds: 120_000 });
  const source = Array.from({ length: 20_000 }, (_, index) => `export function f${index}(a: i32): i32 { return a * ${index} + 1; }`).join(
    '\n',
  );
  const result = await narrow.compileModule({ module: 'tcp', version: '1.0.0', language: 'assemblyscript', source });
  expect(result).toMatchObject({ ok: false, problem: 'too-costly', diagnostics: [{ message: expect.stringContaining('64 MiB') }] });
  expect(await narrow.compileModule({ module: 'tcp', version: '1.0.0', language: 'wat', source: wat })).toMatchObject({ ok: true });
  await narrow.close();
});

test('reports the compiler as busy when the queue is full', async () => {
  const small = new Compiler({ queued: 3 });
  const results = await Promise.all(
    Array.from({ length: 10 }, (_, patch) => small.compileModule({ module: 'tcp', version: `1.0.${patch}`, language: 'wat', source: wat })),
  );
  expect(results.filter(({ ok }) => ok)).toHaveLength(5);
  expect(results.slice(5)).toEqual(Array.from({ length: 5 }, () => expect.objectContaining({ ok: false, problem: 'busy' })));
  await small.close();
});

test('a driver calls its export with the types of the export', async () => {
  const result = await compiler.compileDriver({
    module: 'tcp',
    export: 'odd "name"\\',
    type: { parameters: ['i32', 'f64'], results: ['f32', 'i64'] },
  });
  if (!result.ok) throw new Error(JSON.stringify(result));
  expect(readImage(new Uint8Array(result.compiled.image), result.compiled.digest).stamp).toMatchObject({
    kind: 'driver',
    interface: { imports: [{ module: 'tcp', name: 'odd "name"\\', parameters: ['i32', 'f64'], results: ['f32', 'i64'] }] },
  });
});
