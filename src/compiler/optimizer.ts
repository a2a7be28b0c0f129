// Optimizes a module with binaryen, except functions whose optimization would take too long.

import { importsOf, type Module } from './binary/module.ts';
import { decodeModule } from './binary/reader.ts';
import { encodeModule } from './binary/writer.ts';
import { binaryen, supportedFeatures } from './binaryen.ts';
import { compilerLimits } from './limits.ts';

export type Optimized = {
  readonly module: Module;
  /** Functions that are not optimized because they exceed a limit, by position. */
  readonly skipped: readonly number[];
};

/**
 * Optimizes a module. Functions that exceed a limit stay unchanged.
 * @param nesting Nesting depth of the blocks of each function.
 * @throws any exception of binaryen.
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
 * Sets every option of binaryen's optimizer. The options are global, and AssemblyScript's compiler leaves its own settings: fast math, and the
 * assumption that memory below address 1,024 is unused. Both change the results of other modules.
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

/** Returns the functions to optimize, by position. */
function selectFunctions(module: Module, nesting: readonly number[]): number[] {
  const { optimizedFunctionBytes, optimizedNesting, optimizedWork } = compilerLimits;
  let work = 0;
  return module.functions.flatMap(({ body: { length } }, position) => {
    if (length > optimizedFunctionBytes.value || (nesting[position] ?? 0) > optimizedNesting.value) return [];
    work += length ** 2;
    return work > optimizedWork.value ? [] : [position];
  });
}
