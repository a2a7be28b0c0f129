// Runs one compilation, of a module or a driver, from its request to its result.

import { digestOf } from '../machine/digest.ts';
import { assemble } from './assembler.ts';
import { decodeModule } from './binary/reader.ts';
import { CompileError, createDiagnostic, runStage } from './compile-error.ts';
import { assembleDriver, type DriverRequest, driverStubOptions, generateDriverText } from './driver.ts';
import { type CheckedModule, runFrontEnd } from './front-end.ts';
import { checkNames } from './module-rules.ts';
import type { CompiledImage, CompileRequest, CompileResult } from './result.ts';

export type Compilation = ({ readonly kind: 'module' } & CompileRequest) | ({ readonly kind: 'driver' } & DriverRequest);

/** The result that a worker thread returns. */
export type CompilationResult = {
  readonly result: CompileResult;
  /** Whether the thread must not compile anything else, because a library was left in a broken state. */
  readonly breaksThread: boolean;
};

/** Runs a compilation. A `CompileError` becomes a result with diagnostics. */
export async function compile(compilation: Compilation): Promise<CompilationResult> {
  try {
    return compilation.kind === 'module' ? await compileModule(compilation) : { result: compileDriver(compilation), breaksThread: false };
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    return { result: { ok: false, problem: error.problem, diagnostics: error.diagnostics }, breaksThread: error.breaksThread };
  }
}

async function compileModule(request: CompileRequest): Promise<CompilationResult> {
  const { breaksThread, ...checked } = await runFrontEnd(request);
  return { result: await runStage('assemble', () => assembleChecked(request, checked)), breaksThread };
}

function assembleChecked(request: CompileRequest, checked: Omit<CheckedModule, 'breaksThread'>): CompileResult {
  const sourceDigest = digestOf(request.source);
  const { module, version, dependencies = {} } = request;
  const { stackPointer, ...expectations } = checked.requirements;
  const assembled = assemble({
    kind: 'module',
    module,
    version,
    compiler: checked.compiler,
    sourceDigest,
    source: checked.module,
    dependencies,
    ...expectations,
    stubs: { servedGlobal: null, pinnedGlobals: null, stackPointer },
  });
  if (!assembled.ok) return { ok: false, problem: 'unsupported', diagnostics: assembled.reasons.map((reason) => createDiagnostic(reason)) };
  const warnings = [...checked.warnings, ...assembled.warnings.map((warning) => createDiagnostic(warning, 'warning'))];
  return { ok: true, compiled: toCompiledImage(assembled, sourceDigest, checked.compiler), warnings };
}

function compileDriver(request: DriverRequest): CompileResult {
  const text = generateDriverText(request);
  const sourceDigest = digestOf(text);
  const compiler = 'patchbay';
  const code = decodeModule(assembleDriver(text));
  const faults = checkNames(code);
  if (faults.length > 0) return { ok: false, problem: 'unsupported', diagnostics: faults.map((fault) => createDiagnostic(fault)) };
  const assembled = assemble({
    kind: 'driver',
    module: request.module,
    version: '1.0.0',
    compiler,
    sourceDigest,
    source: code,
    stubs: driverStubOptions(request),
    stack: null,
    concurrency: 'shared',
    dependencies: {},
    collector: null,
  });
  if (!assembled.ok) return { ok: false, problem: 'unsupported', diagnostics: assembled.reasons.map((reason) => createDiagnostic(reason)) };
  return { ok: true, compiled: toCompiledImage(assembled, sourceDigest, compiler), warnings: [] };
}

function toCompiledImage(
  assembled: { image: Uint8Array; interface: CompiledImage['interface']; hasState: boolean },
  sourceDigest: string,
  compiler: string,
): CompiledImage {
  const { image, hasState } = assembled;
  return { image, digest: digestOf(image), sourceDigest, compiler, interface: assembled.interface, hasState };
}
