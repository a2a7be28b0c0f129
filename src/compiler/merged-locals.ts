// Limits the compile time of an image in the engine, which merges all local variables wherever control flow joins.

import { opcodes } from './binary/instruction.ts';
import { decodeBody } from './binary/instruction-codec.ts';
import { type FunctionBody, importsOf, type Module } from './binary/module.ts';
import { limitExceededMessage, compilerLimits as limits } from './limits.ts';

/** Conditional branches that cost V8 as much as one block. Measured: 670,000 locals per millisecond at branches, 14,000 to 55,000 at blocks. */
const branchesPerBlock = 16;

/**
 * Returns the reasons why the engine would compile the image too slowly; empty: it would not.
 * @param module The linked image.
 */
export function checkMergedLocals(module: Module): string[] {
  const faults: string[] = [];
  let sum = 0;
  for (const [position, body] of module.functions.entries()) {
    const merged = mergedLocals(module, body);
    sum += merged;
    if (merged <= limits.mergedLocals.value) continue;
    const subject = `the function ${nameOf(module, position)} has, with its safepoints,`;
    faults.push(
      limitExceededMessage(subject, merged, limits.mergedLocals, 'split it into several functions, or let its compiler optimize it'),
    );
  }
  if (faults.length === 0 && sum > limits.moduleMergedLocals.value) {
    const subject = 'the functions of the module have, with their safepoints,';
    faults.push(
      limitExceededMessage(subject, sum, limits.moduleMergedLocals, 'split it into several modules, or let its compiler optimize it'),
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
