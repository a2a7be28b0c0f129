// Runs random modules in plain V8 and on a device that interrupts and patches them, and compares results, traps and state. `npm run fuzz` runs more.

import { expect, test } from 'vitest';
import { opcodes } from '../../src/compiler/binary/instruction.ts';
import { decodeInstructions } from '../../src/compiler/binary/instruction-codec.ts';
import { decodeModule } from '../../src/compiler/binary/reader.ts';
import { imageFeatures, parseText } from '../../src/compiler/binaryen.ts';
import { compareSet } from './differential.ts';
import { generateSet } from './module-generator.ts';
import { assembleText } from './text-assembler.ts';

/** Number of modules to compare. */
const wanted = Number(process.env['FUZZ_MODULES'] ?? 300);

test('runs random modules on a device with the same results as in plain V8, under interruptions and patches', async () => {
  const totals = { modules: 0, calls: 0, traps: 0, patches: 0, interrupted: 0 };
  for (let seed = 1; totals.modules < wanted; seed += 1) {
    const statistics = await compareSet(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}: run it alone with npm run fuzz -- --modules 1 --seed ${seed}`, { cause: error });
    });
    for (const key of ['modules', 'calls', 'traps', 'patches', 'interrupted'] as const) totals[key] += statistics[key];
  }
  // The comparison is meaningful only if calls return, trap, and are interrupted by patches.
  expect(totals.calls - totals.traps).toBeGreaterThan(totals.calls / 2);
  expect(totals.traps).toBeGreaterThan(0);
  expect(totals.interrupted).toBeGreaterThan(wanted / 4);
}, 600_000);

test('generates the same set from the same seed', () => {
  expect(generateSet(7)).toEqual(generateSet(7));
  expect(generateSet(7)).not.toEqual(generateSet(8));
});

test('assembles valid modules with the same instructions as binaryen', () => {
  const [assembled, expected] = [new Set<number>(), new Set<number>()];
  for (let seed = 1; seed <= 60; seed += 1) {
    for (const { text } of generateSet(seed).modules) {
      const binary = assembleText(text);
      expect(WebAssembly.validate(binary), `seed ${seed}`).toBe(true);
      addOperations(binary, assembled);
      addOperations(assembleByBinaryen(text), expected);
    }
  }
  expect([...assembled].toSorted()).toEqual([...expected].toSorted());
});

function assembleByBinaryen(text: string): Uint8Array {
  const module = parseText(text);
  module.setFeatures(imageFeatures);
  const bytes = module.emitBinary();
  module.dispose();
  return bytes;
}

/** Adds the opcodes of a module, except control flow and locals, which binaryen encodes differently. */
function addOperations(binary: Uint8Array, operations: Set<number>): void {
  for (const { body } of decodeModule(binary).functions) {
    for (const { op } of decodeInstructions(body)) if (op > opcodes['local.tee']) operations.add(op);
  }
}
