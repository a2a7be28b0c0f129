// The safepoint ABI: what an image and the machine that runs it agree on. The compiler emits it, the processor provides it.

/** Raised when anything here changes its meaning; an image of another version is refused. */
export const abiVersion = 5;

/** Names of the custom sections that the compiler adds to an image. */
export const stampSection = 'patchbay.stamp';
export const lazyStubSection = 'patchbay.gate';

/** Import namespaces that the machine provides. */
export const systemNamespace = 'patchbay';
/** Immutable i32 global by module name: where in the kernel memory that module's table entry is. */
export const tableEntryNamespace = 'patchbay:entry';
/** Immutable i32 global by export name, in the namespace `patchbay:offset:<module>`: the export's distance from the module's address, in slots. */
export const offsetNamespacePrefix = 'patchbay:offset:';
/** Kernel functions that a module may import. */
export const kernelNamespace = 'kernel';

/** The kernel functions and their WebAssembly types. */
export const kernelFunctions = {
  /** An effect outside the access's own stack: kept until the outermost access exits, dropped if it is interrupted. */
  emit: { parameters: ['i32', 'i64'], results: [] },
  /** Blocks the thread for that many milliseconds. */
  sleep: { parameters: ['i32'], results: [] },
  /** One word of state for the next version; in `state_save` only. */
  state_write: { parameters: ['i64'], results: [] },
  /** The next word of state of the version before; in `state_restore` only. */
  state_read: { parameters: [], results: ['i64'] },
} as const;

/** Exports that a load calls, and their types: a module that has one opts in. */
export const lifecycleExports = {
  /** Returns 0 if the new version works. */
  self_check: { parameters: [], results: ['i32'] },
  /** Writes the state of the version before, by `kernel.state_write`. */
  state_save: { parameters: [], results: [] },
  /** Reads that state into the new version, by `kernel.state_read`. */
  state_restore: { parameters: [], results: [] },
} as const;

/** An entry of the module table, in the kernel memory. */
export const tableEntry = {
  bytes: 8,
  /** Slot of the device's table where the current image begins; `absentAddress` where there is none. */
  address: 0,
  /** The current image's record. */
  record: 4,
} as const;

/** Past every table there is: a fetch from a module that is not in memory traps. */
export const absentAddress = 0x7fff_0000;

/** What the kernel memory holds of each image in a device's memory. */
export const imageRecord = {
  bytes: 32,
  /** Accesses that have entered the image and not left it. */
  referenceCount: 0,
  /** Accesses that have entered by a hard-coded address, past the module table; the isolation workflow does not wait for them. */
  bypassCount: 4,
  /** 1 if the image has a C stack, which is switched with the threads inside. */
  stack: 8,
  /** Of an exclusive image: block of the thread that owns the image, 0 if no thread does. */
  owner: 12,
  /** Accesses of the owner inside the image. */
  depth: 16,
  /** 1 if threads may wait for the image: the owner calls `release` when it leaves. */
  contended: 20,
  /** 1 while a garbage collection is due: outermost accesses ask `held` before they enter. */
  entryHeld: 24,
} as const;

/** What the kernel memory holds of each thread: the driver's state, and the stack of images that the thread is inside of. */
export const threadBlock = {
  /** A power of two, and blocks are aligned to it, so that a stub finds the block from a frame and sees the stack's end by one mask. */
  bytes: 512,
  /** i64: calls left. */
  callsRemaining: 0,
  /** i64: calls completed in the version that `version` names. */
  callsCompleted: 8,
  /** i64: bits of what the last completed call returned. */
  result: 16,
  /** i32: record of the image that served the last completed call. */
  servedBy: 24,
  /** i32: pause between calls, in milliseconds. */
  pauseMilliseconds: 28,
  /** i32: accesses retried. */
  accessesRetried: 32,
  /** i32: calls begun, for the deadline of each. */
  callsBegun: 36,
  /** i32: the frame that the thread's injected error is aimed at. */
  injectionTarget: 40,
  /** i32: 1 once a call from JavaScript has answered. */
  returned: 44,
  /** Where the frames begin: one i32 each, the record of the image entered, plus `bypassMark` where it was entered by a hard-coded address. */
  frames: 64,
} as const;

/** Set in a frame whose access bypasses the module table; records are aligned, so that the bit is free. */
export const bypassBit = 1;

/** Frames that fit a thread's block; an access nested deeper traps. */
export const frameLimit = (threadBlock.bytes - threadBlock.frames) / 4 - 1;

/**
 * Words of the kernel's memory for the thread that has the processor: the end of its stack of images, and how many effects its call has made.
 * Words of memory, not globals: V8 reaches an imported global by way of two other places.
 */
export const runningThread = { stack: 8, effects: 12 } as const;

/** Global that every image exports: the work that it may do before it asks the processor for more. */
export const fuelExport = 'patchbay:fuel';

/** The mutable i32 global with the C stack's pointer, exported by every image whose stamp has a `stack`, and the memory that the stack is in. */
export const stackPointerExport = 'patchbay:stack-pointer';
export const memoryExport = 'patchbay:memory';

/** Bytes below the stack pointer that a C function may use without moving the pointer (LLVM's red zone). */
export const redZone = 128;

/** Function that initializes a reactor; exported by images whose stamp says `initialize`, and called once, before all other functions. */
export const initializeExport = 'patchbay:initialize';

/** The garbage collector of an image, which may run only while no access is inside. */
export const collectExport = 'patchbay:collect';
/** Mutable i32 global: bytes that the image may still allocate before it asks for a collection; negative when it is due. */
export const allocationBudgetExport = 'patchbay:allocation-budget';

/** Imports of the system namespace by which the entry wrapper of an image (compiler/entry-wrapper.ts) controls who is inside. */
export const entryControlImports = {
  /** Immutable i32 global: the image's record. */
  record: 'record',
  /** (record) → (): waits until the thread owns the exclusive image. Suspends. */
  acquire: 'acquire',
  /** (record) → (): the image has no owner now, and threads wait for it. */
  release: 'release',
  /** (record) → i32: whether the access has to wait for a garbage collection. */
  held: 'held',
  /** (record) → (): waits for the garbage collection. Suspends. */
  hold: 'hold',
  /** (record) → (): the allocation budget is used up. */
  collect: 'collect',
} as const;

/** Work between two looks at the clock, in expressions: some tens of microseconds. */
export const fuelPerRefill = 524_288;

/** Global that a driver of hard-coded addressing exports: the record of the image whose address it keeps, 0 before its first access. */
export const pinnedRecordExport = 'pinned-record';

/** Retries of one access before it is given up and the error goes on to the program. */
export const retryLimit = 100;

/** Exports of one image. */
export const exportLimit = 10_000;

/** Bytes of the name of one export or import, in UTF-8. */
export const nameLimit = 4_096;
