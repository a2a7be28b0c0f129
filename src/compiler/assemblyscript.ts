// Compiles AssemblyScript to WebAssembly and returns the messages of its compiler as diagnostics.

import type { APIOptions } from 'assemblyscript/asc';
import { decodeModule } from './binary/reader.ts';
import asc from './generated/asc.js';
import type { SourceFeature } from './languages.ts';
import type { Diagnostic } from './result.ts';
import { accessesGrowMemory, runtimeExports } from './toolchain.ts';

type Compiled =
  | { readonly ok: true; readonly binary: Uint8Array; readonly compiler: string; readonly warnings: readonly Diagnostic[] }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

/** Diagnostics returned for one source, at most. */
const diagnosticLimit = 50;

/** Compiles one file. It may import the standard library only; a function of another module is declared with `@external`. */
export async function compileAssemblyScript(name: string, source: string, features: readonly SourceFeature[]): Promise<Compiled> {
  const enabled = features.flatMap((feature) => ['--enable', feature]);
  // A module whose accesses do not allocate needs no collector: memory that its globals allocate is never freed. `stub` has no collector.
  // The front end optimizes once for all languages, so this compilation does not.
  const compiled = await compileWith(name, source, [...enabled, '--runtime', 'stub', '-O0']);
  if (!compiled.ok) return compiled;
  const module = decodeModule(compiled.binary);
  const reserved = module.exports.find(({ name }) => runtimeExports.has(name));
  if (reserved !== undefined) return { ok: false, diagnostics: [reservedExport(reserved.name, `${name}.ts`)] };
  if (!accessesGrowMemory(module)) return compiled;
  // Optimized, because the parts of the runtime are recognized in their optimized form.
  return compileWith(name, source, [...enabled, '--runtime', 'minimal', '--exportRuntime', '-O2']);
}

function reservedExport(name: string, file: string): Diagnostic {
  return {
    severity: 'error',
    message: `the export "${name}" uses a name reserved for AssemblyScript's runtime: rename it`,
    file,
    line: null,
    column: null,
  };
}

async function compileWith(name: string, source: string, flags: readonly string[]): Promise<Compiled> {
  const file = `${name}.ts`;
  const diagnostics: Diagnostic[] = [];
  let binary: Uint8Array | null = null;
  const options = [file, '--outFile', 'image.wasm', ...flags, '--use', 'abort=', '--noExportMemory'];
  const { error, stderr } = await asc.main(options, {
    readFile: (path) => (path === file ? source : null),
    writeFile: (_path, contents) => {
      if (typeof contents !== 'string') binary = contents;
    },
    listFiles: () => [],
    reportDiagnostic: (found) => {
      if (diagnostics.length < diagnosticLimit) diagnostics.push(toDiagnostic(found, file, source));
    },
  });
  if (error === null && binary !== null) return { ok: true, binary, compiler: `assemblyscript ${asc.version}`, warnings: diagnostics };
  if (!diagnostics.some(({ severity }) => severity === 'error')) {
    const message = error?.message ?? stderr.toString().slice(0, 1_000);
    diagnostics.push({ severity: 'error', message, file, line: null, column: null });
  }
  return { ok: false, diagnostics };
}

type AscDiagnostic = Parameters<NonNullable<APIOptions['reportDiagnostic']>>[0];

/** The category number of errors in AssemblyScript's compiler. */
const errorCategory = 3;

/** Returns the compiler's message; for a disabled SIMD instruction, with how to enable SIMD. */
function messageOf({ message }: AscDiagnostic): string {
  return message.startsWith("Feature 'simd' is not enabled")
    ? 'Feature \'simd\' is not enabled: push the build with the feature "simd" (--enable simd)'
    : message;
}

function toDiagnostic(found: AscDiagnostic, file: string, source: string): Diagnostic {
  const { range } = found;
  // Ranges are offsets into the text, which is known for the module's own file only.
  const before = range?.source.normalizedPath === file ? source.slice(0, range.start).split('\n') : null;
  return {
    severity: found.category === errorCategory ? 'error' : 'warning',
    message: messageOf(found).slice(0, 500),
    file: range?.source.normalizedPath ?? null,
    line: before?.length ?? null,
    column: before === null ? null : (before.at(-1) ?? '').length + 1,
  };
}
