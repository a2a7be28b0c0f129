// Real compiler output is within the limits. A message about an exceeded limit contains the limit and the value.

import { readFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { imageFeatures } from '../../src/compiler/binary/instruction.ts';
import { decodeModule } from '../../src/compiler/binary/reader.ts';
import { encodeModule } from '../../src/compiler/binary/writer.ts';
import { Compiler } from '../../src/compiler/compiler.ts';
import type { Language } from '../../src/compiler/languages.ts';
import { compilerLimits, renderLimitsPage } from '../../src/compiler/limits.ts';
import { getExportedFunction } from '../../src/machine/images/instance-exports.ts';
import { readImage } from '../../src/machine/index.ts';
import { assembleText } from './binary-samples.ts';

const compiler = new Compiler({ milliseconds: 120_000 });
afterAll(() => compiler.close());

const compile = (language: Language, source: string | Uint8Array) =>
  compiler.compileModule({ module: 'tcp', version: '1.0.0', language, source });
const numbered = (count: number, line: (index: number) => string, separator = '\n') =>
  Array.from({ length: count }, (_, index) => line(index)).join(separator);
const nested = (levels: number) => `(module (func (export "f") ${'(block '.repeat(levels)}(br 0)${')'.repeat(levels)}))`;
const loops = (levels: number) => `(module (func (export "f") ${'loop '.repeat(levels)}${'end '.repeat(levels)}))`;
/** Returns a function with the given number of locals, all of which are live at the joins of control flow. */
const merging = (name: string, locals: number, body: string) =>
  `(func (export "${name}") (param i32) (local ${'i32 '.repeat(locals)})
    ${numbered(locals, (index) => `(local.set ${index + 1} (i32.load offset=${index} (local.get 0)))`)}
    ${body}
    ${numbered(locals, (index) => `(i32.store offset=${index} (local.get 0) (local.get ${index + 1}))`)})`;
const ifs = (count: number) =>
  numbered(count, (index) => `(if (i32.load offset=${index} (local.get 0)) (then (local.set 1 (local.get 0))))`);
const branches = (count: number) => `(block ${numbered(count, (index) => `(br_if 0 (i32.load offset=${index} (local.get 0)))`)})`;
/** Returns a module of functions with the given number of locals each. */
const withLocals = (functions: number, locals: number): Uint8Array =>
  encodeModule({
    ...decodeModule(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])),
    types: [{ parameters: [], results: [] }],
    functions: Array.from({ length: functions }, () => ({ type: 0, locals: [{ count: locals, type: 'i32' }], body: new Uint8Array() })),
    exports: [{ name: 'f', kind: 'function', index: 0 }],
  });
const inFunction = (body: string) => `export function f(p: i32): i32 {\n${body}\n}`;

test.each<[string, Language, string | Uint8Array]>([
  ['20,000 nested blocks', 'wat', nested(20_000)],
  ['20,000 nested loops', 'wat', loops(20_000)],
  [
    'an expression of 19,000 levels',
    'wat',
    `(module (func (export "f") (param i32) (result i32) ${'(i32.add (i32.const 1) '.repeat(19_000)}(local.get 0)${')'.repeat(19_000)}))`,
  ],
  ['450,000 parentheses', 'wat', `(module (func (export "f") ${'(drop(i32.const 1))'.repeat(112_500)}${'(nop)'.repeat(112_500)}))`],
  ['1,000 nested ifs', 'assemblyscript', inFunction(`${'if (p > 1) { p -= 1;\n'.repeat(1_000)}${'}'.repeat(1_000)} return p;`)],
  ['a sum of 2,100 terms', 'assemblyscript', inFunction(`return ${numbered(2_100, (index) => `(p ^ ${index})`, ' + ')};`)],
  [
    '4,000 straight lines',
    'assemblyscript',
    inFunction(`let x = 1;\n${numbered(4_000, (index) => `x = x * 31 + (p ^ ${index});`)}\nreturn x;`),
  ],
  [
    'a switch of 2,600 cases',
    'assemblyscript',
    inFunction(`switch (p) {\n${numbered(2_600, (index) => `case ${index}: return ${(index * 7) % 1_000};`)}\n}\nreturn -1;`),
  ],
  ['10,000 exports', 'wat', `(module ${numbered(10_000, (index) => `(func (export "function_${index}"))`)})`],
  ['100,000 functions', 'wat', `(module (func (export "f")) ${numbered(99_999, () => '(func)')})`],
  ['a memory of 64 MiB', 'wat', '(module (memory 1024) (func (export "f") (drop (memory.size))))'],
  ['1,000,000 locals', 'wasm', withLocals(20, 50_000)],
  ['a name of 4 KiB', 'wat', `(module (func (export "${'n'.repeat(4_096)}")))`],
])('compiles %s', async (_what, language, source) => {
  const result = await compile(language, source);
  if (!result.ok) throw new Error(JSON.stringify(result).slice(0, 500));
  expect(readImage(new Uint8Array(result.compiled.image), result.compiled.digest).kind).toBe('module');
});

test.each<[string, Language, string | Uint8Array, string]>([
  ['nested blocks', 'wat', loops(20_001), '20,001 levels; the limit is 20,000'],
  ['parentheses', 'wat', nested(225_000), 'the limit is 25,000'],
  [
    'parentheses of an expression',
    'assemblyscript',
    inFunction(`return ${'('.repeat(225_000)}p${')'.repeat(225_000)};`),
    '225,001 levels; the limit is 25,000',
  ],
  [
    'exports',
    'wat',
    `(module ${numbered(10_001, (index) => `(func (export "${index}"))`)})`,
    'exports 10,001 functions; the limit is 10,000',
  ],
  ['functions', 'wat', `(module (func (export "f")) ${numbered(100_000, () => '(func)')})`, '100,001 functions; the limit is 100,000'],
  [
    'imports',
    'wat',
    `(module ${numbered(1_001, (index) => `(import "udp" "f${index}" (func))`)} (func (export "f")))`,
    'imports 1,001 functions; the limit is 1,000',
  ],
  ['the memory', 'wat', '(module (memory 1025) (func (export "f")))', '1,025 pages of 64 KiB; the limit is 1,024'],
  ['the table', 'wat', '(module (table 65537 funcref) (func (export "f")))', '65,537 elements; the limit is 65,536'],
  [
    'all tables',
    'wat',
    '(module (table 65536 funcref) (table 1 externref) (func (export "f")))',
    'initial size of 65,537 elements; the limit is 65,536',
  ],
  ['the number of tables', 'wat', `(module ${'(table 1 funcref)'.repeat(17)} (func (export "f")))`, '17 tables; the limit is 16'],
  ['a name', 'wat', `(module (func (export "${'n'.repeat(4_097)}")))`, '4,097 bytes; the limit is 4,096'],
  [
    'the interface',
    'wat',
    `(module ${numbered(300, (index) => `(func (export "${String(index).padStart(4_000, 'n')}"))`)})`,
    'the limit is 1,048,576',
  ],
  ['one function', 'wat', `(module (func (export "f")${'f64.const 1 drop '.repeat(104_858)}))`, 'the limit is 1,048,576'],
  ['locals', 'wat', `(module (func (export "f") (local ${'i32 '.repeat(50_001)})))`, '50001 locals; the limit is 50000'],
  ['locals times blocks', 'wat', `(module (memory 1) ${merging('f', 2_000, ifs(3_000))})`, '"f" has, with its safepoints, 6,0'],
  ['locals times branches', 'wat', `(module (memory 1) ${merging('f', 10_000, branches(8_000))})`, '"f" has, with its safepoints, 5,1'],
  [
    'locals times blocks of a module',
    'wat',
    `(module (memory 1) ${numbered(11, (index) => merging(`f${index}`, 2_000, ifs(1_000)))})`,
    'the functions of the module have, with their safepoints, 22,',
  ],
  ['locals of all functions', 'wasm', withLocals(21, 50_000), '1050000 locals or more; the limit is 1000000'],
  ['the source', 'wat', ' '.repeat(4 * 1_024 * 1_024 + 1), '4,194,305 bytes; the limit is 4,194,304'],
])('rejects %s beyond the limit, with limit and value', async (_what, language, source, message) => {
  const result = await compile(language, source);
  expect(result).toMatchObject({
    ok: false,
    diagnostics: expect.arrayContaining([expect.objectContaining({ message: expect.stringContaining(message) })]),
  });
});

test('warns of functions that are too large to be optimized, except in prebuilt modules', async () => {
  const large = `(func $large (export "large") ${'(drop (i32.const 1))'.repeat(10_000)})`;
  const deep = `(func (export "deep") ${'(loop '.repeat(1_001)}${')'.repeat(1_001)})`;
  const result = await compile('wat', `(module ${large} ${deep} (func (export "small")))`);
  const message = expect.stringMatching(/^2 of 3 functions are not optimized .*\(0, 1\); .*24,576 bytes and 1,000 levels/);
  expect(result).toMatchObject({ ok: true, warnings: [{ severity: 'warning', message }] });
  expect(await compile('wasm', assembleText(`(module ${large})`))).toMatchObject({ ok: true, warnings: [] });
});

test('a memory can grow to the limit, but not beyond', async () => {
  const result = await compile('wat', '(module (memory 1) (func (export "f") (drop (memory.grow (i32.const 1)))))');
  if (!result.ok) throw new Error(JSON.stringify(result));
  expect(decodeModule(result.compiled.image, imageFeatures).memories).toEqual([{ initial: 1, maximum: 1_024 }]);
});

test('a table can grow to the limit, but not beyond', async () => {
  const [grow, past] = [32_767, 1].map((elements) => `(table.grow (ref.null func) (i32.const ${elements}))`);
  const result = await compile('wat', `(module (table 1 funcref) (func (export "f") (result i32 i32) ${grow} ${past}))`);
  if (!result.ok) throw new Error(JSON.stringify(result));
  const patchbay = { tick: () => 16_384, suspend: () => {} };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(result.compiled.image)), { patchbay });
  expect(getExportedFunction(exports, 'f')()).toEqual([1, -1]);
});

test('docs/limits.md is up to date', () => {
  expect(readFileSync(new URL('../../docs/limits.md', import.meta.url), 'utf8')).toBe(renderLimitsPage());
  for (const { subject } of Object.values(compilerLimits)) expect(renderLimitsPage()).toContain(`| ${subject} |`);
});
