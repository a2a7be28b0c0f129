// The cost model: the work of each instruction. One unit is one simple instruction, about a quarter of a nanosecond.

import { type Instruction, opcodes } from './binary/instruction.ts';

/** Maximum work from a function's entry to a safepoint, and between two safepoints of code that does not loop. */
export const entryLimit = 8_192;

/** Work assumed for a call of an unknown callee. */
export const unknownCallWork = 500;

/** Maximum work of a function without a safepoint at its entry, if callers may assume `unknownCallWork` for it. */
export const unknownCallerLimit = 2 * unknownCallWork;

/** Local variables that an engine clears in one unit of work at the entry of a function; unoptimized code takes longer. */
export const localsPerWork = 16;

/** Work of a call, besides the work of its callee. */
const callWork = 2;

/** Maximum constant length of a bulk instruction kept as an instruction and charged like simple instructions. */
export const shortLength = { bytes: 4_096, elements: 16 } as const;

/** Work per element of a table, and bytes of memory per unit of work. */
export const elementWork = 128;
export const bytesPerWork = 1;

/** Work of instructions that take much longer than others. */
const slow: ReadonlyMap<number, number> = new Map([
  ...(['i32.div_s', 'i32.div_u', 'i32.rem_s', 'i32.rem_u', 'f32.div', 'f32.sqrt', 'f64.div', 'f64.sqrt'] as const).map(
    (name) => [opcodes[name], 8] as const,
  ),
  ...(['i64.div_s', 'i64.div_u', 'i64.rem_s', 'i64.rem_u'] as const).map((name) => [opcodes[name], 16] as const),
  // V8 leaves the compiled code and maps pages without touching them.
  [opcodes['memory.grow'], 8_000],
  [opcodes['table.get'], 8],
  [opcodes['table.set'], 64],
  [opcodes['ref.func'], 64],
  [opcodes['data.drop'], 64],
  [opcodes['elem.drop'], 64],
]);

/** Maximum labels of a `br_table` without extra work: V8's baseline compiler searches a larger table, with mispredicted branches. */
const smallTableLabels = 64;
const searchStepWork = 16;

/** Instructions without machine code of their own. */
const structural: ReadonlySet<number> = new Set([opcodes.block, opcodes.loop, opcodes.end, opcodes.else, opcodes.nop]);

/** Returns the work of an instruction, without loops and bulk instructions, which are charged separately. */
export function instructionWork(instruction: Instruction, workOfCallee: (index: number) => number): number {
  if (instruction.kind === 'function' && instruction.op === opcodes.call) return callWork + workOfCallee(instruction.index);
  if (instruction.kind === 'call-indirect' || (instruction.kind === 'type' && instruction.op === opcodes.call_ref)) return unknownCallWork;
  if (structural.has(instruction.op)) return 0;
  if (instruction.kind === 'branch-table' && instruction.labels.length > smallTableLabels)
    return searchStepWork * Math.ceil(Math.log2(instruction.labels.length / smallTableLabels));
  return slow.get(instruction.op) ?? 1;
}
