// The safepoint ABI: the contract between an image and the machine that runs it. The compiler emits it, the processor implements it.

/** ABI version. Incremented whenever anything in this file changes its meaning; the machine refuses images of another version. */
export const abiVersion = 5;

/** Names of the custom sections that the compiler adds to an image. */
export const stampSection = 'patchbay.stamp';
export const lazyStubSection = 'patchbay.gate';

/** Import namespaces that the machine provides. */
export const systemNamespace = 'patchbay';
/** Immutable i32 globals by module name: the address of the module's table entry in kernel memory. */
export const tableEntryNamespace = 'patchbay:entry';
/** Immutable i32 globals by export name, in the namespace `patchbay:offset:<module>`: the export's offset from the module's address, in table slots. */
export const offsetNamespacePrefix = 'patchbay:offset:';
/** Kernel functions that a module may import. */
export const kernelNamespace = 'kernel';

/** The kernel functions and their WebAssembly types. */
export const kernelFunctions = {
  /** Records an effect. Effects are buffered until the outermost access exits, and dropped if it is interrupted. */
  emit: { parameters: ['i32', 'i64'], results: [] },
  /** Blocks the thread for a number of milliseconds. */
  sleep: { parameters: ['i32'], results: [] },
  /** Writes one word of state for the next version; only in `state_save`. */
  state_write: { parameters: ['i64'], results: [] },
  /** Reads the next word of state that the previous version saved; only in `state_restore`. */
  state_read: { parameters: [], results: ['i64'] },
} as const;

/** Exports that a load calls if the module has them, and their types, in the order of the calls. Each call has `lifecycleMilliseconds`. */
export const lifecycleExports = {
  /** Returns 0 if the new version works. */
  self_check: { parameters: [], results: ['i32'] },
  /** Prepares the previous version for leaving the module table. */
  before_unload: { parameters: [], results: [] },
  /** Saves the state of the previous version, with `kernel.state_write`. */
  state_save: { parameters: [], results: [] },
  /** Restores the saved state into the new version, with `kernel.state_read`. */
  state_restore: { parameters: [], results: [] },
  /** Runs in the new version once the module table names it. */
  after_load: { parameters: [], results: [] },
} as const;
export type LifecycleExport = keyof typeof lifecycleExports;

/** Lifecycle exports added after the first images of this ABI. A device calls them only in images whose stamp lists them as hooks. */
export const hookExports = ['before_unload', 'after_load'] as const satisfies readonly LifecycleExport[];

/** Maximum duration of one call of a lifecycle export, a start function or an `_initialize`, in milliseconds. */
export const lifecycleMilliseconds = 100;
/** Maximum duration of all such calls of one load together, in milliseconds: every device of the host waits for them. */
export const loadLifecycleMilliseconds = 500;

/** Layout of a module table entry in kernel memory. */
export const tableEntry = {
  bytes: 8,
  /** First slot of the current image in the device's table; `absentAddress` if no image is loaded. */
  address: 0,
  /** Record of the current image; the entry itself if no image is loaded. */
  record: 4,
} as const;

/** An address past the end of every table: a fetch from a module that is not in memory traps. */
export const absentAddress = 0x7fff_0000;

/** Layout of an image's record in kernel memory. */
export const imageRecord = {
  bytes: 32,
  /** Accesses inside the image that entered through the module table. */
  referenceCount: 0,
  /** Accesses inside the image that entered by a hard-coded address and bypassed the module table. The isolation workflow does not wait for them. */
  bypassCount: 4,
  /** 1 if the image has a C stack, which the processor switches with the threads inside. */
  stack: 8,
  /** Exclusive images: the block of the owning thread; 0 if no thread owns the image. */
  owner: 12,
  /** Number of the owner's accesses inside the image. */
  depth: 16,
  /** 1 if threads may be waiting for the image: the owner calls `release` when it leaves. */
  contended: 20,
  /** 1 while a garbage collection is due: outermost accesses call `held` before they enter. */
  entryHeld: 24,
} as const;

/** Layout of a thread's block in kernel memory: the driver's state and the thread's frames, one for each image that the thread is inside. */
export const threadBlock = {
  /** A power of two. Blocks are aligned to it, so a stub finds the block and the end of the frames with one mask. */
  bytes: 512,
  /** i64: calls left to make. */
  callsRemaining: 0,
  /** i64: calls completed by the image that `servedBy` names. */
  callsCompleted: 8,
  /** i64: bits of the last completed call's result. */
  result: 16,
  /** i32: record of the image that served the last completed call. */
  servedBy: 24,
  /** i32: pause between calls, in milliseconds. */
  pauseMilliseconds: 28,
  /** i32: accesses retried. */
  accessesRetried: 32,
  /** i32: calls begun; identifies the current call for its deadline. */
  callsBegun: 36,
  /** i32: the frame that the injected error targets. */
  injectionTarget: 40,
  /** i32: 1 once a call from JavaScript has returned. */
  returned: 44,
  /** Start of the frames. One i32 each: the record of the entered image, plus `bypassBit` if it was entered by a hard-coded address. */
  frames: 64,
} as const;

/** Set in the frame of an access that bypassed the module table. Records are aligned, so the bit is free. */
export const bypassBit = 1;

/** Maximum frames in a thread's block; a deeper nested access traps. */
export const frameLimit = (threadBlock.bytes - threadBlock.frames) / 4 - 1;

/**
 * Words of kernel memory for the running thread: the end of its frames, and the number of effects of its current call.
 * These are memory words, not globals: V8 reaches an imported global through two indirections.
 */
export const runningThread = { stack: 8, effects: 12 } as const;

/** Global that every image exports: the fuel left, that is, the work it may do before it calls the processor. */
export const fuelExport = 'patchbay:fuel';

/** Exports of every image whose stamp has a `stack`: the C stack pointer (a mutable i32 global) and the memory that holds the stack. */
export const stackPointerExport = 'patchbay:stack-pointer';
export const memoryExport = 'patchbay:memory';

/** Bytes below the stack pointer that a C function may use without moving the pointer (LLVM's red zone). */
export const redZone = 128;

/** Function that initializes a reactor. Exported by images whose stamp says `initialize`; called once, before any other function. */
export const initializeExport = 'patchbay:initialize';

/** The image's garbage collector, which may run only while no access is inside. */
export const collectExport = 'patchbay:collect';
/** Mutable i32 global: bytes that the image may still allocate before it requests a collection; negative when a collection is due. */
export const allocationBudgetExport = 'patchbay:allocation-budget';

/** Imports of the system namespace with which an image's entry wrapper (compiler/entry-wrapper.ts) controls which threads are inside. */
export const entryControlImports = {
  /** Immutable i32 global: the image's record. */
  record: 'record',
  /** (record) → (): waits until the thread owns the exclusive image. Suspends. */
  acquire: 'acquire',
  /** (record) → (): releases an image that other threads wait for. */
  release: 'release',
  /** (record) → i32: whether the access must wait for a garbage collection. */
  held: 'held',
  /** (record) → (): waits for the garbage collection. Suspends. */
  hold: 'hold',
  /** (record) → (): requests a collection, because the allocation budget is used up. */
  collect: 'collect',
} as const;

/** Fuel per refill, in expressions: the work between two clock checks, some tens of microseconds. */
export const fuelPerRefill = 524_288;

/** Global that a driver with hard-coded addressing exports: the record of the image whose address it has pinned; 0 before its first access. */
export const pinnedRecordExport = 'pinned-record';

/** Maximum retries of one access. After them, the injected error reaches the program. */
export const retryLimit = 100;

/** Maximum exports of one image. */
export const exportLimit = 10_000;

/** Maximum length of the name of an export or import, in bytes of UTF-8. */
export const nameLimit = 4_096;
