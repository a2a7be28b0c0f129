// Starting a compiler thread in a process that compiles WebAssembly ahead of time, as a device host does.

import { setFlagsFromString } from 'node:v8';
import { expect, test } from 'vitest';
import { Compiler } from '../../src/compiler/compiler.ts';

test('a compiler thread starts while the process compiles all functions ahead of time', async () => {
  setFlagsFromString('--no-wasm-lazy-compilation');
  const compiler = new Compiler();
  try {
    const source = '(module (func (export "work") (param i32) (result i32) (local.get 0)))';
    expect(await compiler.compileModule({ module: 'tcp', version: '1.0.0', language: 'wat', source })).toMatchObject({ ok: true });
  } finally {
    setFlagsFromString('--wasm-lazy-compilation');
    await compiler.close();
  }
});
