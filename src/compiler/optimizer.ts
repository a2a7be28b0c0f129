// Optimizes a module by binaryen, as far as that takes time linear in the module.

import { importsOf, type Module } from './binary/module.ts';
import { decodeModule } from './binary/reader.ts';
import { encodeModule } from './binary/writer.ts';
import { binaryen, supportedFeatures } from './binaryen.ts';
import { compilerLimits } from './limits.ts';

export type Optimized = {
  readonly module: Module;
  /** The module's functions that stay as they are, because they are past a limit; by position. */
  readonly skipped: readonly number[];
};

/**
 * Optimizes a module. Functions past the limits stay as they are.
 * @param nesting How deep the blocks of each of the module's functions nest.
 * @throws what binaryen throws.
 */
export function optimize(module: Module, nesting: readonly number[]): Optimized {
  const selected = selectFunctions(module, nesting);
  const isSelected = new Set(selected);
  const skipped = [...module.functions.keys()].filter((position) => !isSelected.has(position));
  return { module: selected.length === 0 ? module : optimizeFunctions(module, selected), skipped };
}

function optimizeFunctions(module: Module, selected: readonly number[]): Module {
  const imports = importsOf(module, 'function').length;
  const optimized = binaryen.readBinary(encodeModule(module));
  try {
    optimized.setFeatures(supportedFeatures);
    setOptions();
    if (selected.length === module.functions.length) optimized.optimize();
    else for (const position of selected) optimized.optimizeFunction(optimized.getFunctionByIndex(imports + position));
    return decodeModule(optimized.emitBinary());
  } finally {
    optimized.dispose();
  }
}

/**
 * Sets every option of binaryen's optimizer. The options are global, and AssemblyScript's compiler leaves its own: fast math, and no use of memory
 * below address 1,024, which both change what other modules compute.
 */
function setOptions(): void {
  binaryen.setOptimizeLevel(2);
  binaryen.setShrinkLevel(0);
  binaryen.setFastMath(false);
  binaryen.setLowMemoryUnused(false);
  binaryen.setZeroFilledMemory(false);
  binaryen.setTrapsNeverHappen(false);
  binaryen.setClosedWorld(false);
  binaryen.setGenerateStackIR(false);
  binaryen.setOptimizeStackIR(false);
  binaryen.setAlwaysInlineMaxSize(2);
  binaryen.setFlexibleInlineMaxSize(20);
  // -1: no limit.
  binaryen.setOneCallerInlineMaxSize(-1);
  binaryen.setAllowInliningFunctionsWithLoops(false);
}

/** Returns the functions to be optimized, by position. */
function selectFunctions(module: Module, nesting: readonly number[]): number[] {
  const { optimizedFunctionBytes, optimizedNesting, optimizedWork } = compilerLimits;
  let work = 0;
  return module.functions.flatMap(({ body: { length } }, position) => {
    if (length > optimizedFunctionBytes.value || (nesting[position] ?? 0) > optimizedNesting.value) return [];
    work += length ** 2;
    return work > optimizedWork.value ? [] : [position];
  });
}
