// Links an image: replaces imports of other modules with access stubs, adds the machine's imports and support functions, and renumbers all references.

import {
  entryControlImports,
  fuelExport,
  kernelNamespace,
  offsetNamespacePrefix,
  systemNamespace,
  tableEntryNamespace,
} from '../machine/abi.ts';
import type { FunctionType } from '../machine/images/stamp.ts';
import { createAccessStub, createInjectedErrorHandler, type StubFunction, type StubOptions, toFunctionBody } from './access-stub.ts';
import { type IndexMaps, mapIndices } from './binary/index-map.ts';
import { opcodes } from './binary/instruction.ts';
import { decodeBody, encodeInstructions } from './binary/instruction-codec.ts';
import { type ElementSegment, type Export, type FunctionBody, type Import, importsOf, type Limits, type Module } from './binary/module.ts';
import { TypeTable } from './binary/type-table.ts';
import { createYieldFunction, fuelGlobal } from './fuel.ts';
import { inlineInLoops } from './inlining.ts';
import {
  firstStubGlobalPlaceholder,
  functionPlaceholders,
  globalPlaceholders,
  memoryPlaceholders,
  tablePlaceholders,
  tagPlaceholders,
} from './placeholders.ts';

export type LinkOptions = {
  /** A module exports functions only; its other exports are omitted. */
  readonly kind: 'module' | 'driver';
  readonly stubs: StubOptions;
  /** Maximum size of a memory, in pages of 64 KiB. */
  readonly memoryPages: number;
  /** Maximum size of a table that grows, in elements. */
  readonly tableElements: number;
};

/**
 * Links an instrumented module, whose code refers to the compiler's additions by the placeholders of placeholders.ts. Adds only the functions, globals
 * and imports that code refers to. The machine's imports come first in each index space.
 */
export function link(module: Module, options: LinkOptions): Module {
  const types = new TypeTable(module.types);
  const stubs = createStubs(module, options.stubs, types);
  const references = new References();
  const own = inlineStubs(module, stubs, types, references);
  noteExternalReferences(module, options.kind, references);
  const added = addFunctions(stubs, references);
  const placed = placeImports(module, references, stubs, types);
  const maps = indexMaps(module, references, placed, added);
  const firstTable = importsOf(module, 'table').length;
  const functions = [...own, ...added.map(({ stub }) => toFunctionBody(stub, types))].map((body) => mapBody(body, maps));
  return {
    // Read after the functions, which add types.
    types: types.types,
    imports: placed.map(({ item }) => item),
    functions,
    tables: module.tables.map(({ element, limits }, position) => ({
      element,
      limits: limitGrowth(limits, references.grownTables.has(firstTable + position) ? options.tableElements : limits.initial),
    })),
    memories: module.memories.map((limits) => limitGrowth(limits, options.memoryPages)),
    globals: [...module.globals, ...(references.globals.has(globalPlaceholders.fuel) ? [fuelGlobal] : [])].map(({ type, init }) => ({
      type,
      init: mapExpression(init, maps),
    })),
    exports: linkExports(module, options.kind, references, maps),
    start: module.start === null ? null : maps.functions(module.start),
    elements: module.elements.map((segment) => mapElements(segment, maps)),
    data: module.data.map(({ place, bytes }) => ({
      place: place.kind === 'active' ? { ...place, index: maps.memories(place.index), offset: mapExpression(place.offset, maps) } : place,
      bytes,
    })),
    hasDataCount: module.hasDataCount,
    functionNames: new Map(),
    customSections: module.customSections,
  };
}

/** The indices and placeholders that an image refers to. */
class References {
  readonly functions = new Set<number>();
  readonly globals = new Set<number>();
  readonly memories = new Set<number>();
  readonly tables = new Set<number>();
  readonly tags = new Set<number>();
  /** Tables that the module's code grows. */
  readonly grownTables = new Set<number>();

  /** Identity maps for `mapIndices` that record each index. */
  readonly maps: IndexMaps = {
    functions: (index) => note(this.functions, index),
    globals: (index) => note(this.globals, index),
    memories: (index) => note(this.memories, index),
    tables: (index) => note(this.tables, index),
    tags: (index) => note(this.tags, index),
  };
}

function note(seen: Set<number>, index: number): number {
  seen.add(index);
  return index;
}

/** Returns whether calls of an import are accesses of another module. */
const isAccess = ({ module, kind }: Import) => kind === 'function' && module !== systemNamespace && module !== kernelNamespace;

type Stubs = {
  /** Stubs by the index of the import that each replaces. */
  readonly functions: ReadonlyMap<number, StubFunction>;
  /** Imported globals; number n has the placeholder `firstStubGlobal + n`. */
  readonly globals: readonly Import[];
};

function createStubs(module: Module, options: StubOptions, types: TypeTable): Stubs {
  const globals: Import[] = [];
  const placeholders = new Map<string, number>();
  const globalFor = (namespace: string, name: string): number => {
    const key = JSON.stringify([namespace, name]);
    const placeholder = placeholders.get(key) ?? firstStubGlobalPlaceholder + globals.length;
    if (!placeholders.has(key)) globals.push({ module: namespace, name, kind: 'global', global: { value: 'i32', mutable: false } });
    placeholders.set(key, placeholder);
    return placeholder;
  };
  const functions = new Map<number, StubFunction>();
  for (const [index, item] of importsOf(module, 'function').entries()) {
    const type = module.types[item.type];
    if (!isAccess(item) || type === undefined) continue;
    const entryGlobal = globalFor(tableEntryNamespace, item.module);
    const offsetGlobal = globalFor(`${offsetNamespacePrefix}${item.module}`, item.name);
    functions.set(index, createAccessStub({ type, entryGlobal, offsetGlobal }, options, types));
  }
  return { functions, globals };
}

/** Inlines stubs in the module's loops, and records the references of the module's functions. */
function inlineStubs(module: Module, stubs: Stubs, types: TypeTable, references: References): FunctionBody[] {
  return module.functions.map((body) => {
    const own = body.locals.reduce((sum, { count }) => sum + count, 0);
    const localCount = own + (module.types[body.type]?.parameters.length ?? 0);
    const instructions = decodeBody(body);
    const inlined = inlineInLoops(instructions, localCount, stubs.functions, types);
    mapIndices(inlined.instructions, references.maps);
    for (const instruction of instructions) {
      if (instruction.kind === 'table' && instruction.op === opcodes['table.grow']) references.grownTables.add(instruction.index);
    }
    if (inlined.instructions === instructions) return body;
    return { type: body.type, locals: [...body.locals, ...inlined.locals], ...encodeInstructions(inlined.instructions) };
  });
}

/** Returns whether the image has an export. A module exports functions, and items with the machine's own names. */
const isExported = ({ kind, name }: Export, of: LinkOptions['kind']) =>
  of === 'driver' || kind === 'function' || name.startsWith(`${systemNamespace}:`);

/** Records references from exports, the start function, globals and element segments. */
function noteExternalReferences(module: Module, kind: LinkOptions['kind'], { functions, maps }: References): void {
  for (const item of module.exports) if (item.kind === 'function' && isExported(item, kind)) functions.add(item.index);
  if (module.start !== null) functions.add(module.start);
  for (const { init } of module.globals) mapIndices(decodeBody({ body: init }), maps);
  for (const { items } of module.elements) {
    if (items.kind === 'functions') for (const index of items.indices) functions.add(index);
    else for (const expression of items.expressions) mapIndices(decodeBody({ body: expression }), maps);
  }
}

/** A stub or support function to add, with the index or placeholder by which code refers to it. */
type AddedFunction = { readonly index: number; readonly stub: StubFunction };

function addFunctions(stubs: Stubs, references: References): AddedFunction[] {
  const candidates: AddedFunction[] = [
    ...[...stubs.functions].map(([index, stub]) => ({ index, stub })),
    { index: functionPlaceholders.handleInjectedError, stub: createInjectedErrorHandler() },
    { index: functionPlaceholders.yield, stub: createYieldFunction() },
  ];
  const added: AddedFunction[] = [];
  // In this order, no candidate refers to an earlier one.
  for (const candidate of candidates) {
    if (!references.functions.has(candidate.index)) continue;
    mapIndices(candidate.stub.body, references.maps);
    added.push(candidate);
  }
  return added;
}

/** An import of the image, with the indices and placeholders by which code refers to it. */
type PlacedImport = { readonly item: Import; readonly indices: readonly number[] };

/** An import of the machine, its placeholder, and the set that records references to the placeholder. */
type Candidate = readonly [seen: ReadonlySet<number>, placeholder: number, item: () => Import];

/** The functions that entry wrappers call. */
function entryControlCandidates(references: References, types: TypeTable): Candidate[] {
  return (['acquire', 'release', 'held', 'hold', 'collect'] as const).map((name) => {
    const type: FunctionType = { parameters: ['i32'], results: name === 'held' ? ['i32'] : [] };
    const item = (): Import => ({ module: systemNamespace, name: entryControlImports[name], kind: 'function', type: types.indexOf(type) });
    return [references.functions, functionPlaceholders[name], item];
  });
}

/** Returns the machine's imports that code refers to. */
function systemImports(references: References, types: TypeTable): PlacedImport[] {
  const at = (name: string) => ({ module: systemNamespace, name });
  const { tick, suspend } = functionPlaceholders;
  const all: readonly Candidate[] = [
    [references.memories, memoryPlaceholders.kernel, () => ({ ...at('memory'), kind: 'memory', memory: { initial: 1, maximum: null } })],
    [references.tables, tablePlaceholders.space, () => ({ ...at('space'), kind: 'table', table: spaceType })],
    [
      references.tags,
      tagPlaceholders.injected,
      () => ({ ...at('injected'), kind: 'tag', type: types.indexOf({ parameters: [], results: [] }) }),
    ],
    [references.functions, tick, () => ({ ...at('tick'), kind: 'function', type: types.indexOf({ parameters: [], results: ['i32'] }) })],
    [references.functions, suspend, () => ({ ...at('suspend'), kind: 'function', type: types.indexOf({ parameters: [], results: [] }) })],
    [
      references.globals,
      globalPlaceholders.record,
      () => ({ ...at(entryControlImports.record), kind: 'global', global: { value: 'i32', mutable: false } }),
    ],
    ...entryControlCandidates(references, types),
  ];
  return all.flatMap(([seen, placeholder, item]) => (seen.has(placeholder) ? [{ item: item(), indices: [placeholder] }] : []));
}

const spaceType = { element: 'funcref', limits: { initial: 0, maximum: null } } as const;

/** Returns all imports of the image in order. An import that a driver and the compiler share appears once. */
function placeImports(module: Module, references: References, stubs: Stubs, types: TypeTable): PlacedImport[] {
  const placed = systemImports(references, types);
  for (const [index, item] of stubs.globals.entries()) {
    if (references.globals.has(firstStubGlobalPlaceholder + index)) placed.push({ item, indices: [firstStubGlobalPlaceholder + index] });
  }
  const counts = { function: 0, table: 0, memory: 0, global: 0, tag: 0 };
  for (const item of module.imports) {
    const index = counts[item.kind];
    counts[item.kind] += 1;
    if (isAccess(item)) continue;
    const same = placed.findIndex(
      (other) => other.item.kind === item.kind && other.item.module === item.module && other.item.name === item.name,
    );
    const known = placed[same];
    if (known === undefined) placed.push({ item, indices: [index] });
    else placed[same] = { item: known.item, indices: [...known.indices, index] };
  }
  return placed;
}

type Maps = Required<Pick<IndexMaps, 'functions' | 'globals' | 'memories' | 'tables' | 'tags'>>;

function indexMaps(module: Module, references: References, placed: readonly PlacedImport[], added: readonly AddedFunction[]): Maps {
  const functions = indexMap('function', module, placed, module.functions.length);
  const firstAdded = placed.filter(({ item }) => item.kind === 'function').length + module.functions.length;
  for (const [position, { index }] of added.entries()) functions.moved.set(index, firstAdded + position);
  const globals = indexMap('global', module, placed, module.globals.length);
  const fuel = placed.filter(({ item }) => item.kind === 'global').length + module.globals.length;
  if (references.globals.has(globalPlaceholders.fuel)) globals.moved.set(globalPlaceholders.fuel, fuel);
  return {
    functions: functions.map,
    globals: globals.map,
    memories: indexMap('memory', module, placed, module.memories.length).map,
    tables: indexMap('table', module, placed, module.tables.length).map,
    tags: indexMap('tag', module, placed, 0).map,
  };
}

/** Maps the indices of one kind: imports and additions by `moved`, the module's own items by a constant offset. */
function indexMap(kind: Import['kind'], module: Module, placed: readonly PlacedImport[], own: number) {
  const moved = new Map<number, number>();
  const imports = placed.filter(({ item }) => item.kind === kind);
  for (const [position, { indices }] of imports.entries()) for (const index of indices) moved.set(index, position);
  const firstOwn = importsOf(module, kind).length;
  const map = (index: number): number => {
    const isOwn = index >= firstOwn && index < firstOwn + own;
    const found = isOwn ? index - firstOwn + imports.length : moved.get(index);
    if (found === undefined) throw new Error(`the module has no ${kind} ${index}`);
    return found;
  };
  return { moved, map };
}

function mapBody(body: FunctionBody, maps: Maps): FunctionBody {
  return { type: body.type, locals: body.locals, ...encodeInstructions(mapIndices(decodeBody(body), maps)) };
}

const mapExpression = (expression: Uint8Array, maps: Maps) => encodeInstructions(mapIndices(decodeBody({ body: expression }), maps)).body;

function mapElements({ place, items }: ElementSegment, maps: Maps): ElementSegment {
  return {
    place: place.kind === 'active' ? { ...place, index: maps.tables(place.index), offset: mapExpression(place.offset, maps) } : place,
    items:
      items.kind === 'functions'
        ? { kind: 'functions', indices: items.indices.map(maps.functions) }
        : { ...items, expressions: items.expressions.map((expression) => mapExpression(expression, maps)) },
  };
}

function linkExports(module: Module, kind: LinkOptions['kind'], references: References, maps: Maps): Export[] {
  const byKind = { function: maps.functions, global: maps.globals, memory: maps.memories, table: maps.tables, tag: maps.tags };
  const exported = module.exports
    .filter((item) => isExported(item, kind))
    .map((item) => ({ ...item, index: byKind[item.kind](item.index) }));
  if (!references.globals.has(globalPlaceholders.fuel)) return exported;
  return [...exported, { name: fuelExport, kind: 'global', index: maps.globals(globalPlaceholders.fuel) }];
}

/** Limits the growth of a memory or table. An initial size at or above the limit becomes the maximum. */
function limitGrowth({ initial, maximum }: Limits, limit: number): Limits {
  return { initial, maximum: Math.max(initial, Math.min(maximum ?? limit, limit)) };
}
