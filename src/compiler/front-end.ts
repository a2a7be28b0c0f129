// A module in any of the languages → a checked and optimized module, or diagnostics.

import { importsOf, MalformedModuleError, type Module, UnsupportedFeatureError } from './binary/module.ts';
import { decodeModule } from './binary/reader.ts';
import { encodeModule } from './binary/writer.ts';
import { binaryen, imageFeatures, parseText, TextError, validateModule } from './binaryen.ts';
import { CompileError, createDiagnostic, runStage } from './compile-error.ts';
import { bracketNesting, decodeSource, detectWrongFormat } from './input-format.ts';
import type { SourceFeature, SourceLanguage } from './languages.ts';
import { formatLimit, limitExceededMessage, compilerLimits as limits } from './limits.ts';
import { checkModule, functionName } from './module-rules.ts';
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
  /** Whether the thread must not compile anything else. */
  readonly breaksThread: boolean;
};

/** Read when the thread starts, while files can be opened; the other languages need not wait for it. */
const assemblyScript = import('./assemblyscript.ts');
// A failed import is reported by the compilation that awaits it.
assemblyScript.catch(() => {});

/**
 * Reads the source by its language, checks that a device can run it, and optimizes it.
 * @throws {CompileError}
 */
export async function runFrontEnd(request: CompileRequest): Promise<CheckedModule> {
  const { binary, compiler, warnings } = await compileToBinary(request);
  const module = await runStage('read', () => decode(binary));
  // Custom sections are gone: nothing in them can make the module invalid.
  await runStage('validate', () => validate(encodeModule(module)));
  const checked = await runStage('check', () => check(module));
  const { optimized, failure } =
    request.optimize === false ? asItIs(checked.module, null) : await optimizeChecked(checked.module, checked.nesting);
  const expected = await runStage('check', () => resolveImageRequirements(optimized.module, checked.toolchain, request));
  return {
    compiler,
    warnings: [
      ...warnings,
      ...checked.warnings,
      ...(failure === null ? [] : failure.diagnostics.map(toWarning)),
      ...(request.language === 'wasm' ? exclusiveWarning(checked.toolchain, request) : skippedWarning(checked.module, optimized)),
    ],
    module: expected.module,
    requirements: expected.requirements,
    breaksThread: failure?.breaksThread ?? false,
  };
}

type Binary = { readonly binary: Uint8Array; readonly compiler: string; readonly warnings: readonly Diagnostic[] };

async function compileToBinary(request: CompileRequest): Promise<Binary> {
  const { language, source, module, features = [] } = request;
  const foreign = detectWrongFormat(language, source);
  if (foreign !== null) throw new CompileError(language === 'wasm' ? 'not-webassembly' : 'malformed-source', [createDiagnostic(foreign)]);
  if (language === 'wasm') return { binary: bytesOf(source), compiler: binaryenName, warnings: [] };
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

const bytesOf = (source: string | Uint8Array) => (typeof source === 'string' ? new TextEncoder().encode(source) : source);

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
      // binaryen uses each encoding that the features allow, also where an older one does: types of garbage collection, compact imports.
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
    if (error instanceof MalformedModuleError) throw new CompileError('not-webassembly', [createDiagnostic(malformed(binary, error))]);
    throw error;
  }
}

/** What the engine says of the bytes, which is what people look up; or what our reader says where the engine accepts them. */
function malformed(binary: Uint8Array, error: MalformedModuleError): string {
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

function check(module: Module) {
  const toolchain = detectRequirements(module);
  const { reasons, warnings, nesting } = checkModule(module);
  const all = [...toolchain.reasons, ...reasons];
  if (all.length > 0) throw unsupported(all.slice(0, reasonLimit));
  return {
    toolchain,
    nesting,
    warnings: warnings.map((warning) => createDiagnostic(warning, 'warning')),
    module: addMachineExports(module, toolchain),
  };
}

/** Reasons that are reported. */
const reasonLimit = 50;

/** A module that stays as it is, and why. */
const asItIs = (module: Module, failure: CompileError | null) => ({ optimized: { module, skipped: [] }, failure });

/** Optimizes a module; where binaryen cannot, the module stays as it is. */
async function optimizeChecked(module: Module, nesting: readonly number[]) {
  try {
    return { optimized: await runStage('optimize', () => optimize(module, nesting)), failure: null };
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    return asItIs(module, error);
  }
}

/** Toolchains have optimized a prebuilt module; of the other languages, nothing else optimizes what is skipped. */
function skippedWarning(module: Module, { skipped }: Optimized): Diagnostic[] {
  if (skipped.length === 0) return [];
  const { optimizedFunctionBytes: bytes, optimizedNesting: nesting, optimizedWork: work } = limits;
  const some = skipped.slice(0, namedFunctions).map((position) => functionName(module, importsOf(module, 'function').length + position));
  const others = skipped.length > some.length ? `, and ${skipped.length - some.length} more` : '';
  const message = [
    `functions that are not optimized and may be slow: ${skipped.length} of ${module.functions.length} (${some.join(', ')}${others})`,
    `the limits are ${formatLimit(bytes)} and ${formatLimit(nesting)} of nesting for a function, and ${formatLimit(work)} for the module`,
    'split large functions',
  ].join('; ');
  return [createDiagnostic(message, 'warning')];
}

/** Functions that a warning names. */
const namedFunctions = 3;

/** Says that the compiler makes a prebuilt module exclusive, which its author has not asked for. */
function exclusiveWarning({ singleThreaded }: ToolchainRequirements, { concurrency }: CompileRequest): Diagnostic[] {
  if (singleThreaded === null || concurrency !== undefined) return [];
  const message = `the build is exclusive, because ${singleThreaded}: one thread of a device at a time is inside; if its allocator is made for threads, push it with concurrency "shared"`;
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
