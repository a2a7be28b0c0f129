// Any exception of a library becomes a diagnostic, and the next compilation succeeds.

import { afterAll, expect, test } from 'vitest';
import { stages } from '../../src/compiler/compile-error.ts';
import { Compiler } from '../../src/compiler/compiler.ts';
import type { Language } from '../../src/compiler/languages.ts';

const compiler = new Compiler();
afterAll(() => compiler.close());

const wat = '(module (func (export "one") (result i32) (i32.const 1)))';
const languageOf = (stage: string): Language => (stage === 'assemblyscript' ? 'assemblyscript' : 'wat');
const sources: Record<Language, string> = { assemblyscript: 'export function one(): i32 { return 1; }', wat, wasm: '' };

test.each(stages.filter((stage) => stage !== 'optimize'))('reports an error at the stage %s as a diagnostic', async (faultAt) => {
  const failing = new Compiler({}, { faultAt });
  const language = languageOf(faultAt);
  const request = { module: 'tcp', version: '1.0.0', language, source: sources[language] };
  const expected = {
    ok: false,
    problem: 'unsupported',
    diagnostics: [{ severity: 'error', message: expect.stringContaining(`injected at ${faultAt}`) }],
  };
  expect(await failing.compileModule(request)).toMatchObject(expected);
  // In the same thread, or in its replacement.
  expect(await failing.compileModule(request)).toMatchObject(expected);
  await failing.close();
});

test('reports an error of the optimizer as a warning, and uses the module unoptimized', async () => {
  const failing = new Compiler({}, { faultAt: 'optimize' });
  expect(await failing.compileModule({ module: 'tcp', version: '1.0.0', language: 'wat', source: wat })).toMatchObject({
    ok: true,
    warnings: [{ severity: 'warning', message: expect.stringContaining('was not optimized') }],
  });
  await failing.close();
});

test('rejects a source that overflows the stack, and compiles the next one', async () => {
  const source = `export function f(p: i32): i32 { return ${'!'.repeat(400_000)}p; }`;
  const result = await compiler.compileModule({ module: 'tcp', version: '1.0.0', language: 'assemblyscript', source });
  expect(result).toMatchObject({
    ok: false,
    problem: 'too-costly',
    diagnostics: [{ message: expect.stringContaining('nests too deeply') }],
  });
  const next = { module: 'tcp', version: '1.0.0', language: 'assemblyscript' as const, source: sources.assemblyscript };
  expect(await compiler.compileModule(next)).toMatchObject({ ok: true });
});

test("a text that ends the stack of binaryen's parser is refused, and the next one compiles", async () => {
  const levels = 19_990;
  const source = `(module (func (export "f") (param i32) ${'local.get 0 if '.repeat(levels)}${'end '.repeat(levels)}))`;
  expect(await compiler.compileModule({ module: 'tcp', version: '1.0.0', language: 'wat', source })).toMatchObject({
    ok: false,
    problem: 'too-costly',
    diagnostics: [{ message: expect.stringContaining('nests too deeply') }],
  });
  expect(await compiler.compileModule({ module: 'tcp', version: '1.0.0', language: 'wat', source: wat })).toMatchObject({ ok: true });
});

test('bytes cut off anywhere, or changed, are refused with a diagnostic', async () => {
  const module = Uint8Array.from(Buffer.from('0061736d010000000105016000017f03020100070701036f6e6500000a0601040041010b', 'hex'));
  const damaged = Array.from({ length: module.length }, (_, end) => module.slice(0, end));
  for (const [index, byte] of module.entries()) damaged.push(module.with(index, byte ^ 0x55));
  for (const source of damaged) {
    const result = await compiler.compileModule({ module: 'tcp', version: '1.0.0', language: 'wasm', source });
    if (!result.ok) expect(result.diagnostics[0]?.message).not.toContain('the compiler failed');
  }
});
