// Puts the access stubs into the loops that call them: V8 does so only where the caller is large, and a call costs as much as the rest of the stub.

import { mapIndices } from './binary/index-map.ts';
import { type BlockType, block, end, type Instruction, localSet } from './binary/instruction.ts';
import type { LocalRun, ValueType } from './binary/module.ts';

/** Calls in one function that are replaced; a function of more grows too much. */
export const inlinedSiteLimit = 8;

/** A function that can stand in the place of a call: it returns only at its end, and does not rely on its locals to be zero. */
export type InlinableFunction = {
  readonly parameters: readonly ValueType[];
  /** The locals after the parameters. */
  readonly locals: readonly ValueType[];
  /** Type of a block without parameters that has the function's results. */
  readonly blockType: BlockType;
  readonly instructions: readonly Instruction[];
};

/** Returns what replaces a call; the function's parameters and locals become the caller's, from `firstLocal` on. */
export function inlinedCall({ parameters, blockType, instructions }: InlinableFunction, firstLocal: number): Instruction[] {
  const given = parameters.map((_, index) => localSet(firstLocal + index)).toReversed();
  return [...given, block(blockType), ...mapIndices(instructions, { locals: (index) => index + firstLocal }), end];
}

/** The locals that the caller gets. */
export function inlinedLocals({ parameters, locals }: InlinableFunction): LocalRun[] {
  return [...parameters, ...locals].map((type) => ({ count: 1, type }));
}
