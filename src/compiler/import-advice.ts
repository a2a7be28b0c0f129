// Explains imports that no device provides, and what to do instead.

/** AssemblyScript's imports from `env`, with the feature that needs each. */
const assemblyScriptImports: ReadonlyMap<string, string> = new Map([
  ['abort', 'AssemblyScript\'s error handler: compile with "--use abort=", so that an error traps'],
  ['seed', 'the seed of AssemblyScript\'s Math.random(): compile with "--use seed=" and your own seed, or do not use Math.random()'],
  ['trace', 'AssemblyScript\'s trace(): remove the calls, or compile with "--use trace="'],
  ['Date.now', "AssemblyScript's Date.now(): a device has no clock for modules; pass the time as a parameter"],
  ['performance.now', "AssemblyScript's performance.now(): a device has no clock for modules; pass the time as a parameter"],
]);

/** Imports that belong to other toolchains and runtimes. */
const runtimeImports: readonly (readonly [module: RegExp, name: RegExp, reason: string])[] = [
  [
    /^env$/,
    /^(memory|__linear_memory)$/,
    'a memory that the embedder provides: link the module with its own memory (emscripten: -sSTANDALONE_WASM; wasm-ld: without --import-memory)',
  ],
  [
    /^env$/,
    /^(__indirect_function_table|table|__table_base|__memory_base|__stack_pointer)$/,
    'part of dynamic linking: link the module statically (without -sMAIN_MODULE, -sSIDE_MODULE, -shared or --import-table)',
  ],
  [
    /^env$/,
    /^(emscripten_|_emscripten_|_?invoke_|__syscall|__cxa_|_?abort_js|exit|getTempRet0|setTempRet0|_tzset|_localtime|_mmap|_munmap)/,
    "part of emscripten's JavaScript runtime, which a device does not have: build with -sSTANDALONE_WASM --no-entry and without this call",
  ],
  [/^env$/, /^mem(cpy|move|set)$/, 'a function that LLVM calls for copies and loops: compile with -mbulk-memory, or link a C library'],
  [
    /^env$/,
    /^(malloc|calloc|realloc|free|memcmp|strlen|strcmp|strcpy|printf|puts)$/,
    'a function of the C library, which -nostdlib omits: link a C library that needs no WASI, or define the function',
  ],
  [/^(wbg|__wbindgen_.*|\.\/.*_bg\.js)$/, /^__wb/, 'part of wasm-bindgen\'s JavaScript glue: export functions with extern "C" instead'],
  [
    /^(go|gojs)$/,
    /^(runtime\.|syscall\/|debug$)/,
    "part of Go's JavaScript runtime: build with TinyGo for a freestanding target (-target=wasm-unknown)",
  ],
  [/^Math$/, /./, "a function of JavaScript's Math: use the module's own (AssemblyScript: NativeMath; C: link libm)"],
];

/** Returns whether an import belongs to the runtime of another toolchain, even if its module has a valid name. */
export function isRuntimeImport(module: string, name: string): boolean {
  return runtimeImports.some(([ofModule, ofName]) => ofModule.test(module) && ofName.test(name));
}

const wasiPurposes: readonly (readonly [name: RegExp, purpose: string])[] = [
  [/^proc_exit$/, 'ends a process'],
  [/^(fd|path|sock)_/, 'reads and writes files or sockets'],
  [/^(clock_|poll_oneoff)/, 'reads a clock'],
  [/^random_get$/, 'reads random bytes'],
  [/^(args|environ)_/, 'reads arguments and environment variables'],
];

/**
 * Returns the message for an unknown import: its purpose, and what to do.
 * @param kernel Names of the kernel's functions.
 */
export function explainUnknownImport(module: string, name: string, kernel: readonly string[]): string {
  return `the import "${module}" "${name}" is unknown: ${reasonOf(module, name, kernel)}`;
}

function reasonOf(module: string, name: string, kernel: readonly string[]): string {
  if (module.startsWith('wasi_') || module.startsWith('wasi:') || module === 'wasi_unstable') {
    const purpose = wasiPurposes.find(([pattern]) => pattern.test(name))?.[1];
    return `it is a WASI call${purpose === undefined ? '' : ` that ${purpose}`}, and devices have no WASI: build for a target without WASI (wasm32-unknown-unknown; TinyGo: -target=wasm-unknown), or remove the code that needs it`;
  }
  const feature = module === 'env' ? assemblyScriptImports.get(name) : undefined;
  if (feature !== undefined) return `it is ${feature}`;
  const runtime = runtimeImports.find(([ofModule, ofName]) => ofModule.test(module) && ofName.test(name));
  if (runtime !== undefined) return `it is ${runtime[2]}`;
  if (module === 'env')
    return `linkers import undefined functions from "env": link the function into the module, or name the module that provides it (C: __attribute__((import_module("tcp"), import_name("${name}"))); AssemblyScript: @external("tcp", "${name}")), or import from "kernel" (${kernel.join(', ')})`;
  return `import from "kernel" (${kernel.join(', ')}), or from another module by its name (a-z, 0-9, "-" and "_", up to 63 characters)`;
}

/**
 * Returns the message for a module built by Go's own compiler; null if no function name shows that.
 * @param functionNames Names of the module's functions; a build with `-ldflags=-s` has none.
 */
export function explainGoRuntime(functionNames: Iterable<string>): string | null {
  for (const name of functionNames)
    if (name.startsWith('_rt0_wasm_'))
      return "the module was built by Go's own compiler, whose runtime needs WASI or JavaScript, and devices have neither: build it with TinyGo (-target=wasm-unknown -gc=precise)";
  return null;
}

/** Returns whether the name of an import module looks minified: one or two letters. */
export const looksMinified = (module: string) => /^[a-zA-Z]{1,2}$/.test(module);

/** Returns the warning for an import module whose name looks minified, because no device is likely to provide it. */
export function warnMinifiedImport(module: string, names: readonly string[]): string {
  return `imports from "${module}" (${names
    .slice(0, 5)
    .map((name) => `"${name}"`)
    .join(
      ', ',
    )}${names.length > 5 ? ', …' : ''}) look minified: build without minifying import names (emscripten: -O2, or -O3 with --profiling-funcs), unless a module is named "${module}"`;
}
