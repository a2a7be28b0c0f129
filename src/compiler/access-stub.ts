// Access stubs replace the imports of other modules in an image. A stub marks the entry and the exit of an access (patent col. 5), reads the
// module table at each call, and retries the access after an injected error.

import { bypassBit, frameLimit, retryLimit, runningThread, tableEntry, threadBlock } from '../machine/abi.ts';
import type { FunctionType, ValueType } from '../machine/images/stamp.ts';
import {
  access,
  block,
  branch,
  call,
  callIndirect,
  end,
  globalGet,
  globalSet,
  type Instruction,
  i32Const,
  ifBlock,
  localGet,
  localSet,
  loop,
  opcodes,
  plain,
} from './binary/instruction.ts';
import { encodeInstructions } from './binary/instruction-codec.ts';
import type { FunctionBody, LocalRun } from './binary/module.ts';
import type { TypeTable } from './binary/type-table.ts';
import { functionPlaceholders, memoryPlaceholders, tablePlaceholders, tagPlaceholders } from './placeholders.ts';

const { kernel } = memoryPlaceholders;

const load = (address: Instruction, offset = 0) => [address, access('i32.load', kernel, offset)];

/** Loads a word about the running thread from the kernel's memory. */
const loadThreadWord = (word: keyof typeof runningThread) => load(i32Const(runningThread[word]));
const storeThreadWord = (word: keyof typeof runningThread, value: readonly Instruction[]) => [
  i32Const(runningThread[word]),
  ...value,
  access('i32.store', kernel),
];

export type StubOptions = {
  /** Index of the global that receives the record of the image that completed the access; null: not recorded. */
  readonly servedGlobal: number | null;
  /** Indices of the globals that store the address and the record found by the first access; null: each access reads the module table. */
  readonly pinnedGlobals: { readonly address: number; readonly record: number } | null;
  /** Index of the stack pointer global, which the stub restores after an injected error; null: the module has no C stack. */
  readonly stackPointer: number | null;
};

export type StubTarget = {
  readonly type: FunctionType;
  /** Global that holds the location of the target's module table entry. */
  readonly entryGlobal: number;
  /** Global that holds the export's offset from its module's address. */
  readonly offsetGlobal: number;
};

/** A function as instructions, which can be inlined at a call site. */
export type StubFunction = { readonly type: FunctionType; readonly locals: readonly ValueType[]; readonly body: readonly Instruction[] };

/** Returns the indices of a stub's locals, which follow its parameters. */
function localIndices(type: FunctionType) {
  const first = type.parameters.length;
  return {
    frame: first,
    effects: first + 1,
    record: first + 2,
    address: first + 3,
    mark: first + 4,
    attempts: first + 5,
    stackPointer: first + 6,
    results: first + 7,
  };
}

type Locals = ReturnType<typeof localIndices>;

/**
 * Creates the stub of one import. Each access occupies a frame in the thread's stack of images. An injected error targets one frame: that access
 * retries, and the accesses nested in it unwind. A retry always reads the module table.
 */
export function createAccessStub(target: StubTarget, options: StubOptions, types: TypeTable): StubFunction {
  const { type } = target;
  const locals = localIndices(type);
  const results = types.blockType(type.results);
  const body = [
    ...enterFrame(locals, options),
    block(results),
    loop(),
    ...readTable(target.entryGlobal, locals),
    ...(options.pinnedGlobals === null ? [] : readPinned(options.pinnedGlobals, locals)),
    localGet(locals.frame),
    localGet(locals.mark),
    access('i32.store', kernel),
    ...storeThreadWord('stack', [localGet(locals.frame), i32Const(4), plain('i32.add')]),
    block(),
    ...makeAccess(target, options, locals, types),
    branch(2),
    end,
    ...handleError(locals, options),
    branch(0),
    end,
    plain('unreachable'),
    end,
  ];
  return { type, locals: [...Array.from({ length: 7 }, () => 'i32' as const), ...type.results], body };
}

/** Saves the thread's state. Traps if its stack of images is full. */
function enterFrame({ frame, effects, attempts, stackPointer }: Locals, options: StubOptions): Instruction[] {
  return [
    ...loadThreadWord('stack'),
    localSet(frame),
    ...loadThreadWord('effects'),
    localSet(effects),
    i32Const(0),
    localSet(attempts),
    ...(options.stackPointer === null ? [] : [globalGet(options.stackPointer), localSet(stackPointer)]),
    localGet(frame),
    i32Const(threadBlock.bytes - 1),
    plain('i32.and'),
    i32Const(threadBlock.frames + 4 * frameLimit),
    plain('i32.ge_u'),
    ifBlock(),
    plain('unreachable'),
    end,
  ];
}

/** Makes the access in a block that an injected error leaves. The results are on the operand stack at its end. */
function makeAccess(
  { type, offsetGlobal: offset }: StubTarget,
  { servedGlobal: served }: StubOptions,
  locals: Locals,
  types: TypeTable,
): Instruction[] {
  const resultLocals = type.results.map((_, index) => locals.results + index);
  return [
    {
      kind: 'try-table',
      op: opcodes.try_table,
      type: types.blockType(type.results),
      catches: [{ kind: 'tag', tag: tagPlaceholders.injected, label: 0 }],
    },
    ...type.parameters.map((_, index) => localGet(index)),
    localGet(locals.address),
    globalGet(offset),
    plain('i32.add'),
    callIndirect(types.indexOf(type), tablePlaceholders.space),
    end,
    ...resultLocals.toReversed().map(localSet),
    ...storeThreadWord('stack', [localGet(locals.frame)]),
    ...(served === null ? [] : [localGet(locals.record), globalSet(served)]),
    ...resultLocals.map(localGet),
  ];
}

/** Runs after an injected error has left the access: the handler counts another attempt, or rethrows the error. */
function handleError({ frame, effects, attempts, stackPointer }: Locals, options: StubOptions): Instruction[] {
  return [
    localGet(frame),
    localGet(effects),
    localGet(attempts),
    call(functionPlaceholders.handleInjectedError),
    localSet(attempts),
    // Reached only by a retry: an error that propagates takes the thread out of this image too.
    ...(options.stackPointer === null ? [] : [localGet(stackPointer), globalSet(options.stackPointer)]),
  ];
}

function readTable(entry: number, { record, address, mark }: Locals): Instruction[] {
  return [
    ...load(globalGet(entry), tableEntry.record),
    localSet(record),
    ...load(globalGet(entry), tableEntry.address),
    localSet(address),
    localGet(record),
    localSet(mark),
  ];
}

/** Reuses the address of the first access (hard-coded addressing, for the patent's test for stale addresses). A retry reads the module table. */
function readPinned(pinned: NonNullable<StubOptions['pinnedGlobals']>, { record, address, mark, attempts }: Locals): Instruction[] {
  return [
    localGet(attempts),
    plain('i32.eqz'),
    ifBlock(),
    globalGet(pinned.address),
    plain('i32.eqz'),
    ifBlock(),
    localGet(record),
    globalSet(pinned.record),
    localGet(address),
    globalSet(pinned.address),
    end,
    globalGet(pinned.record),
    localSet(record),
    globalGet(pinned.address),
    localSet(address),
    localGet(record),
    i32Const(bypassBit),
    plain('i32.or'),
    localSet(mark),
    end,
  ];
}

/**
 * Creates the function by which the stubs of an image handle an injected error. It drops the effects of the interrupted access and returns the number
 * of the next attempt. It rethrows the error if the error targets another access or no retries are left. A separate function keeps stubs small
 * enough for V8 to inline them.
 */
export function createInjectedErrorHandler(): StubFunction {
  const [frame, effects, attempts] = [0, 1, 2];
  const blockAddress = [localGet(frame), i32Const(-threadBlock.bytes), plain('i32.and')];
  const inBlock = (offset: number) => [...blockAddress, access('i32.load', kernel, offset)];
  const body = [
    ...storeThreadWord('effects', [localGet(effects)]),
    ...inBlock(threadBlock.injectionTarget),
    localGet(frame),
    plain('i32.ne'),
    localGet(attempts),
    i32Const(retryLimit),
    plain('i32.ge_u'),
    plain('i32.or'),
    ifBlock(),
    { kind: 'tag', op: opcodes.throw, index: tagPlaceholders.injected } as const,
    end,
    ...blockAddress,
    ...inBlock(threadBlock.accessesRetried),
    i32Const(1),
    plain('i32.add'),
    access('i32.store', kernel, threadBlock.accessesRetried),
    localGet(attempts),
    i32Const(1),
    plain('i32.add'),
  ];
  return { type: { parameters: ['i32', 'i32', 'i32'], results: ['i32'] }, locals: [], body };
}

/** Encodes the function as a body of a module. */
export function toFunctionBody({ type, locals, body }: StubFunction, types: TypeTable): FunctionBody {
  return { type: types.indexOf(type), locals: locals.map((local): LocalRun => ({ count: 1, type: local })), ...encodeInstructions(body) };
}
