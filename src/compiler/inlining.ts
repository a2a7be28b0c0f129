// Inlines access stubs into loops that call them: V8 inlines them only into large callers, and a call costs as much as the rest of the stub.

import type { ValueType } from '../machine/images/stamp.ts';
import type { StubFunction } from './access-stub.ts';
import { mapIndices } from './binary/index-map.ts';
import { block, end, type Instruction, localSet, opcodes } from './binary/instruction.ts';
import { depthChange } from './binary/instruction-codec.ts';
import type { LocalRun } from './binary/module.ts';
import type { TypeTable } from './binary/type-table.ts';

/** Maximum calls inlined per function, which bounds the growth of the function. */
const siteLimit = 8;

type Inlined = { readonly instructions: readonly Instruction[]; readonly locals: readonly LocalRun[] };

/**
 * Replaces calls of the given functions in loops with the bodies of these functions.
 * @param localCount Number of the function's parameters and locals.
 * @param callees Functions by index. They return at their end only, and do not rely on zeroed locals.
 */
export function inlineInLoops(
  instructions: readonly Instruction[],
  localCount: number,
  callees: ReadonlyMap<number, StubFunction>,
  types: TypeTable,
): Inlined {
  const sites = findSitesInLoops(instructions, callees);
  if (sites.size === 0) return { instructions, locals: [] };
  const locals: ValueType[] = [];
  // All sites of one callee share locals: no two sites run at the same time.
  const starts = new Map<StubFunction, number>();
  const inlined = instructions.flatMap((instruction, position) => {
    const callee = sites.get(position);
    if (callee === undefined) return [instruction];
    const start = starts.get(callee) ?? localCount + locals.length;
    if (!starts.has(callee)) locals.push(...callee.type.parameters, ...callee.locals);
    starts.set(callee, start);
    return inlineBody(callee, start, types);
  });
  return { instructions: inlined, locals: locals.map((type) => ({ count: 1, type })) };
}

/** Returns the callees by the positions of the calls to replace: the first `siteLimit` calls in loops. */
function findSitesInLoops(instructions: readonly Instruction[], callees: ReadonlyMap<number, StubFunction>): Map<number, StubFunction> {
  const sites = new Map<number, StubFunction>();
  const blocks: boolean[] = [];
  let openLoops = 0;
  for (const [position, instruction] of instructions.entries()) {
    const change = depthChange(instruction);
    if (change > 0) {
      const isLoop = instruction.op === opcodes.loop;
      blocks.push(isLoop);
      if (isLoop) openLoops += 1;
    } else if (change < 0 && blocks.pop() === true) {
      openLoops -= 1;
    }
    const callee = openLoops > 0 && instruction.op === opcodes.call && 'index' in instruction ? callees.get(instruction.index) : undefined;
    if (callee !== undefined && sites.size < siteLimit) sites.set(position, callee);
  }
  return sites;
}

/** Returns the body as a block that takes its arguments from the stack. */
function inlineBody({ type, body }: StubFunction, start: number, types: TypeTable): Instruction[] {
  const storeArguments = type.parameters.map((_, index) => localSet(start + index)).toReversed();
  return [...storeArguments, block(types.blockType(type.results)), ...mapIndices(body, { locals: (local) => start + local }), end];
}
