// The access stub: what an import of another module becomes inside an image. It marks the entry and the exit of an access (patent col. 5),
// reads the module table at every call, and retries where an error was injected into the access that it made.

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

/** Reads a word that the kernel's memory has about the thread that has the processor. */
const readRunning = (what: keyof typeof runningThread) => load(i32Const(runningThread[what]));
const writeRunning = (what: keyof typeof runningThread, value: readonly Instruction[]) => [
  i32Const(runningThread[what]),
  ...value,
  access('i32.store', kernel),
];

export type StubOptions = {
  /** A global of the module that receives the record of the image that completed the access, or null. */
  readonly servedGlobal: number | null;
  /** Globals of the module that keep the address and the record that the first access found, or null: then every access reads the table. */
  readonly pinnedGlobals: { readonly address: number; readonly record: number } | null;
  /** The module's stack pointer, which has its value again when an access has ended by an injected error; null where the module has no C stack. */
  readonly stackPointer: number | null;
};

export type StubTarget = {
  readonly type: FunctionType;
  /** The global with the place of the module's entry in the module table. */
  readonly entryGlobal: number;
  /** The global with the export's distance from its module's address. */
  readonly offsetGlobal: number;
};

/** A function as instructions, which can be inlined in the place of a call. */
export type StubFunction = { readonly type: FunctionType; readonly locals: readonly ValueType[]; readonly body: readonly Instruction[] };

/** Indices of a stub's locals, after its parameters. */
function localsOf(type: FunctionType) {
  const first = type.parameters.length;
  return {
    frame: first,
    effects: first + 1,
    record: first + 2,
    address: first + 3,
    mark: first + 4,
    tries: first + 5,
    stackPointer: first + 6,
    results: first + 7,
  };
}

type Locals = ReturnType<typeof localsOf>;

/**
 * The stub of one import. A frame is a place in the thread's stack of images; the injected error is aimed at one of them, so that of
 * nested accesses the right one retries and those nested in it unwind. A retry always goes through the module table.
 */
export function createAccessStub(target: StubTarget, options: StubOptions, types: TypeTable): StubFunction {
  const { type } = target;
  const locals = localsOf(type);
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
    ...writeRunning('stack', [localGet(locals.frame), i32Const(4), plain('i32.add')]),
    block(),
    ...makeAccess(target, options, locals, types),
    branch(2),
    end,
    ...leaveByError(locals, options),
    branch(0),
    end,
    plain('unreachable'),
    end,
  ];
  return { type, locals: [...Array.from({ length: 7 }, () => 'i32' as const), ...type.results], body };
}

/** Saves the thread's state, and traps if its stack of images is full. */
function enterFrame({ frame, effects, tries, stackPointer }: Locals, options: StubOptions): Instruction[] {
  return [
    ...readRunning('stack'),
    localSet(frame),
    ...readRunning('effects'),
    localSet(effects),
    i32Const(0),
    localSet(tries),
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

/** The access itself, in a block that an injected error leaves; its results are on the stack at the end. */
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
    ...writeRunning('stack', [localGet(locals.frame)]),
    ...(served === null ? [] : [localGet(locals.record), globalSet(served)]),
    ...resultLocals.map(localGet),
  ];
}

/** An injected error has left the access: `interrupted` counts another try, or throws the error on. */
function leaveByError({ frame, effects, tries, stackPointer }: Locals, options: StubOptions): Instruction[] {
  return [
    localGet(frame),
    localGet(effects),
    localGet(tries),
    call(functionPlaceholders.handleInjectedError),
    localSet(tries),
    // Only where the access is retried: an error that propagates takes the thread out of this image too.
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

/** A program that reads the address once and keeps it (patent: tests that nothing holds on to old code). Its retries go through the table. */
function readPinned(pinned: NonNullable<StubOptions['pinnedGlobals']>, { record, address, mark, tries }: Locals): Instruction[] {
  return [
    localGet(tries),
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
 * Handles an injected error for all stubs of an image: drops the effects of the access that it left, and returns the number of the next try. Throws the
 * error on if it is aimed at another access, or no retries are left. A function of its own keeps stubs small enough for V8 to inline them.
 */
export function createInjectedErrorHandler(): StubFunction {
  const [frame, effects, tries] = [0, 1, 2];
  const blockAddress = [localGet(frame), i32Const(-threadBlock.bytes), plain('i32.and')];
  const inBlock = (offset: number) => [...blockAddress, access('i32.load', kernel, offset)];
  const body = [
    ...writeRunning('effects', [localGet(effects)]),
    ...inBlock(threadBlock.injectionTarget),
    localGet(frame),
    plain('i32.ne'),
    localGet(tries),
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
    localGet(tries),
    i32Const(1),
    plain('i32.add'),
  ];
  return { type: { parameters: ['i32', 'i32', 'i32'], results: ['i32'] }, locals: [], body };
}

/** The function as a part of a module. */
export function toFunctionBody({ type, locals, body }: StubFunction, types: TypeTable): FunctionBody {
  return { type: types.indexOf(type), locals: locals.map((local): LocalRun => ({ count: 1, type: local })), ...encodeInstructions(body) };
}
