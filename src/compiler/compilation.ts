// One compilation, as a compiler's worker thread runs it.

import { digestOf } from '../machine/image.ts';
import { assemble } from './assemble.ts';
import { decodeModule } from './binary/reader.ts';
import { type DriverRequest, driverBinary, driverStubs, driverText } from './driver.ts';
import { readSource } from './front-end.ts';
import type { CompiledImage, CompileRequest, CompileResult, Diagnostic } from './result.ts';

export type Compilation = ({ readonly kind: 'module' } & CompileRequest) | ({ readonly kind: 'driver' } & DriverRequest);

/** Compiles what is asked for; piscina's worker calls the default export. */
export default async function compile(compilation: Compilation): Promise<CompileResult> {
  return compilation.kind === 'module' ? compileModule(compilation) : compileDriver(compilation);
}

async function compileModule(request: CompileRequest): Promise<CompileResult> {
  const checked = await readSource(request);
  if (!checked.ok) return checked;
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
  if (!assembled.ok) return { ok: false, problem: 'unsupported', diagnostics: assembled.reasons.map((reason) => finding('error', reason)) };
  const warnings = [...checked.warnings, ...assembled.warnings.map((warning) => finding('warning', warning))];
  return { ok: true, compiled: compiled(assembled, sourceDigest, checked.compiler), warnings };
}

function compileDriver(request: DriverRequest): CompileResult {
  const text = driverText(request);
  const sourceDigest = digestOf(text);
  const compiler = 'patchbay';
  const assembled = assemble({
    kind: 'driver',
    module: request.module,
    version: '1.0.0',
    compiler,
    sourceDigest,
    code: decodeModule(driverBinary(text)),
    stubs: driverStubs(request),
    stack: null,
    concurrency: 'shared',
    collector: null,
  });
  if (!assembled.ok) return { ok: false, problem: 'unsupported', diagnostics: assembled.reasons.map((reason) => finding('error', reason)) };
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

function finding(severity: Diagnostic['severity'], message: string): Diagnostic {
  return { severity, message, file: null, line: null, column: null };
}
