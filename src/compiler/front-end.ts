// A module in any of the languages → a checked and optimized module, or what is wrong with it.

import type { Module } from './binary/module.ts';
import { decodeModule } from './binary/reader.ts';
import { acceptedFeatures, type BinaryenModule, binaryen, findErrors, parseText, TextError } from './binaryen.ts';
import type { CompileProblem, CompileRequest, Diagnostic } from './result.ts';

export type Checked =
  | { readonly ok: true; readonly module: Module; readonly compiler: string; readonly warnings: readonly Diagnostic[] }
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
      return check(compiled.binary, compiled.compiler, compiled.warnings);
    }
    case 'wat':
      return readText(request.module, textOf(request.source));
    case 'wasm':
      return typeof request.source === 'string'
        ? { ok: false, problem: 'not-webassembly', diagnostics: [finding('a prebuilt module is given as bytes, not as text')] }
        : check(request.source, binaryenName, []);
  }
}

const binaryenName = 'binaryen 131';

const textOf = (source: string | Uint8Array) => (typeof source === 'string' ? source : new TextDecoder().decode(source));

function finding(message: string, place?: { file: string; line: number | null; column: number | null }): Diagnostic {
  return { severity: 'error', message, file: place?.file ?? null, line: place?.line ?? null, column: place?.column ?? null };
}

function readText(name: string, text: string): Checked {
  const file = `${name}.wat`;
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
    return checkModule(module, binaryenName, []);
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

function check(bytes: Uint8Array, compiler: string, warnings: readonly Diagnostic[]): Checked {
  try {
    // The engine says what is wrong and where; binaryen's reader expects a valid module.
    new WebAssembly.Module(new Uint8Array(bytes));
  } catch (error) {
    return { ok: false, problem: 'not-webassembly', diagnostics: [finding(error instanceof Error ? error.message : String(error))] };
  }
  const module = binaryen.readBinary(bytes);
  try {
    return checkModule(module, compiler, warnings);
  } finally {
    module.dispose();
  }
}

function checkModule(module: BinaryenModule, compiler: string, warnings: readonly Diagnostic[]): Checked {
  const errors = findErrors(module, acceptedFeatures);
  if (errors.length > 0)
    return { ok: false, problem: 'unsupported', diagnostics: errors.map((error) => finding(`not for a device: ${error}`)) };
  binaryen.setOptimizeLevel(2);
  binaryen.setShrinkLevel(0);
  module.optimize();
  return { ok: true, module: decodeModule(module.emitBinary()), compiler, warnings };
}
