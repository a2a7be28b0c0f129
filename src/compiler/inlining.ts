// Inlines access stubs in loops that call them: V8 does so only in large callers, and a call costs as much as the rest of the stub.

import type { ValueType } from '../machine/images/stamp.ts';
import type { StubFunction } from './access-stub.ts';
import { mapIndices } from './binary/index-map.ts';
import { block, end, type Instruction, localSet, opcodes } from './binary/instruction.ts';
import { depthChange } from './binary/instruction-codec.ts';
import type { LocalRun } from './binary/module.ts';
import type { TypeTable } from './binary/type-table.ts';

/** Calls inlined per function, which bounds how much the function grows. */
const siteLimit = 8;

type Inlined = { readonly instructions: readonly Instruction[]; readonly locals: readonly LocalRun[] };

/**
 * Replaces calls of the given functions by their bodies where the calls are in a loop.
 * @param localCount Parameters and locals that the function has.
 * @param callees By function index: functions that return only at their ends, and do not count on their locals to be zero.
 */
export function inlineInLoops(
  instructions: readonly Instruction[],
  localCount: number,
  callees: ReadonlyMap<number, StubFunction>,
  types: TypeTable,
): Inlined {
  const sites = sitesInLoops(instructions, callees);
  if (sites.size === 0) return { instructions, locals: [] };
  const locals: ValueType[] = [];
  // Sites of one callee share their locals: one site is done before another begins.
  const starts = new Map<StubFunction, number>();
  const inlined = instructions.flatMap((instruction, position) => {
    const callee = sites.get(position);
    if (callee === undefined) return [instruction];
    const start = starts.get(callee) ?? localCount + locals.length;
    if (!starts.has(callee)) locals.push(...callee.type.parameters, ...callee.locals);
    starts.set(callee, start);
    return atSite(callee, start, types);
  });
  return { instructions: inlined, locals: locals.map((type) => ({ count: 1, type })) };
}

/** Callees by the positions of the calls to replace: the first that are in a loop. */
function sitesInLoops(instructions: readonly Instruction[], callees: ReadonlyMap<number, StubFunction>): Map<number, StubFunction> {
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

/** Takes the arguments from the stack, and runs the body as a block. */
function atSite({ type, body }: StubFunction, start: number, types: TypeTable): Instruction[] {
  const given = type.parameters.map((_, index) => localSet(start + index)).toReversed();
  return [...given, block(types.blockType(type.results)), ...mapIndices(body, { locals: (local) => start + local }), end];
}
