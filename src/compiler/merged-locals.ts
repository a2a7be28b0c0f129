// What the engine compares when it compiles a function: at each place where ways meet, it merges all local variables.

import { opcodes } from './binary/instruction.ts';
import { decodeBody } from './binary/instruction-codec.ts';
import { type FunctionBody, importsOf, type Module } from './binary/module.ts';
import { limitExceededMessage, compilerLimits as limits } from './limits.ts';

/** Conditional branches that cost V8 as much as one block: measured 670,000 locals per millisecond, against 14,000 to 55,000. */
const branchesPerBlock = 16;

/**
 * Returns why the engine would compile the functions of an image too slowly.
 * @param module The image, with all that the compiler adds.
 */
export function checkMergedLocals(module: Module): string[] {
  const faults: string[] = [];
  let sum = 0;
  for (const [position, body] of module.functions.entries()) {
    const merged = mergedLocals(module, body);
    sum += merged;
    if (merged <= limits.mergedLocals.value) continue;
    const what = `the function ${nameOf(module, position)} has, with its safepoints,`;
    faults.push(
      limitExceededMessage(what, merged, limits.mergedLocals, 'split it into several functions, or let its compiler optimize it'),
    );
  }
  if (faults.length === 0 && sum > limits.moduleMergedLocals.value) {
    const what = 'the functions of the module have, with their safepoints,';
    faults.push(
      limitExceededMessage(what, sum, limits.moduleMergedLocals, 'split it into several modules, or let its compiler optimize it'),
    );
  }
  return faults;
}

function mergedLocals(module: Module, body: FunctionBody): number {
  const own = body.locals.reduce((sum, { count }) => sum + count, 0);
  const locals = own + (module.types[body.type]?.parameters.length ?? 0);
  // The function itself is a block.
  let [blocks, branches] = [1, 0];
  for (const { kind, op } of decodeBody(body)) {
    if (kind === 'block' || kind === 'try-table' || op === opcodes.else) blocks += 1;
    else if (kind === 'branch' || kind === 'branch-table') branches += 1;
  }
  return locals * (blocks + Math.ceil(branches / branchesPerBlock));
}

function nameOf(module: Module, position: number): string {
  const index = importsOf(module, 'function').length + position;
  const exported = module.exports.find((item) => item.kind === 'function' && item.index === index);
  return exported === undefined ? String(position) : `"${exported.name.slice(0, 100)}"`;
}
