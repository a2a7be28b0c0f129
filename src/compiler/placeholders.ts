// Placeholders for functions, globals and imports that the compiler adds to a module; the linker replaces them by indices.
//
// Instrumentation and access stubs use the module's own indices: new functions are appended to `module.functions` and get the next indices. Which
// imports an image needs is known only afterwards, so code refers to additions by the placeholders below. The linker (linker.ts) replaces them, and
// adds only what code refers to: an image without references to `yield` and `fuel` has no fuel. An image with fuel exports the fuel global.

/** Larger than every index in a module that fits the compiler's limit of source bytes. */
const firstPlaceholder = 0x4000_0000;

/** Functions. */
export const functionPlaceholders = {
  /** Import `patchbay` `tick`: () → (i32). New fuel, or a negative number: then call `suspend`. */
  tick: firstPlaceholder,
  /** Import `patchbay` `suspend`: () → (). Gives the processor up. */
  suspend: firstPlaceholder + 1,
  /** () → (). Called where the fuel is negative: asks the processor, gives it up if it must, and sets the fuel. */
  yield: firstPlaceholder + 2,
  /** (frame i32, effects i32, tries i32) → (tries i32). What access stubs do with an injected error. */
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
  /** Mutable i32: work left before the image asks the processor. */
  fuel: firstPlaceholder,
  /** Import `patchbay` `record`, immutable i32: address of the image's record in the kernel's memory. */
  record: firstPlaceholder + 1,
} as const;

/** Placeholders of the globals by which stubs find module table entries and exports begin here, after all of `supportGlobals`. */
export const firstStubGlobalPlaceholder = firstPlaceholder + 0x100;

/** Memories, tables, tags. */
export const memoryPlaceholders = { kernel: firstPlaceholder } as const;
export const tablePlaceholders = { space: firstPlaceholder } as const;
export const tagPlaceholders = { injected: firstPlaceholder } as const;
