// One compilation: a module or a driver, from its request to its result.

import { digestOf } from '../machine/digest.ts';
import { assemble } from './assemble.ts';
import { decodeModule } from './binary/reader.ts';
import { type DriverRequest, driverBinary, driverStubs, driverText } from './driver.ts';
import { CompileError, finding, runStage } from './failure.ts';
import { type CheckedModule, readSource } from './front-end.ts';
import { nameFaults } from './module-rules.ts';
import type { CompiledImage, CompileRequest, CompileResult } from './result.ts';

export type Compilation = ({ readonly kind: 'module' } & CompileRequest) | ({ readonly kind: 'driver' } & DriverRequest);

/** What a worker thread returns. */
export type CompilationResult = {
  readonly result: CompileResult;
  /** Whether the thread must not compile anything else: a library was left in a broken state. */
  readonly breaksThread: boolean;
};

/** Runs a compilation. Anything thrown becomes a diagnostic. */
export async function compile(compilation: Compilation): Promise<CompilationResult> {
  try {
    return compilation.kind === 'module' ? await compileModule(compilation) : { result: compileDriver(compilation), breaksThread: false };
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    return { result: { ok: false, problem: error.problem, diagnostics: error.diagnostics }, breaksThread: error.breaksThread };
  }
}

async function compileModule(request: CompileRequest): Promise<CompilationResult> {
  const { breaksThread, ...checked } = await readSource(request);
  return { result: await runStage('assemble', () => assembleChecked(request, checked)), breaksThread };
}

function assembleChecked(request: CompileRequest, checked: Omit<CheckedModule, 'breaksThread'>): CompileResult {
  const sourceDigest = digestOf(request.source);
  const { module, version } = request;
  const { stackPointer, ...expectations } = checked.expectations;
  const assembled = assemble({
    kind: 'module',
    module,
    version,
    compiler: checked.compiler,
    sourceDigest,
    code: checked.module,
    ...expectations,
    stubs: { served: null, pinned: null, stackPointer },
  });
  if (!assembled.ok) return { ok: false, problem: 'unsupported', diagnostics: assembled.reasons.map((reason) => finding(reason)) };
  const warnings = [...checked.warnings, ...assembled.warnings.map((warning) => finding(warning, 'warning'))];
  return { ok: true, compiled: compiled(assembled, sourceDigest, checked.compiler), warnings };
}

function compileDriver(request: DriverRequest): CompileResult {
  const text = driverText(request);
  const sourceDigest = digestOf(text);
  const compiler = 'patchbay';
  const code = decodeModule(driverBinary(text));
  const faults = nameFaults(code);
  if (faults.length > 0) return { ok: false, problem: 'unsupported', diagnostics: faults.map((fault) => finding(fault)) };
  const assembled = assemble({
    kind: 'driver',
    module: request.module,
    version: '1.0.0',
    compiler,
    sourceDigest,
    code,
    stubs: driverStubs(request),
    stack: null,
    concurrency: 'shared',
    collector: null,
  });
  if (!assembled.ok) return { ok: false, problem: 'unsupported', diagnostics: assembled.reasons.map((reason) => finding(reason)) };
  return { ok: true, compiled: compiled(assembled, sourceDigest, compiler), warnings: [] };
}

function compiled(
  assembled: { image: Uint8Array; interface: CompiledImage['interface'] },
  sourceDigest: string,
  compiler: string,
): CompiledImage {
  const { image } = assembled;
  return { image, digest: digestOf(image), sourceDigest, compiler, interface: assembled.interface };
}
