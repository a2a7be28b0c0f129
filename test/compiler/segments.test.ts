// The prediction whether the instantiation of a module may fail agrees with the engine.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeModule } from '../../src/compiler/binary/reader.ts';
import { binaryen } from '../../src/compiler/binaryen.ts';
import { mayFailToInstantiate } from '../../src/compiler/segments.ts';

function bytesOf(wat: string): Uint8Array<ArrayBuffer> {
  const module = binaryen.parseText(wat);
  try {
    module.setFeatures(binaryen.Features.All);
    return new Uint8Array(module.emitBinary());
  } finally {
    module.dispose();
  }
}

function instantiates(bytes: Uint8Array<ArrayBuffer>): boolean {
  try {
    new WebAssembly.Instance(new WebAssembly.Module(bytes), {});
    return true;
  } catch {
    return false;
  }
}

test('predicts a failure for segments with constant offsets if and only if the engine fails to write them', () => {
  const offset = fc.oneof(
    fc.integer({ min: 0, max: 140_000 }),
    fc.integer({ min: 65_500, max: 65_540 }),
    fc.integer({ min: -70_000, max: -1 }),
  );
  const model = fc.record({
    pages: fc.integer({ min: 0, max: 2 }),
    elements: fc.integer({ min: 0, max: 300 }),
    data: fc.array(fc.record({ offset, length: fc.integer({ min: 0, max: 40 }) }), { maxLength: 3 }),
    segments: fc.array(fc.record({ offset: fc.integer({ min: -2, max: 310 }), length: fc.integer({ min: 0, max: 5 }) }), { maxLength: 3 }),
  });
  fc.assert(
    fc.property(model, ({ pages, elements, data, segments }) => {
      const wat = `(module (memory ${pages}) (table ${elements} funcref) (func $f)
        ${data.map((segment) => `(data (i32.const ${segment.offset}) "${'x'.repeat(segment.length)}")`).join(' ')}
        ${segments.map((segment) => `(elem (i32.const ${segment.offset}) ${'$f '.repeat(segment.length)})`).join(' ')})`;
      const bytes = bytesOf(wat);
      expect(mayFailToInstantiate(decodeModule(bytes))).toBe(!instantiates(bytes));
    }),
    { numRuns: 200 },
  );
});

test.each([
  ['a start function', '(module (func $s) (start $s))', true],
  ['an offset from a global', '(module (global $g i32 (i32.const 4)) (memory 1) (data (global.get $g) "x"))', true],
  ['a passive segment only', '(module (memory 1) (data "x") (func (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 1))))', false],
])('%s', (_, wat, expected) => {
  expect(mayFailToInstantiate(decodeModule(bytesOf(wat)))).toBe(expected);
});
