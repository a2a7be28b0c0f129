// A module in any of the languages → a checked and optimized module, or what is wrong with it.

import { type Module, UnacceptedFeatureError } from './binary/module.ts';
import { decodeModule } from './binary/reader.ts';
import { encodeModule } from './binary/writer.ts';
import { acceptedFeatures, type BinaryenModule, binaryen, findErrors, parseText, TextError } from './binaryen.ts';
import type { CompileProblem, CompileRequest, Diagnostic } from './result.ts';
import { type Expectations, expect, exportToolchain, readToolchain } from './toolchain.ts';

export type Checked =
  | {
      readonly ok: true;
      readonly module: Module;
      readonly compiler: string;
      readonly warnings: readonly Diagnostic[];
      readonly expectations: Expectations;
    }
  | { readonly ok: false; readonly problem: CompileProblem; readonly diagnostics: readonly Diagnostic[] };

/** Read when the thread starts, while files can be opened; the other languages need not wait for it. */
const assemblyScript = import('./assemblyscript.ts');
// A failed import is reported by the compilation that awaits it.
assemblyScript.catch(() => {});

/** Reads the source by its language, checks that a device can run it, and optimises it. */
export async function readSource(request: CompileRequest): Promise<Checked> {
  switch (request.language) {
    case 'assemblyscript': {
      const { compileAssemblyScript } = await assemblyScript;
      const compiled = await compileAssemblyScript(request.module, textOf(request.source));
      if (!compiled.ok) return { ok: false, problem: 'malformed-source', diagnostics: compiled.diagnostics };
      return check(compiled.binary, compiled.compiler, compiled.warnings, request);
    }
    case 'wat':
      return readText(request, textOf(request.source));
    case 'wasm':
      return typeof request.source === 'string'
        ? { ok: false, problem: 'not-webassembly', diagnostics: [finding('a prebuilt module is given as bytes, not as text')] }
        : check(request.source, binaryenName, [], request);
  }
}

const binaryenName = 'binaryen 131';

const textOf = (source: string | Uint8Array) => (typeof source === 'string' ? source : new TextDecoder().decode(source));

function finding(message: string, place?: { file: string; line: number | null; column: number | null }): Diagnostic {
  return { severity: 'error', message, file: place?.file ?? null, line: place?.line ?? null, column: place?.column ?? null };
}

function readText(request: CompileRequest, text: string): Checked {
  const file = `${request.module}.wat`;
  let module: BinaryenModule | undefined;
  try {
    module = parseText(text);
    const errors = findErrors(module, binaryen.Features.All);
    if (errors.length > 0)
      return {
        ok: false,
        problem: 'malformed-source',
        diagnostics: errors.map((error) => finding(error, { file, line: null, column: null })),
      };
    return check(module.emitBinary(), binaryenName, [], request);
  } catch (error) {
    if (!(error instanceof TextError)) throw error;
    return {
      ok: false,
      problem: 'malformed-source',
      diagnostics: [finding(error.message, { file, line: error.line, column: error.column })],
    };
  } finally {
    module?.dispose();
  }
}

function check(bytes: Uint8Array, compiler: string, warnings: readonly Diagnostic[], request: CompileRequest): Checked {
  try {
    // The engine says what is wrong and where; binaryen's reader expects a valid module.
    new WebAssembly.Module(new Uint8Array(bytes));
  } catch (error) {
    return { ok: false, problem: 'not-webassembly', diagnostics: [finding(error instanceof Error ? error.message : String(error))] };
  }
  let original: Module;
  try {
    original = decodeModule(bytes);
  } catch (error) {
    if (!(error instanceof UnacceptedFeatureError)) throw error;
    return unsupported([error.message]);
  }
  const toolchain = readToolchain(original);
  if (toolchain.reasons.length > 0) return unsupported(toolchain.reasons);
  const module = binaryen.readBinary(encodeModule(exportToolchain(original, toolchain)));
  try {
    const errors = findErrors(module, acceptedFeatures);
    if (errors.length > 0) return unsupported(errors.map((error) => `not for a device: ${error}`));
    binaryen.setOptimizeLevel(2);
    binaryen.setShrinkLevel(0);
    module.optimize();
    return { ok: true, compiler, warnings, ...expect(decodeModule(module.emitBinary()), toolchain, request) };
  } finally {
    module.dispose();
  }
}

function unsupported(reasons: readonly string[]): Checked {
  return { ok: false, problem: 'unsupported', diagnostics: reasons.map((reason) => finding(reason)) };
}
