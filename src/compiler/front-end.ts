// The front end: compiles a source of any language to a checked and optimized module, or to diagnostics.

import { importsOf, MalformedModuleError, type Module, UnsupportedFeatureError } from './binary/module.ts';
import { decodeModule } from './binary/reader.ts';
import { encodeModule } from './binary/writer.ts';
import { binaryen, imageFeatures, parseText, TextError, validateModule } from './binaryen.ts';
import { CompileError, createDiagnostic, runStage } from './compile-error.ts';
import { findExportPlace } from './export-place.ts';
import { bracketNesting, decodeSource, detectWrongFormat } from './input-format.ts';
import type { SourceFeature, SourceLanguage } from './languages.ts';
import { formatLimit, limitExceededMessage, compilerLimits as limits } from './limits.ts';
import { checkModule, functionName, type LifecycleFault } from './module-rules.ts';
import { type Optimized, optimize } from './optimizer.ts';
import type { CompileRequest, Diagnostic } from './result.ts';
import {
  addMachineExports,
  detectRequirements,
  type ImageRequirements,
  resolveImageRequirements,
  type ToolchainRequirements,
} from './toolchain.ts';

export type CheckedModule = {
  readonly module: Module;
  readonly compiler: string;
  readonly warnings: readonly Diagnostic[];
  readonly requirements: ImageRequirements;
  /** Whether the thread must not compile anything else, because a library was left in a broken state. */
  readonly breaksThread: boolean;
};

/** Imported when the thread starts, because later the process may be unable to open files. Other languages do not wait for the import. */
const assemblyScript = import('./assemblyscript.ts');
// A failed import is reported by the compilation that awaits it.
assemblyScript.catch(() => {});

/**
 * Compiles the source to a module, checks that a device can run it, and optimizes it.
 * @throws {CompileError}
 */
export async function runFrontEnd(request: CompileRequest): Promise<CheckedModule> {
  const { binary, compiler, warnings } = await compileToBinary(request);
  const module = await runStage('read', () => decode(binary));
  // Decoding drops custom sections, so that their content never makes a module invalid.
  await runStage('validate', () => validate(encodeModule(module)));
  const checked = await runStage('check', () => check(module, request));
  const { optimized, failure } =
    request.optimize === false ? unoptimized(checked.module, null) : await optimizeChecked(checked.module, checked.nesting);
  const resolved = await runStage('check', () => resolveImageRequirements(optimized.module, checked.toolchain, request));
  return {
    compiler,
    warnings: [
      ...warnings,
      ...checked.warnings,
      ...(failure === null ? [] : failure.diagnostics.map(toWarning)),
      ...(request.language === 'wasm' ? exclusiveWarning(checked.toolchain, request) : skippedWarning(checked.module, optimized)),
    ],
    module: resolved.module,
    requirements: resolved.requirements,
    breaksThread: failure?.breaksThread ?? false,
  };
}

type Binary = { readonly binary: Uint8Array; readonly compiler: string; readonly warnings: readonly Diagnostic[] };

async function compileToBinary(request: CompileRequest): Promise<Binary> {
  const { language, source, module, features = [] } = request;
  const fault = detectWrongFormat(language, source);
  if (fault !== null) throw new CompileError(language === 'wasm' ? 'not-webassembly' : 'malformed-source', [createDiagnostic(fault)]);
  if (language === 'wasm') return { binary: toBytes(source), compiler: binaryenName, warnings: [] };
  const text = decodeSource(source);
  const nesting = bracketNesting(language, text);
  if (nesting > limits.textNesting.value)
    throw new CompileError('malformed-source', [
      createDiagnostic(
        limitExceededMessage('the brackets of the source nest', nesting, limits.textNesting, 'split the expression or function'),
      ),
    ]);
  return frontEnds[language](module, text, features);
}

type FrontEnd = (module: string, text: string, features: readonly SourceFeature[]) => Promise<Binary>;

const frontEnds: Readonly<Record<SourceLanguage, FrontEnd>> = {
  wat: (module, text) => runStage('parse', () => assembleText(`${module}.wat`, text)),
  assemblyscript: async (module, text, features) => {
    const { compileAssemblyScript } = await assemblyScript;
    const compiled = await runStage('assemblyscript', () => compileAssemblyScript(module, text, features));
    if (!compiled.ok) throw new CompileError('malformed-source', compiled.diagnostics);
    return compiled;
  },
};

const binaryenName = 'binaryen 132';

const toBytes = (source: string | Uint8Array) => (typeof source === 'string' ? new TextEncoder().encode(source) : source);

/** Assembles WebAssembly's text format. */
function assembleText(file: string, text: string): Binary {
  try {
    const module = parseText(text);
    try {
      const errors = bracketNesting('wat', text) > limits.optimizedNesting.value ? [] : validateModule(module, binaryen.Features.All);
      if (errors.length > 0) {
        const diagnostics = errors.map((error) => ({ ...createDiagnostic(error), file }));
        throw new CompileError('malformed-source', diagnostics);
      }
      // binaryen emits the newest encodings that the features allow, such as garbage collection types and compact imports.
      module.setFeatures(imageFeatures);
      return { binary: module.emitBinary(), compiler: binaryenName, warnings: [] };
    } finally {
      module.dispose();
    }
  } catch (error) {
    if (!(error instanceof TextError)) throw error;
    throw new CompileError('malformed-source', [{ ...createDiagnostic(error.message), file, line: error.line, column: error.column }]);
  }
}

function decode(binary: Uint8Array): Module {
  try {
    return decodeModule(binary);
  } catch (error) {
    if (error instanceof UnsupportedFeatureError) throw unsupported([error.message]);
    if (error instanceof MalformedModuleError)
      throw new CompileError('not-webassembly', [createDiagnostic(malformedMessage(binary, error))]);
    throw error;
  }
}

/** Returns the engine's message about malformed bytes, which users can search for; the decoder's message if the engine accepts the bytes. */
function malformedMessage(binary: Uint8Array, error: MalformedModuleError): string {
  if (error.message.includes('the limit is')) return error.message;
  try {
    new WebAssembly.Module(new Uint8Array(binary));
  } catch (engineError) {
    if (engineError instanceof Error) return engineError.message;
  }
  return error.message;
}

function validate(binary: Uint8Array<ArrayBuffer>): void {
  if (WebAssembly.validate(binary)) return;
  try {
    new WebAssembly.Module(binary);
  } catch (error) {
    throw new CompileError('not-webassembly', [createDiagnostic(error instanceof Error ? error.message : String(error))]);
  }
}

function check(module: Module, request: CompileRequest) {
  const toolchain = detectRequirements(module);
  const { reasons, lifecycleFaults, warnings, nesting } = checkModule(module);
  const faults = [
    ...lifecycleFaults.map((fault) => describeLifecycleFault(fault, request)),
    ...[...toolchain.reasons, ...reasons].map((reason) => createDiagnostic(reason)),
  ];
  if (faults.length > 0) throw new CompileError('unsupported', faults.slice(0, reasonLimit));
  return {
    toolchain,
    nesting,
    warnings: warnings.map((warning) => createDiagnostic(warning, 'warning')),
    module: addMachineExports(module, toolchain),
  };
}

/** Returns the diagnostic of a lifecycle export: at its place in the source, or with the function of a prebuilt module. */
function describeLifecycleFault({ name, message, function: exported }: LifecycleFault, request: CompileRequest): Diagnostic {
  const { language, module, source } = request;
  if (language === 'wasm') return createDiagnostic(`${message} (function ${exported} of the prebuilt module)`);
  return { ...createDiagnostic(message), ...findExportPlace(language, module, decodeSource(source), name) };
}

/** Reasons reported for one module, at most. */
const reasonLimit = 50;

/** The unchanged module as a result of the optimizer, and the failure that prevented optimization, if any. */
const unoptimized = (module: Module, failure: CompileError | null) => ({ optimized: { module, skipped: [] }, failure });

/** Optimizes a module. If binaryen fails, returns the module unchanged. */
async function optimizeChecked(module: Module, nesting: readonly number[]) {
  try {
    return { optimized: await runStage('optimize', () => optimize(module, nesting)), failure: null };
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    return unoptimized(module, error);
  }
}

/** Warns of functions that the optimizer skips. Not used for prebuilt modules, which their toolchain has optimized. */
function skippedWarning(module: Module, { skipped }: Optimized): Diagnostic[] {
  if (skipped.length === 0) return [];
  const { optimizedFunctionBytes: bytes, optimizedNesting: nesting, optimizedWork: work } = limits;
  const some = skipped.slice(0, namedFunctions).map((position) => functionName(module, importsOf(module, 'function').length + position));
  const others = skipped.length > some.length ? `, and ${skipped.length - some.length} more` : '';
  const message = [
    `${skipped.length} of ${module.functions.length} functions are not optimized and may be slow (${some.join(', ')}${others})`,
    `the limits are ${formatLimit(bytes)} and ${formatLimit(nesting)} of nesting per function, and ${formatLimit(work)} per module`,
    'split large functions',
  ].join('; ');
  return [createDiagnostic(message, 'warning')];
}

/** Functions named in a warning, at most. */
const namedFunctions = 3;

/** Warns that the compiler makes a prebuilt module exclusive although its author did not request that. */
function exclusiveWarning({ singleThreaded }: ToolchainRequirements, { concurrency }: CompileRequest): Diagnostic[] {
  if (singleThreaded === null || concurrency !== undefined) return [];
  const message = `the build is exclusive, because ${singleThreaded}: its accesses on a device run one at a time; if its allocator is thread-safe, push it with concurrency "shared"`;
  return [createDiagnostic(message, 'warning')];
}

function toWarning({ message, ...place }: Diagnostic): Diagnostic {
  return { ...place, severity: 'warning', message: `the module was not optimized: ${message}` };
}

function unsupported(reasons: readonly string[]): CompileError {
  return new CompileError(
    'unsupported',
    reasons.map((reason) => createDiagnostic(reason)),
  );
}
