// What instructions cost: the unit is one simple instruction, about a quarter of a nanosecond.

import { type Instruction, opcodes } from './binary/instruction.ts';

/** Most work between a function's entry and a safepoint, and between two safepoints of code that does not loop. */
export const entryLimit = 8_192;

/** What a call costs whose callee is not known. */
export const unknownCallWork = 500;

/** The work that a function may do without a safepoint at its entry if it has callers that do not know it. */
export const unknownCallerLimit = 2 * unknownCallWork;

/** Local variables that an engine clears in one unit of work, where a function begins; in code that it has not optimized it takes longer. */
export const localsPerWork = 16;

/** What a call costs besides the work of its callee. */
const callWork = 2;

/** Lengths that the instruction itself handles, where the length is a constant: then it is charged like simple instructions. */
export const shortLength = { bytes: 4_096, elements: 16 } as const;

/** Work for one element of a table, and bytes of memory that one unit of work moves. */
export const elementWork = 128;
export const bytesPerWork = 1;

/** Instructions that take much longer than others. */
const slow: ReadonlyMap<number, number> = new Map([
  ...(['i32.div_s', 'i32.div_u', 'i32.rem_s', 'i32.rem_u', 'f32.div', 'f32.sqrt', 'f64.div', 'f64.sqrt'] as const).map(
    (name) => [opcodes[name], 8] as const,
  ),
  ...(['i64.div_s', 'i64.div_u', 'i64.rem_s', 'i64.rem_u'] as const).map((name) => [opcodes[name], 16] as const),
  // V8 leaves the compiled code, and maps pages; it does not touch them.
  [opcodes['memory.grow'], 8_000],
  [opcodes['table.get'], 8],
  [opcodes['table.set'], 64],
  [opcodes['ref.func'], 64],
  [opcodes['data.drop'], 64],
  [opcodes['elem.drop'], 64],
]);

/** Labels of a `br_table` that cost nothing extra: V8's baseline compiler searches the others, at places that the processor has not predicted. */
const shortTable = 64;
const searchStepWork = 16;

/** Structure without machine code of its own. */
const free: ReadonlySet<number> = new Set([opcodes.block, opcodes.loop, opcodes.end, opcodes.else, opcodes.nop]);

/** Work of an instruction, without that of loops and of bulk instructions, which pay for themselves. */
export function instructionWork(instruction: Instruction, workOfCallee: (index: number) => number): number {
  if (instruction.kind === 'function' && instruction.op === opcodes.call) return callWork + workOfCallee(instruction.index);
  if (instruction.kind === 'call-indirect' || (instruction.kind === 'type' && instruction.op === opcodes.call_ref)) return unknownCallWork;
  if (free.has(instruction.op)) return 0;
  if (instruction.kind === 'branch-table' && instruction.labels.length > shortTable)
    return searchStepWork * Math.ceil(Math.log2(instruction.labels.length / shortTable));
  return slow.get(instruction.op) ?? 1;
}
