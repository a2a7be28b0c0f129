// The errors that end a compilation: errors in the source, and exceptions that a library throws at one of its stages.

import type { CompileProblem, CompileResult, Diagnostic } from './result.ts';

/** The stages of a compilation at which a library can throw. */
export const stages = ['assemblyscript', 'parse', 'read', 'validate', 'check', 'optimize', 'assemble'] as const;
export type Stage = (typeof stages)[number];

/** Stages whose libraries have state that an exception leaves broken: binaryen's stack pointer, AssemblyScript's program. */
const statefulStages: ReadonlySet<Stage> = new Set(['assemblyscript', 'parse', 'optimize']);

const activities: Record<Stage, string> = {
  assemblyscript: 'compiling the AssemblyScript source',
  parse: 'parsing the text',
  read: 'reading the module',
  validate: 'validating the module',
  check: 'checking the module',
  optimize: 'optimizing the module',
  assemble: 'adding safepoints to the module',
};

/** The source cannot be compiled. The diagnostics give the reasons. */
export class CompileError extends Error {
  override readonly name = 'CompileError';
  readonly problem: CompileProblem;
  readonly diagnostics: readonly Diagnostic[];
  /** Whether the thread must not compile anything else, because a library was left in a broken state. */
  readonly breaksThread: boolean;

  constructor(problem: CompileProblem, diagnostics: readonly Diagnostic[], breaksThread = false) {
    super(diagnostics[0]?.message ?? problem);
    this.problem = problem;
    this.diagnostics = diagnostics;
    this.breaksThread = breaksThread;
  }
}

/** Creates a diagnostic about a source as a whole. */
export function createDiagnostic(message: string, severity: Diagnostic['severity'] = 'error'): Diagnostic {
  return { severity, message, file: null, line: null, column: null };
}

/** Returns the result of a compilation that was rejected for one reason. */
export function rejectedResult(problem: CompileProblem, message: string): Extract<CompileResult, { ok: false }> {
  return { ok: false, problem, diagnostics: [createDiagnostic(message)] };
}

/**
 * Runs one stage of a compilation.
 * @throws {CompileError} if the stage throws: its own `CompileError`, or one that describes any other exception.
 */
export async function runStage<Result>(stage: Stage, run: () => Result | Promise<Result>): Promise<Result> {
  try {
    if (fault === stage) throw new Error(`injected at ${stage}`);
    return await run();
  } catch (error) {
    throw error instanceof CompileError ? error : stageError(stage, error);
  }
}

let fault: Stage | null = null;

/** Makes the given stage fail in this thread from now on; for tests. */
export function injectFault(stage: Stage): void {
  fault = stage;
}

/** Returns whether an error is a stack overflow of V8, or of binaryen's own stack, which lies at the beginning of its memory. */
const isStackOverflow = (error: unknown) =>
  (error instanceof RangeError && /call stack/.test(error.message)) ||
  (error instanceof WebAssembly.RuntimeError && /memory access out of bounds/.test(error.message));

function stageError(stage: Stage, error: unknown): CompileError {
  const activity = activities[stage];
  const breaksThread = statefulStages.has(stage);
  if (isStackOverflow(error)) {
    const message = `the source nests too deeply: the compiler's stack overflowed while ${activity}; split large expressions and functions`;
    return new CompileError('too-costly', [createDiagnostic(message)], breaksThread);
  }
  const message = `the compiler failed while ${activity}: ${messageOf(error)}; report this as a bug; changing or splitting the module may avoid the failure`;
  return new CompileError('unsupported', [createDiagnostic(message)], breaksThread);
}

/** Returns the message of a thrown value, at most 500 characters. binaryen throws objects that are not errors. */
export function messageOf(error: unknown): string {
  const message = typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : String(error);
  return message.slice(0, 500);
}
