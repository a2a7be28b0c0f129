// Runs scripts in the format of the official WebAssembly test suite through the compiler and a device: our own samples, and the suite if it is available.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runScript } from './execution.ts';
import { documentOf, failureLines, totalsOf } from './report.ts';

const sample = (name: string) => runScript(fileURLToPath(new URL(`./samples/${name}.json`, import.meta.url)));

/** The folder of the suite, converted by `wast2json`. */
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

test('checks results, NaN payloads, vectors, multiple results, traps and exhaustion', async () => {
  const { results } = await sample('values');
  expect(failureLines([{ script: 'values', results }])).toEqual([]);
  expect(totalsOf(results)).toEqual({ passed: 10, refused: 1, failed: 0 });
});

test('the device links registered modules, and a refused module names its feature', async () => {
  const result = await sample('linking');
  expect(failureLines([result])).toEqual([]);
  expect(totalsOf(result.results)).toEqual({ passed: 7, refused: 2, failed: 0 });
  expect(documentOf([result])).toContain('| imported memories, tables, globals and tags |       1 |          1 |');
});

test('reports every wrong expectation as a failure', async () => {
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
