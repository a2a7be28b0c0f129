// Placeholders for the functions, globals and imports that the compiler adds to a module. The linker replaces them with indices.
//
// Instrumentation and access stubs keep the module's own indices and append new functions to `module.functions`. The imports that an image needs are
// known only afterwards, so code refers to them by placeholders. The linker (linker.ts) adds only the items that code refers to: an image without
// references to `yield` and `fuel` has no fuel. An image with fuel exports the fuel global.

/** Larger than every index in a module within the compiler's source size limit. */
const firstPlaceholder = 0x4000_0000;

/** Functions. */
export const functionPlaceholders = {
  /** Import `patchbay` `tick`: () → (i32). Returns new fuel, or a negative number if the image must call `suspend`. */
  tick: firstPlaceholder,
  /** Import `patchbay` `suspend`: () → (). Yields the processor. */
  suspend: firstPlaceholder + 1,
  /** () → (). Called when the fuel is negative: calls `tick`, and `suspend` if required, and refills the fuel. */
  yield: firstPlaceholder + 2,
  /** (frame i32, effects i32, attempts i32) → (attempts i32). Handles an injected error for access stubs. */
  handleInjectedError: firstPlaceholder + 3,
  /** Imports of the entry wrapper (`entryImports` of machine/abi.ts): (record i32) → (), `held` → (i32). */
  acquire: firstPlaceholder + 4,
  release: firstPlaceholder + 5,
  held: firstPlaceholder + 6,
  hold: firstPlaceholder + 7,
  collect: firstPlaceholder + 8,
} as const;

/** Globals. */
export const globalPlaceholders = {
  /** Mutable i32: work left until the image calls the processor. */
  fuel: firstPlaceholder,
  /** Import `patchbay` `record`, immutable i32: address of the image's record in the kernel's memory. */
  record: firstPlaceholder + 1,
} as const;

/** First placeholder of the globals by which stubs find module table entries and exports; larger than all `globalPlaceholders`. */
export const firstStubGlobalPlaceholder = firstPlaceholder + 0x100;

/** Memories, tables, tags. */
export const memoryPlaceholders = { kernel: firstPlaceholder } as const;
export const tablePlaceholders = { space: firstPlaceholder } as const;
export const tagPlaceholders = { injected: firstPlaceholder } as const;
