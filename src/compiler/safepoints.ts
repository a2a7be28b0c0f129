// Safepoints: positions at which an image yields the processor, so that other threads can run and an injected error can be thrown.

import {
  block,
  branch,
  branchIf,
  call,
  end,
  globalGet,
  globalSet,
  type Instruction,
  i32Const,
  ifBlock,
  localGet,
  localSet,
  localTee,
  loop,
  opcodes,
  plain,
} from './binary/instruction.ts';
import { type CountedLoop, remainingDistance } from './counted-loop.ts';
import { type FunctionPlan, type LoopPlan, unrolling } from './loop-plan.ts';
import type { PathWork } from './path-work.ts';
import { functionPlaceholders, globalPlaceholders } from './placeholders.ts';

/** Maximum work of one strip of a counted loop: some tens of microseconds. */
const stripWork = 131_072;

/**
 * How code charges fuel. `safepoint` yields when the fuel runs out; `charge` only counts, for functions that must not be interrupted; `none` is the
 * baseline of benchmarks.
 */
export type ChargeMode = 'safepoint' | 'charge' | 'none';

/** Returns instructions that charge fuel. @param work Instructions that push the work, a non-negative i32. */
export function charge(work: readonly Instruction[], mode: ChargeMode): Instruction[] {
  if (mode === 'none') return [];
  const subtract = [globalGet(globalPlaceholders.fuel), ...work, plain('i32.sub'), globalSet(globalPlaceholders.fuel)];
  const isLeft = [globalGet(globalPlaceholders.fuel), i32Const(0)];
  // Charges only while fuel is left, so that the fuel never underflows.
  if (mode === 'charge') return [...isLeft, plain('i32.ge_s'), ifBlock(), ...subtract, end];
  // The hint informs V8 that the branch is rarely taken, so that V8 moves its code out of the loop.
  return [...subtract, ...isLeft, plain('i32.lt_s'), ifBlock(undefined, { likely: false }), call(functionPlaceholders.yield), end];
}

export const chargeConstant = (work: number, mode: ChargeMode) => charge([i32Const(work)], mode);

/** Returns the replacement of an instruction; null: it stays. */
type Replace = (instruction: Instruction, position: number) => readonly Instruction[] | null;

export type WriteOptions = {
  readonly plan: FunctionPlan;
  readonly paths: PathWork;
  /** Index of the first additional local of the plan. */
  readonly firstLocal: number;
  readonly mode: ChargeMode;
  readonly replace: Replace;
};

/** Returns a function's instructions with safepoints in its loops and in long straight code, but not at its entry. */
export function insertSafepoints(instructions: readonly Instruction[], options: WriteOptions): Instruction[] {
  const writer = new Writer(instructions, options);
  for (let position = 0; position < instructions.length; ) position = writer.write(position);
  return writer.output;
}

/** A loop whose end is not yet reached. */
type OpenLoop = {
  readonly plan: LoopPlan;
  readonly start: number;
  /** End of its body. */
  readonly bodyEnd: number;
  /** The output around an unrolled loop; null for other loops. */
  readonly outer: Instruction[] | null;
};

class Writer {
  output: Instruction[] = [];
  readonly #instructions: readonly Instruction[];
  readonly #options: WriteOptions;
  readonly #loops: OpenLoop[] = [];
  /** Charges at back branches, by the position of the branch. */
  readonly #backBranches = new Map<number, readonly Instruction[]>();
  #nextSafepoint = 0;

  constructor(instructions: readonly Instruction[], options: WriteOptions) {
    this.#instructions = instructions;
    this.#options = options;
  }

  /** Writes the instruction or loop at a position. Returns the next position. */
  write(position: number): number {
    const { plan, paths, mode, replace } = this.#options;
    const open = this.#loops.at(-1);
    if (open !== undefined && position === open.bodyEnd) return this.#closeLoop(open);
    if (paths.safepointPositions[this.#nextSafepoint] === position) {
      this.#nextSafepoint += 1;
      this.#append(chargeConstant(Math.max(1, paths.maxWork), mode));
    }
    const instruction = this.#instructions[position];
    if (instruction === undefined) return position + 1;
    const loopPlan = instruction.op === opcodes.loop ? plan.loops.get(position) : undefined;
    if (loopPlan !== undefined) return this.#openLoop(position, instruction, loopPlan);
    const branchCharge = this.#backBranches.get(position);
    const replacement = branchCharge === undefined ? replace(instruction, position) : chargedBranch(instruction, branchCharge);
    if (replacement === null) this.output.push(instruction);
    else this.#append(replacement);
    return position + 1;
  }

  #append(items: readonly Instruction[]): void {
    for (const item of items) this.output.push(item);
  }

  #openLoop(start: number, instruction: Instruction, plan: LoopPlan): number {
    if (plan.kind === 'strip-mined') {
      const { counted } = plan;
      this.#loops.push({ plan, start, bodyEnd: counted.bodyEnd, outer: null });
      this.#append(openStrips(counted, this.#options.firstLocal + plan.local, plan.work, this.#options.mode));
      return counted.bodyStart;
    }
    if (plan.kind === 'unrolled') {
      this.#loops.push({ plan, start, bodyEnd: plan.end, outer: this.output });
      this.output = [];
    } else {
      this.#loops.push({ plan, start, bodyEnd: plan.end, outer: null });
      this.output.push(instruction);
      if (plan.backBranch === null) this.#append(this.#chargeOf(start));
      else this.#backBranches.set(plan.backBranch, this.#chargeOf(start));
    }
    return start + 1;
  }

  #chargeOf(start: number): Instruction[] {
    return chargeConstant(this.#options.paths.loopCharges.get(start) ?? 1, this.#options.mode);
  }

  #closeLoop({ plan, start, outer }: OpenLoop): number {
    this.#loops.pop();
    if (plan.kind === 'strip-mined') {
      this.#append(closeStrips(plan.counted, this.#options.firstLocal + plan.local));
    } else if (outer === null) {
      this.output.push(end);
    } else {
      const body = this.output;
      const opening = this.#instructions[start];
      this.output = outer;
      this.#append(unroll(opening?.kind === 'block' ? opening.type : undefined, body, this.#chargeOf(start)));
    }
    return plan.end + 1;
  }
}

/** `br` becomes `safepoint; br`, and `br_if` becomes `if; safepoint; br; end`. */
function chargedBranch(instruction: Instruction, safepoint: readonly Instruction[]): readonly Instruction[] {
  if (instruction.kind !== 'branch' || instruction.op === opcodes.br || safepoint.length === 0) return [...safepoint, instruction];
  return [ifBlock(), ...safepoint, branch(instruction.label + 1), end];
}

/**
 * Unrolls a loop: `loop; body; end` becomes `block exit; loop; (block next; body; br exit; end)…; safepoint; body; end; end`, with
 * `unrolling.iterations` copies of the body. A branch to the loop leaves the block of the current copy, and the end of a body leaves the loop.
 */
function unroll(type: number | undefined, body: readonly Instruction[], safepoint: readonly Instruction[]): Instruction[] {
  const result = [block(type), loop(type)];
  const inCopy = withLabels(body, 2);
  for (let copy = 1; copy < unrolling.iterations; copy += 1) result.push(block(), ...inCopy, branch(2), end);
  result.push(...safepoint, ...withLabels(body, 1), end, end);
  return result;
}

/** Returns a loop's body for a place with additional blocks around the loop. @param added Number of these blocks. */
function withLabels(body: readonly Instruction[], added: number): Instruction[] {
  let depth = 0;
  return body.map((instruction) => {
    const moved = (label: number) => (label > depth ? label + added : label);
    switch (instruction.kind) {
      case 'branch':
        return { ...instruction, label: moved(instruction.label) };
      case 'branch-table':
        return { ...instruction, labels: instruction.labels.map(moved) };
      case 'block':
        depth += 1;
        return instruction;
      case 'try-table': {
        const catches = instruction.catches.map((handler) => ({ ...handler, label: moved(handler.label) }));
        depth += 1;
        return { ...instruction, catches };
      }
      default:
        if (instruction.op === opcodes.end) depth -= 1;
        return instruction;
    }
  });
}

/**
 * Opens a strip-mined loop. A counted loop runs in strips, each charged before it starts, and its iterations have no added code:
 * `loop strip; if index compare limit: stop = end of the strip; safepoint; loop … stop …; br strip; end; end`, or, if it tests after its body,
 * `loop strip; stop = …; safepoint; loop … stop …; br_if strip (index != limit); end`.
 */
function openStrips(counted: CountedLoop, stop: number, work: number, mode: ChargeMode): Instruction[] {
  const prepare = prepareStrip(counted, stop, work, mode);
  if (counted.form === 'until') return [loop(), ...prepare, loop()];
  const { index, limit, compare, exit } = counted;
  const enter = exit === null ? [localGet(index), limit, plain(compare), ifBlock()] : exit;
  return [loop(), ...enter, ...prepare, loop(), localGet(index), localGet(stop), plain(compare), ifBlock()];
}

function closeStrips(counted: CountedLoop, stop: number): Instruction[] {
  const { form, index, limit, step } = counted;
  if (form === 'while') {
    const inner = [branch(1), end, end];
    return counted.exit === null ? [...inner, branch(1), end, end] : [...inner, branch(0), end];
  }
  const change = [localGet(index), i32Const(step), plain('i32.add'), localTee(index)];
  return [...change, localGet(stop), plain('i32.ne'), branchIf(0), end, localGet(index), limit, plain('i32.ne'), branchIf(0), end];
}

/** Sets `stop` to the end of the next strip, and charges for the strip. */
function prepareStrip(counted: CountedLoop, stop: number, work: number, mode: ChargeMode): Instruction[] {
  const { form, index, step } = counted;
  const size = Math.abs(step);
  const capLength = (max: number) => [localTee(stop), i32Const(max), plain('i32.gt_u'), ifBlock(), i32Const(max), localSet(stop), end];
  const move = (length: readonly Instruction[]) => [localGet(index), ...length, plain(step > 0 ? 'i32.add' : 'i32.sub'), localSet(stop)];
  if (form === 'while') {
    // The length is the distance that the index moves.
    const workPerStep = Math.ceil(work / size);
    const chargeStrip = charge([localGet(stop), i32Const(workPerStep), plain('i32.mul')], mode);
    return [
      ...remainingDistance(counted),
      ...capLength(Math.max(1, Math.floor(stripWork / workPerStep))),
      ...chargeStrip,
      ...move([localGet(stop)]),
    ];
  }
  // The length is a number of iterations: the last one reaches or passes the limit. A distance of 0 means 2^32.
  const workPerStep = Math.max(1, work);
  const remaining = [
    ...remainingDistance(counted),
    i32Const(1),
    plain('i32.sub'),
    ...(size === 1 ? [] : [i32Const(size), plain('i32.div_u')]),
  ];
  const maxIterations = Math.max(1, Math.floor(stripWork / workPerStep));
  return [
    ...remaining,
    ...capLength(maxIterations - 1),
    localGet(stop),
    i32Const(1),
    plain('i32.add'),
    localSet(stop),
    ...charge([localGet(stop), i32Const(workPerStep), plain('i32.mul')], mode),
    ...move(size === 1 ? [localGet(stop)] : [localGet(stop), i32Const(size), plain('i32.mul')]),
  ];
}
