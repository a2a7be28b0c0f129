// Optimizes a module by binaryen, as far as that takes time linear in the module.

import { importsOf, type Module } from './binary/module.ts';
import { decodeModule } from './binary/reader.ts';
import { encodeModule } from './binary/writer.ts';
import { acceptedFeatures, binaryen } from './binaryen.ts';
import { compilerLimits } from './limits.ts';

/** Limit of the sum of the squares of functions' bytes: some of binaryen's passes take time quadratic in a function. */
const workLimit = 3_000_000_000;

/**
 * Returns the module optimized. Functions past the limits stay as they are.
 * @param nesting How deep the blocks of each of the module's functions nest.
 * @throws what binaryen throws.
 */
export function optimize(module: Module, nesting: readonly number[]): Module {
  const selected = selectFunctions(module, nesting);
  if (selected.length === 0) return module;
  const optimized = binaryen.readBinary(encodeModule(module));
  try {
    optimized.setFeatures(acceptedFeatures);
    binaryen.setOptimizeLevel(2);
    binaryen.setShrinkLevel(0);
    if (selected.length === module.functions.length) optimized.optimize();
    else for (const index of selected) optimized.optimizeFunction(optimized.getFunctionByIndex(index));
    return decodeModule(optimized.emitBinary());
  } finally {
    optimized.dispose();
  }
}

/** Returns the functions to be optimized, by index. */
function selectFunctions(module: Module, nesting: readonly number[]): number[] {
  const { optimizedFunctionBytes, optimizedNesting } = compilerLimits;
  const imports = importsOf(module, 'function').length;
  let work = 0;
  return module.functions.flatMap(({ body: { length } }, position) => {
    if (length > optimizedFunctionBytes.value || (nesting[position] ?? 0) > optimizedNesting.value) return [];
    work += length ** 2;
    return work > workLimit ? [] : [imports + position];
  });
}
