// Scripts in the form of the official WebAssembly test suite through compiler and device: some of our own always, the suite's where it is there.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runScript } from './execution.ts';
import { documentOf, failureLines, totalsOf } from './report.ts';

const sample = (name: string) => runScript(fileURLToPath(new URL(`./samples/${name}.json`, import.meta.url)));

/** The suite as `wast2json` converts it. */
const suite = process.env['TEST_WASM_SUITE'] ?? '';
const hasSuite = existsSync(`${suite}/i32.json`);
const chosen = [
  'bulk',
  'call_indirect',
  'conversions',
  'f32',
  'f64',
  'float_exprs',
  'float_memory',
  'i32',
  'i64',
  'func',
  'labels',
  'linking0',
  'loop',
  'memory_copy',
  'nop',
  'simd_f32x4',
  'simd_i8x16_arith',
  'simd_load',
  'skip-stack-guard-page',
  'stack',
  'start',
  'switch',
  'table_copy',
  'unwind',
];

test('results, NaN payloads, vectors, several results, traps and exhaustion are those of the script', async () => {
  const { results } = await sample('values');
  expect(failureLines([{ script: 'values', results }])).toEqual([]);
  expect(totalsOf(results)).toEqual({ passed: 10, refused: 1, failed: 0 });
});

test('registered modules are linked by the device, and a refused module names its feature', async () => {
  const result = await sample('linking');
  expect(failureLines([result])).toEqual([]);
  expect(totalsOf(result.results)).toEqual({ passed: 7, refused: 2, failed: 0 });
  expect(documentOf([result])).toContain('| imported memories, tables, globals and tags |       1 |          1 |');
});

test('every wrong expectation is a failure', async () => {
  const { results } = await sample('wrong');
  expect(totalsOf(results)).toEqual({ passed: 1, refused: 0, failed: results.length - 1 });
});

test.skipIf(!hasSuite).each(chosen)(
  'the official script %s passes (needs TEST_WASM_SUITE, a folder of converted scripts)',
  async (name) => {
    const result = await runScript(`${suite}/${name}.json`);
    expect(failureLines([result])).toEqual([]);
    expect(totalsOf(result.results).passed).toBeGreaterThan(0);
  },
);
