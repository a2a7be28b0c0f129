// Entry wrappers: code that an access runs at the entry and the exit of an image that threads may not enter freely.

import { allocationBudgetExport, collectExport, imageRecord, runningThread, threadBlock } from '../machine/abi.ts';
import {
  access,
  call,
  end,
  globalGet,
  globalSet,
  type Instruction,
  i32Const,
  ifBlock,
  localGet,
  localSet,
  plain,
} from './binary/instruction.ts';
import { decodeBody, encodeInstructions } from './binary/instruction-codec.ts';
import { type Export, type FunctionBody, type Global, importsOf, type Module, typeIndexOf } from './binary/module.ts';
import { functionPlaceholders, globalPlaceholders, memoryPlaceholders } from './placeholders.ts';
import type { Collector } from './toolchain.ts';

export type EntryControl = {
  /** Whether at most one thread may be inside at a time. */
  readonly isExclusive: boolean;
  /** The functions of a garbage collector, which runs while no access is inside; null: the module has none. */
  readonly collector: Collector | null;
};

const { kernel } = memoryPlaceholders;
const { record } = globalPlaceholders;

const readRecord = (word: keyof typeof imageRecord) => [globalGet(record), access('i32.load', kernel, imageRecord[word])];
const writeRecord = (word: keyof typeof imageRecord, value: readonly Instruction[]) => [
  globalGet(record),
  ...value,
  access('i32.store', kernel, imageRecord[word]),
];

/**
 * Wraps every exported function. The module's own calls bypass the wrappers. Runs after instrumentation, because wrappers must have no safepoints.
 * A module that needs no entry control is returned unchanged.
 */
export function addEntryWrappers(module: Module, control: EntryControl): Module {
  if (!control.isExclusive && control.collector === null) return module;
  const { collector } = control;
  const counted = collector === null ? module : countAllocations(module, collector);
  const budget = importsOf(module, 'global').length + module.globals.length;
  const firstIndex = importsOf(module, 'function').length + module.functions.length;
  const wrappers: FunctionBody[] = [];
  const exports = module.exports.map((item): Export => {
    if (item.kind !== 'function') return item;
    wrappers.push(createWrapper(module, item.index, control, budget));
    return { ...item, index: firstIndex + wrappers.length - 1 };
  });
  const added: Export[] =
    collector === null
      ? []
      : [
          { name: collectExport, kind: 'function', index: collector.collect },
          { name: allocationBudgetExport, kind: 'global', index: budget },
        ];
  return { ...counted, functions: [...counted.functions, ...wrappers], exports: [...exports, ...added] };
}

function createWrapper(module: Module, target: number, { isExclusive, collector }: EntryControl, budget: number): FunctionBody {
  const typeIndex = typeIndexOf(module, target);
  const type = typeIndex === undefined ? undefined : module.types[typeIndex];
  if (typeIndex === undefined || type === undefined) throw new Error(`the module has no function ${target}`);
  const thread = type.parameters.length;
  const instructions = [
    ...(collector === null ? [] : waitForCollection()),
    ...(isExclusive ? acquireOwnership(thread) : []),
    ...type.parameters.map((_, index) => localGet(index)),
    // The results stay on the operand stack while the exit runs.
    call(target),
    ...(isExclusive ? releaseOwnership() : []),
    ...(collector === null ? [] : requestCollection(budget)),
  ];
  return { type: typeIndex, locals: isExclusive ? [{ count: 1, type: 'i32' }] : [], ...encodeInstructions(instructions) };
}

function acquireOwnership(thread: number): Instruction[] {
  return [
    i32Const(runningThread.stack),
    access('i32.load', kernel),
    i32Const(-threadBlock.bytes),
    plain('i32.and'),
    localSet(thread),
    ...readRecord('owner'),
    localGet(thread),
    plain('i32.eq'),
    ifBlock(),
    ...writeRecord('depth', [...readRecord('depth'), i32Const(1), plain('i32.add')]),
    plain('else'),
    ...readRecord('owner'),
    ifBlock(),
    globalGet(record),
    call(functionPlaceholders.acquire),
    plain('else'),
    ...writeRecord('owner', [localGet(thread)]),
    ...writeRecord('depth', [i32Const(1)]),
    end,
    end,
  ];
}

function releaseOwnership(): Instruction[] {
  return [
    ...writeRecord('depth', [...readRecord('depth'), i32Const(1), plain('i32.sub')]),
    ...readRecord('depth'),
    plain('i32.eqz'),
    ifBlock(),
    ...writeRecord('owner', [i32Const(0)]),
    ...readRecord('contended'),
    ifBlock(),
    globalGet(record),
    call(functionPlaceholders.release),
    end,
    end,
  ];
}

function waitForCollection(): Instruction[] {
  return [
    ...readRecord('entryHeld'),
    ifBlock(),
    globalGet(record),
    call(functionPlaceholders.held),
    ifBlock(),
    globalGet(record),
    call(functionPlaceholders.hold),
    end,
    end,
  ];
}

function requestCollection(budget: number): Instruction[] {
  return [globalGet(budget), i32Const(0), plain('i32.lt_s'), ifBlock(), globalGet(record), call(functionPlaceholders.collect), end];
}

/** Bytes that AssemblyScript's runtime adds to an object: a header of 16, a block header of 4, and the padding to a multiple of 16. */
const objectOverhead = 32;

/** Makes the allocating function subtract the size of each object from the budget. */
function countAllocations(module: Module, { allocate, sizeParameter }: Collector): Module {
  const budget = importsOf(module, 'global').length + module.globals.length;
  const position = allocate - importsOf(module, 'function').length;
  const size = [localGet(sizeParameter), i32Const(objectOverhead), plain('i32.add')];
  const count = [globalGet(budget), ...size, plain('i32.sub'), globalSet(budget)];
  const functions = module.functions.map(
    (body, index): FunctionBody =>
      index === position ? { type: body.type, locals: body.locals, ...encodeInstructions([...count, ...decodeBody(body)]) } : body,
  );
  return { ...module, functions, globals: [...module.globals, budgetGlobal] };
}

const budgetGlobal: Global = { type: { value: 'i32', mutable: true }, init: encodeInstructions([i32Const(0)]).body };
