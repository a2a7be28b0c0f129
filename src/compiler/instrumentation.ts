// Adds safepoints to a module: in every loop, where recursion would else never meet one, in long code, and within long instructions.

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

/** Levels of a recursion for one safepoint, and instructions of a function that is copied for it. */
const recursionLevels = 8;
const copyLimit = 400;

/** V8 accepts 50,000 locals; a function with more than this gets none from its loops. */
const localLimit = 45_000;

const functionByteLimit = compilerLimits.instrumentedFunctionBytes.value;

/** A function is too large for the engine when its safepoints are in it. */
export class FunctionTooLargeError extends Error {
  override readonly name = 'FunctionTooLargeError';

  constructor(index: number, before: number, after: number) {
    super(
      `function ${index} is ${before} bytes, and ${after} bytes with its safepoints; the limit is ${functionByteLimit}: split it into several functions`,
    );
  }
}

export type InstrumentationOptions = {
  /**
   * Functions, by index, that must not be interrupted, with all that they call directly: what they do is charged, and paid for when they have
   * returned.
   */
  readonly uninterruptible?: ReadonlySet<number>;
  /** Whether the module is the driver of a program, which no module calls. */
  readonly isDriver?: boolean;
  /** Leaves out the safepoints themselves, and what only they need: the same code otherwise, as a baseline for benchmarks. */
  readonly omitsSafepoints?: boolean;
};

/**
 * Returns the module with safepoints. Functions keep their indices and new ones are appended; what the compiler adds is referred to by the
 * placeholders of placeholders.ts. Between two safepoints of code that may be interrupted there is bounded work, whatever the module does.
 *
 * `memory.grow` stays one instruction: V8 grows a memory up to its maximum without touching it.
 * @throws {FunctionTooLargeError} when a function is past the engine's limit with its safepoints.
 */
export function instrument(module: Module, options: InstrumentationOptions = {}): Module {
  const instrumentation = new Instrumentation(module, options);
  return instrumentation.run();
}

/** A function while it is instrumented. */
type Work = {
  readonly index: number;
  readonly body: FunctionBody;
  readonly instructions: readonly Instruction[];
  readonly plan: FunctionPlan;
  readonly paths: PathWork;
  readonly payment: ChargeMode;
};

class Instrumentation {
  readonly #module: Module;
  readonly #imports: number;
  readonly #graph: CallGraph;
  readonly #unsuspendable: Uint8Array;
  readonly #additions: ModuleAdditions;
  readonly #bulk: BulkOperations;
  readonly #omitsSafepoints: boolean;
  readonly #budget: CodeGrowthBudget = { left: compilerLimits.copiedInstructions.value };
  /** What a call of each function costs, besides what it pays for itself. */
  readonly #costs: Uint32Array;
  readonly #isDriver: boolean;

  constructor(
    module: Module,
    { uninterruptible: unsuspendable = new Set(), isDriver = false, omitsSafepoints = false }: InstrumentationOptions,
  ) {
    this.#module = module;
    this.#imports = importsOf(module, 'function').length;
    this.#graph = buildCallGraph(module, isDriver);
    this.#unsuspendable = withCallees(module, unsuspendable, this.#graph, this.#imports);
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
    // The processor measures a driver's calls from the safepoint before the first.
    const planned = planLoops(instructions, works, { budget: this.#budget, chargesAtStart: this.#isDriver });
    const complete = this.#limitLocals(body, planned);
    const plan = this.#omitsSafepoints ? withoutStretches(complete) : complete;
    const paths = measurePaths(instructions, works, plan);
    const payment = this.#omitsSafepoints ? 'none' : this.#unsuspendable[position] === 1 ? 'charge' : 'safepoint';
    const work: Work = { index: position + this.#imports, body, instructions, plan, paths, payment };
    const isRecursive = this.#graph.needsEntrySafepoint[position] === 1;
    const limit = this.#graph.hasUnknownCallers[position] === 1 ? unknownCallerLimit : entryLimit;
    const most = paths.maxWork + Math.floor(this.#localsOf(body) / localsPerWork);
    const pays = isRecursive || paths.safepointPositions.length > 0 || most >= limit;
    if (!pays) this.#costs[position] = most;
    const levels = this.#graph.callsItself[position] === 1 ? this.#copyLevels(work) : [];
    const ownCall = levels[0] ?? work.index;
    const entry = pays ? chargeConstant(Math.max(1, most) * (levels.length + 1), payment) : [];
    return this.#write(work, entry, ownCall);
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
   * Copies a function that calls itself, so that only the first of some levels of the recursion has the safepoint: the function calls its first
   * copy, each copy the next, and the last the function again. Returns the copies' indices.
   */
  #copyLevels(work: Work): number[] {
    const added = work.instructions.length * (recursionLevels - 1);
    if (work.instructions.length > copyLimit || added > this.#budget.left) return [];
    this.#budget.left -= added;
    const levels: number[] = [];
    // From the last, as each is written with the index of the next.
    let next = work.index;
    for (let level = recursionLevels - 1; level >= 1; level -= 1) {
      next = this.#additions.addFunctionBody(this.#write(work, [], next));
      levels.unshift(next);
    }
    return levels;
  }

  /** Writes a function with its safepoints; calls of itself become calls of `ownCall`. */
  #write({ index: self, body, instructions, plan, paths, payment }: Work, entry: readonly Instruction[], ownCall: number): FunctionBody {
    const replace = (instruction: Instruction, position: number): readonly Instruction[] | null => {
      if (instruction.op === opcodes.call && instruction.kind === 'function') {
        if (instruction.index === self) return ownCall === self ? null : [call(ownCall)];
        const hasCharged = payment === 'safepoint' && this.#unsuspendable[instruction.index - this.#imports] === 1;
        return hasCharged ? [instruction, ...chargeConstant(1, payment)] : null;
      }
      const bulk = payment === 'none' ? null : this.#bulk.replace(instruction, instructions[position - 1], payment);
      return bulk === null ? null : [bulk];
    };
    const firstLocal = this.#localsOf(body);
    const locals: LocalRun[] = plan.locals === 0 ? [...body.locals] : [...body.locals, { count: plan.locals, type: 'i32' }];
    const written = insertSafepoints(instructions, { plan, paths, firstLocal, mode: payment, replace });
    const encoded = encodeInstructions(entry.length === 0 ? written : entry.concat(written));
    if (encoded.body.length > functionByteLimit) throw new FunctionTooLargeError(self, body.body.length, encoded.body.length);
    return { type: body.type, locals, ...encoded };
  }
}

function withoutStretches({ loops }: FunctionPlan): FunctionPlan {
  return { loops: new Map([...loops].filter(([, { kind }]) => kind !== 'strip-mined')), locals: 0 };
}

/** Marks functions, by position, and all that they call directly. */
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
