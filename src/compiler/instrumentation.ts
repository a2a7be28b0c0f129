// Adds safepoints to a module: in every loop, in every cycle of calls, in long straight code, and inside bulk instructions.

import { call, type Instruction, opcodes } from './binary/instruction.ts';
import { decodeBody, encodeInstructions } from './binary/instruction-codec.ts';
import { type FunctionBody, importsOf, type LocalRun, type Module } from './binary/module.ts';
import { BulkOperations, bulkWork } from './bulk-operations.ts';
import { buildCallGraph, type CallGraph } from './call-graph.ts';
import { entryLimit, instructionWork, localsPerWork, unknownCallerLimit, unknownCallWork } from './cost-model.ts';
import { compilerLimits } from './limits.ts';
import { type CodeGrowthBudget, type FunctionPlan, planLoops } from './loop-plan.ts';
import { ModuleAdditions } from './module-additions.ts';
import { measurePaths, type PathWork } from './path-work.ts';
import { type ChargeMode, chargeConstant, insertSafepoints } from './safepoints.ts';

/** Levels of a recursion that share one safepoint. */
const recursionLevels = 8;
/** Maximum instructions of a function that is copied for this purpose. */
const copyLimit = 400;

/** V8 accepts 50,000 locals. A function that would exceed this number gets no locals for its loops. */
const localLimit = 45_000;

const functionByteLimit = compilerLimits.instrumentedFunctionBytes.value;

/** A function with its safepoints is too large for the engine. */
export class FunctionTooLargeError extends Error {
  override readonly name = 'FunctionTooLargeError';

  constructor(index: number, before: number, after: number) {
    super(
      `function ${index} has ${after} bytes with its safepoints (${before} without); the limit is ${functionByteLimit}: split it into several functions`,
    );
  }
}

export type InstrumentationOptions = {
  /** Functions, by index, that must not be interrupted, nor the functions that they call directly. Their fuel is charged, and their caller yields afterwards. */
  readonly uninterruptible?: ReadonlySet<number>;
  /** Whether the module is the driver of a program. No module calls a driver. */
  readonly isDriver?: boolean;
  /** Omits the safepoints and the code that only they need: a baseline for benchmarks. */
  readonly omitsSafepoints?: boolean;
};

/**
 * Returns the module with safepoints. Functions keep their indices, and new functions are appended. The code refers to the compiler's additions by the
 * placeholders of placeholders.ts. The work between two safepoints of interruptible code is bounded for every module.
 *
 * `memory.grow` stays one instruction: V8 grows a memory up to its maximum without touching it.
 * @throws {FunctionTooLargeError} if a function with its safepoints exceeds the engine's limit.
 */
export function instrument(module: Module, options: InstrumentationOptions = {}): Module {
  const instrumentation = new Instrumentation(module, options);
  return instrumentation.run();
}

/** A function that is being instrumented. */
type InstrumentedFunction = {
  readonly index: number;
  readonly body: FunctionBody;
  readonly instructions: readonly Instruction[];
  readonly plan: FunctionPlan;
  readonly paths: PathWork;
  readonly mode: ChargeMode;
};

class Instrumentation {
  readonly #module: Module;
  readonly #imports: number;
  readonly #graph: CallGraph;
  readonly #uninterruptible: Uint8Array;
  readonly #additions: ModuleAdditions;
  readonly #bulk: BulkOperations;
  readonly #omitsSafepoints: boolean;
  readonly #budget: CodeGrowthBudget = { left: compilerLimits.copiedInstructions.value };
  /** Work of a call of each function, besides the work that the function itself charges. */
  readonly #costs: Uint32Array;
  readonly #isDriver: boolean;

  constructor(module: Module, { uninterruptible = new Set(), isDriver = false, omitsSafepoints = false }: InstrumentationOptions) {
    this.#module = module;
    this.#imports = importsOf(module, 'function').length;
    this.#graph = buildCallGraph(module, isDriver);
    this.#uninterruptible = withCallees(module, uninterruptible, this.#graph, this.#imports);
    this.#additions = new ModuleAdditions(module);
    this.#omitsSafepoints = omitsSafepoints;
    this.#bulk = new BulkOperations(module, this.#additions);
    this.#costs = new Uint32Array(module.functions.length).fill(1);
    this.#isDriver = isDriver;
  }

  run(): Module {
    const functions = [...this.#module.functions];
    for (const position of this.#graph.order) {
      const body = functions[position];
      if (body !== undefined) functions[position] = this.#instrumentFunction(position, body);
    }
    return { ...this.#module, types: this.#additions.types.types, functions: [...functions, ...this.#additions.functions] };
  }

  #costOf(index: number): number {
    return index < this.#imports ? unknownCallWork : (this.#costs[index - this.#imports] ?? unknownCallWork);
  }

  #instrumentFunction(position: number, body: FunctionBody): FunctionBody {
    const instructions = decodeBody(body);
    const works = new Uint32Array(instructions.length);
    for (const [at, instruction] of instructions.entries()) {
      works[at] = bulkWork(instruction, instructions[at - 1]) ?? instructionWork(instruction, (index) => this.#costOf(index));
    }
    // The processor measures the calls of a driver from the safepoint before the first one.
    const planned = planLoops(instructions, works, { budget: this.#budget, chargesAtStart: this.#isDriver });
    const complete = this.#limitLocals(body, planned);
    const plan = this.#omitsSafepoints ? withoutStripMining(complete) : complete;
    const paths = measurePaths(instructions, works, plan);
    const mode = this.#omitsSafepoints ? 'none' : this.#uninterruptible[position] === 1 ? 'charge' : 'safepoint';
    const target: InstrumentedFunction = { index: position + this.#imports, body, instructions, plan, paths, mode };
    const isRecursive = this.#graph.needsEntrySafepoint[position] === 1;
    const limit = this.#graph.hasUnknownCallers[position] === 1 ? unknownCallerLimit : entryLimit;
    const maxWork = paths.maxWork + Math.floor(this.#localsOf(body) / localsPerWork);
    const chargesAtEntry = isRecursive || paths.safepointPositions.length > 0 || maxWork >= limit;
    if (!chargesAtEntry) this.#costs[position] = maxWork;
    const levels = this.#graph.callsItself[position] === 1 ? this.#copyLevels(target) : [];
    const ownCall = levels[0] ?? target.index;
    const entry = chargesAtEntry ? chargeConstant(Math.max(1, maxWork) * (levels.length + 1), mode) : [];
    return this.#write(target, entry, ownCall);
  }

  #limitLocals(body: FunctionBody, plan: FunctionPlan): FunctionPlan {
    if (this.#localsOf(body) + plan.locals <= localLimit) return plan;
    const loops = [...plan.loops].map(([start, loop]) =>
      loop.kind === 'strip-mined'
        ? ([start, { kind: 'per-iteration', backBranch: null, end: loop.end, work: loop.work }] as const)
        : ([start, loop] as const),
    );
    return { loops: new Map(loops), locals: 0 };
  }

  #localsOf({ type, locals }: FunctionBody): number {
    return locals.reduce((sum, { count }) => sum + count, this.#module.types[type]?.parameters.length ?? 0);
  }

  /**
   * Copies a function that calls itself, so that `recursionLevels` levels of the recursion share one safepoint: the function calls its first copy, each
   * copy the next, and the last copy the function again. Returns the indices of the copies; empty if the function is too large or the budget is used up.
   */
  #copyLevels(target: InstrumentedFunction): number[] {
    const added = target.instructions.length * (recursionLevels - 1);
    if (target.instructions.length > copyLimit || added > this.#budget.left) return [];
    this.#budget.left -= added;
    const levels: number[] = [];
    // From the last to the first, because each copy contains the index of the next.
    let next = target.index;
    for (let level = recursionLevels - 1; level >= 1; level -= 1) {
      next = this.#additions.addFunctionBody(this.#write(target, [], next));
      levels.unshift(next);
    }
    return levels;
  }

  /** Encodes a function with its safepoints. Calls of itself become calls of `ownCall`. */
  #write(
    { index: self, body, instructions, plan, paths, mode }: InstrumentedFunction,
    entry: readonly Instruction[],
    ownCall: number,
  ): FunctionBody {
    const replace = (instruction: Instruction, position: number): readonly Instruction[] | null => {
      if (instruction.op === opcodes.call && instruction.kind === 'function') {
        if (instruction.index === self) return ownCall === self ? null : [call(ownCall)];
        const hasCharged = mode === 'safepoint' && this.#uninterruptible[instruction.index - this.#imports] === 1;
        return hasCharged ? [instruction, ...chargeConstant(1, mode)] : null;
      }
      const bulk = mode === 'none' ? null : this.#bulk.replace(instruction, instructions[position - 1], mode);
      return bulk === null ? null : [bulk];
    };
    const firstLocal = this.#localsOf(body);
    const locals: LocalRun[] = plan.locals === 0 ? [...body.locals] : [...body.locals, { count: plan.locals, type: 'i32' }];
    const written = insertSafepoints(instructions, { plan, paths, firstLocal, mode, replace });
    const encoded = encodeInstructions(entry.length === 0 ? written : entry.concat(written));
    if (encoded.body.length > functionByteLimit) throw new FunctionTooLargeError(self, body.body.length, encoded.body.length);
    return { type: body.type, locals, ...encoded };
  }
}

function withoutStripMining({ loops }: FunctionPlan): FunctionPlan {
  return { loops: new Map([...loops].filter(([, { kind }]) => kind !== 'strip-mined')), locals: 0 };
}

/** Marks functions, by position, and all functions reachable from them by direct calls. */
function withCallees(module: Module, indices: ReadonlySet<number>, graph: CallGraph, imports: number): Uint8Array {
  const marked = new Uint8Array(module.functions.length);
  const pending: number[] = [];
  const mark = (position: number) => {
    if (position < 0 || position >= marked.length || marked[position] === 1) return;
    marked[position] = 1;
    pending.push(position);
  };
  for (const index of indices) mark(index - imports);
  for (let position = pending.pop(); position !== undefined; position = pending.pop()) {
    for (const callee of graph.calleesOf(position)) mark(callee);
  }
  return marked;
}
