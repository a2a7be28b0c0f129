// Safepoints: where an image gives up the processor, so that other threads run and an injected error finds a place to be thrown.

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

/** Most work that a loop that counts pays for at once: some tens of microseconds. */
const stretchWork = 131_072;

/** How code pays: a safepoint yields, a charge only counts, for functions that must not be interrupted; `none` is for baselines of benchmarks. */
export type ChargeMode = 'safepoint' | 'charge' | 'none';

/** Pays for work that some instructions put on the stack, as an i32 that is not negative. */
export function charge(work: readonly Instruction[], payment: ChargeMode): Instruction[] {
  if (payment === 'none') return [];
  const subtract = [globalGet(globalPlaceholders.fuel), ...work, plain('i32.sub'), globalSet(globalPlaceholders.fuel)];
  const isLeft = [globalGet(globalPlaceholders.fuel), i32Const(0)];
  // Only while fuel is left, so that it never passes the end of its range.
  if (payment === 'charge') return [...isLeft, plain('i32.ge_s'), ifBlock(), ...subtract, end];
  // The hint tells V8 that the way to the processor is seldom taken, so that it keeps that way's code out of the loop.
  return [...subtract, ...isLeft, plain('i32.lt_s'), ifBlock(undefined, { likely: false }), call(functionPlaceholders.yield), end];
}

export const chargeConstant = (work: number, payment: ChargeMode) => charge([i32Const(work)], payment);

/** What replaces an instruction; null: it stays. */
type Replace = (instruction: Instruction, position: number) => readonly Instruction[] | null;

export type WriteOptions = {
  readonly plan: FunctionPlan;
  readonly paths: PathWork;
  /** First of the locals that the plan asks for. */
  readonly firstLocal: number;
  readonly mode: ChargeMode;
  readonly replace: Replace;
};

/** Returns a function's instructions with safepoints in its loops and in long straight code, not at its entry. */
export function insertSafepoints(instructions: readonly Instruction[], options: WriteOptions): Instruction[] {
  const writer = new Writer(instructions, options);
  for (let position = 0; position < instructions.length; ) position = writer.write(position);
  return writer.output;
}

/** A loop whose end has not been reached. */
type OpenLoop = {
  readonly plan: LoopPlan;
  readonly start: number;
  /** Where its body ends: nothing after that is copied. */
  readonly bodyEnd: number;
  /** The output around a loop whose body is copied. */
  readonly outer: Instruction[] | null;
};

class Writer {
  output: Instruction[] = [];
  readonly #instructions: readonly Instruction[];
  readonly #options: WriteOptions;
  readonly #loops: OpenLoop[] = [];
  /** Branches back to open loops that pay there, and what they pay. */
  readonly #backBranches = new Map<number, readonly Instruction[]>();
  #nextPlace = 0;

  constructor(instructions: readonly Instruction[], options: WriteOptions) {
    this.#instructions = instructions;
    this.#options = options;
  }

  /** Writes what stands at a position, and returns the next position. */
  write(position: number): number {
    const { plan, paths, mode: payment, replace } = this.#options;
    const open = this.#loops.at(-1);
    if (open !== undefined && position === open.bodyEnd) return this.#closeLoop(open);
    if (paths.safepointPositions[this.#nextPlace] === position) {
      this.#nextPlace += 1;
      this.#append(chargeConstant(Math.max(1, paths.maxWork), payment));
    }
    const instruction = this.#instructions[position];
    if (instruction === undefined) return position + 1;
    const loopPlan = instruction.op === opcodes.loop ? plan.loops.get(position) : undefined;
    if (loopPlan !== undefined) return this.#openLoop(position, instruction, loopPlan);
    const backPayment = this.#backBranches.get(position);
    const replacement = backPayment === undefined ? replace(instruction, position) : payingBranch(instruction, backPayment);
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
      this.#append(openStretches(counted, this.#options.firstLocal + plan.local, plan.work, this.#options.mode));
      return counted.bodyStart;
    }
    if (plan.kind === 'unrolled') {
      this.#loops.push({ plan, start, bodyEnd: plan.end, outer: this.output });
      this.output = [];
    } else {
      this.#loops.push({ plan, start, bodyEnd: plan.end, outer: null });
      this.output.push(instruction);
      if (plan.backBranch === null) this.#append(this.#paymentOf(start));
      else this.#backBranches.set(plan.backBranch, this.#paymentOf(start));
    }
    return start + 1;
  }

  #paymentOf(start: number): Instruction[] {
    return chargeConstant(this.#options.paths.loopCharges.get(start) ?? 1, this.#options.mode);
  }

  #closeLoop({ plan, start, outer }: OpenLoop): number {
    this.#loops.pop();
    if (plan.kind === 'strip-mined') {
      this.#append(closeStretches(plan.counted, this.#options.firstLocal + plan.local));
    } else if (outer === null) {
      this.output.push(end);
    } else {
      const body = this.output;
      const opening = this.#instructions[start];
      this.output = outer;
      this.#append(copied(opening?.kind === 'block' ? opening.type : undefined, body, this.#paymentOf(start)));
    }
    return plan.end + 1;
  }
}

/** `br` becomes `safepoint; br`, and `br_if` becomes `if; safepoint; br; end`. */
function payingBranch(instruction: Instruction, safepoint: readonly Instruction[]): readonly Instruction[] {
  if (instruction.kind !== 'branch' || instruction.op === opcodes.br || safepoint.length === 0) return [...safepoint, instruction];
  return [ifBlock(), ...safepoint, branch(instruction.label + 1), end];
}

/**
 * `loop; body; end` becomes `block exit; loop; (block next; body, to exit; end)…; safepoint; body; end; end`, with as many copies of the body as
 * iterations are paid for together. To begin the next iteration is to leave the block of this one, and to end is to leave the loop.
 */
function copied(type: number | undefined, body: readonly Instruction[], safepoint: readonly Instruction[]): Instruction[] {
  const result = [block(type), loop(type)];
  const inCopy = withLabels(body, 2);
  for (let copy = 1; copy < unrolling.iterations; copy += 1) result.push(block(), ...inCopy, branch(2), end);
  result.push(...safepoint, ...withLabels(body, 1), end, end);
  return result;
}

/** A loop's body with more blocks around the loop: labels past the loop go so much further. */
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
 * A loop that counts does so in stretches (strip mining), each paid for before it begins, and nothing is added to its iterations:
 * `loop stretch; if index compare limit: stop = limit, or what comes before it; safepoint; loop … stop …; to stretch; end; end`,
 * or, where it tests last, `loop stretch; stop = …; safepoint; loop … stop …; if index is not limit, to stretch; end`.
 */
function openStretches(counted: CountedLoop, stop: number, work: number, payment: ChargeMode): Instruction[] {
  const prepare = prepareStretch(counted, stop, work, payment);
  if (counted.form === 'until') return [loop(), ...prepare, loop()];
  const { index, limit, compare, exit } = counted;
  const enter = exit === null ? [localGet(index), limit, plain(compare), ifBlock()] : exit;
  return [loop(), ...enter, ...prepare, loop(), localGet(index), localGet(stop), plain(compare), ifBlock()];
}

function closeStretches(counted: CountedLoop, stop: number): Instruction[] {
  const { form, index, limit, step } = counted;
  if (form === 'while') {
    const inner = [branch(1), end, end];
    return counted.exit === null ? [...inner, branch(1), end, end] : [...inner, branch(0), end];
  }
  const change = [localGet(index), i32Const(step), plain('i32.add'), localTee(index)];
  return [...change, localGet(stop), plain('i32.ne'), branchIf(0), end, localGet(index), limit, plain('i32.ne'), branchIf(0), end];
}

/** Sets `stop` to where the next stretch ends, and pays for it. */
function prepareStretch(counted: CountedLoop, stop: number, work: number, payment: ChargeMode): Instruction[] {
  const { form, index, step } = counted;
  const size = Math.abs(step);
  const shorten = (longest: number) => [
    localTee(stop),
    i32Const(longest),
    plain('i32.gt_u'),
    ifBlock(),
    i32Const(longest),
    localSet(stop),
    end,
  ];
  const move = (length: readonly Instruction[]) => [localGet(index), ...length, plain(step > 0 ? 'i32.add' : 'i32.sub'), localSet(stop)];
  if (form === 'while') {
    // Counted in what the index moves.
    const workOfOne = Math.ceil(work / size);
    const payStretch = charge([localGet(stop), i32Const(workOfOne), plain('i32.mul')], payment);
    return [
      ...remainingDistance(counted),
      ...shorten(Math.max(1, Math.floor(stretchWork / workOfOne))),
      ...payStretch,
      ...move([localGet(stop)]),
    ];
  }
  // Counted in iterations: the last is the first that meets the limit or goes past it. A distance of 0 is one of 2^32.
  const workOfOne = Math.max(1, work);
  const between = [
    ...remainingDistance(counted),
    i32Const(1),
    plain('i32.sub'),
    ...(size === 1 ? [] : [i32Const(size), plain('i32.div_u')]),
  ];
  const longest = Math.max(1, Math.floor(stretchWork / workOfOne));
  return [
    ...between,
    ...shorten(longest - 1),
    localGet(stop),
    i32Const(1),
    plain('i32.add'),
    localSet(stop),
    ...charge([localGet(stop), i32Const(workOfOne), plain('i32.mul')], payment),
    ...move(size === 1 ? [localGet(stop)] : [localGet(stop), i32Const(size), plain('i32.mul')]),
  ];
}
