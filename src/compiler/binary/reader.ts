// Decodes the binary format to a module. Custom sections are dropped, except function names, and never make a module invalid.

import type { FunctionType } from '../../machine/images/stamp.ts';
import { compilerLimits } from '../limits.ts';
import { ByteReader } from './byte-reader.ts';
import { type Feature, supportedFeatures } from './instruction.ts';
import { skipInstructions } from './instruction-codec.ts';
import {
  type ActivePlace,
  type DataSegment,
  type ElementSegment,
  type Export,
  type FunctionBody,
  type Global,
  type GlobalType,
  type Import,
  type Limits,
  MalformedModuleError,
  type Module,
  type TableType,
  UnsupportedFeatureError,
} from './module.ts';
import { readFunctionNames } from './name-section.ts';

const header = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

/** Codes and names of sections, in their required order. */
const sections = [
  [1, 'type'],
  [2, 'import'],
  [3, 'function'],
  [4, 'table'],
  [5, 'memory'],
  [13, 'tag'],
  [6, 'global'],
  [7, 'export'],
  [8, 'start'],
  [9, 'element'],
  [12, 'data count'],
  [10, 'code'],
  [11, 'data'],
] as const;

type SectionName = (typeof sections)[number][1];

/** Maximum locals of a function (the limit of V8) and of a module: a few bytes can declare thousands of locals, and binaryen allocates each. */
const localLimit = compilerLimits.locals.value;
const moduleLocalLimit = compilerLimits.moduleLocals.value;

/** A partially decoded module. Function types and function bodies are in different sections. */
type Parts = { -readonly [Key in keyof Module]: Module[Key] } & { functionTypes: readonly number[]; dataCount: number | null };

/**
 * Decodes a module. Checks the encoding of sections and instructions only; the engine validates the rest.
 * @param accepted Features that the module may use.
 * @throws {MalformedModuleError} if the bytes are not a core module.
 * @throws {UnsupportedFeatureError} if the module uses another feature.
 */
export function decodeModule(bytes: Uint8Array, accepted: ReadonlySet<Feature> = supportedFeatures): Module {
  const reader = new ByteReader(bytes);
  for (const expected of header) {
    if (reader.byte('the header of a WebAssembly module') !== expected) {
      throw new MalformedModuleError('expected the header of a WebAssembly module of version 1', reader.offset - 1);
    }
  }
  const parts = emptyParts();
  let position = -1;
  while (!reader.atEnd) {
    const start = reader.offset;
    const code = reader.byte('a section');
    const section = reader.subreader(reader.unsigned('the size of a section'), 'a section');
    if (code === 0) {
      if (parts.functionNames.size === 0) parts.functionNames = readFunctionNames(section);
      continue;
    }
    const found = sections.findIndex(([known]) => known === code);
    const name = sections[found]?.[1];
    if (name === undefined) throw new MalformedModuleError(`unknown section ${code}`, start);
    if (found <= position) throw new MalformedModuleError(`the ${name} section is duplicated or out of order`, start);
    position = found;
    readSection(name, section, parts, accepted);
    section.expectEnd(`the ${name} section`);
  }
  return finishParts(parts, reader.offset);
}

function emptyParts(): Parts {
  return {
    types: [],
    imports: [],
    functions: [],
    tables: [],
    memories: [],
    globals: [],
    exports: [],
    start: null,
    elements: [],
    data: [],
    hasDataCount: false,
    functionNames: new Map(),
    customSections: [],
    functionTypes: [],
    dataCount: null,
  };
}

function finishParts({ functionTypes, dataCount, ...module }: Parts, offset: number): Module {
  if (functionTypes.length !== module.functions.length) {
    throw new MalformedModuleError(
      `expected code for ${functionTypes.length} declared functions, received ${module.functions.length}`,
      offset,
    );
  }
  if (dataCount !== null && dataCount !== module.data.length) {
    throw new MalformedModuleError(`expected ${dataCount} declared data segments, received ${module.data.length}`, offset);
  }
  return module;
}

function readSection(name: SectionName, reader: ByteReader, parts: Parts, accepted: ReadonlySet<Feature>): void {
  switch (name) {
    case 'type':
      parts.types = reader.list('types', readFunctionType);
      return;
    case 'import':
      parts.imports = reader.list('imports', () => readImport(reader, accepted));
      return;
    case 'function':
      parts.functionTypes = reader.list('functions', () => reader.unsigned('a type index'));
      return;
    case 'table':
      parts.tables = reader.list('tables', () => readTable(reader));
      return;
    case 'memory':
      parts.memories = reader.list('memories', () => readMemory(reader));
      requireOneMemory(parts, reader, accepted);
      return;
    case 'tag':
      throw new UnsupportedFeatureError('exception handling', 'a tag section', reader.offset);
    case 'global':
      parts.globals = reader.list('globals', () => readGlobal(reader, accepted));
      return;
    case 'export':
      parts.exports = reader.list('exports', readExport);
      return;
    case 'start':
      parts.start = reader.unsigned('the start function');
      return;
    case 'element':
      parts.elements = reader.list('element segments', () => readElements(reader, accepted));
      return;
    case 'data count':
      parts.dataCount = reader.unsigned('the number of data segments');
      parts.hasDataCount = true;
      return;
    case 'code':
      parts.functions = readCode(reader, parts, accepted);
      return;
    case 'data':
      parts.data = reader.list('data segments', () => readData(reader, accepted));
  }
}

const unsupportedTypeForms: ReadonlyMap<number, string> = new Map([
  [0x4e, 'garbage collection'],
  [0x4f, 'garbage collection'],
  [0x50, 'garbage collection'],
  [0x5d, 'stack switching'],
  [0x5e, 'garbage collection'],
  [0x5f, 'garbage collection'],
]);

function readFunctionType(reader: ByteReader): FunctionType {
  const start = reader.offset;
  const form = reader.byte('a type');
  const feature = unsupportedTypeForms.get(form);
  if (feature !== undefined) throw new UnsupportedFeatureError(feature, `type form 0x${form.toString(16)}`, start);
  if (form !== 0x60) throw new MalformedModuleError(`unknown type form 0x${form.toString(16)}`, start);
  const parameters = reader.list('parameters', () => reader.valueType('a parameter'));
  return { parameters, results: reader.list('results', () => reader.valueType('a result')) };
}

const externalKinds = ['function', 'table', 'memory', 'global', 'tag'] as const;

function readExternalKind(reader: ByteReader): (typeof externalKinds)[number] {
  const code = reader.byte('a kind of import or export');
  const kind = externalKinds[code];
  if (kind === undefined) throw new MalformedModuleError(`unknown kind ${code} of import or export`, reader.offset - 1);
  return kind;
}

function readImport(reader: ByteReader, accepted: ReadonlySet<Feature>): Import {
  const names = { module: reader.name('the module of an import'), name: reader.name('the name of an import') };
  const start = reader.offset;
  const kind = readExternalKind(reader);
  switch (kind) {
    case 'function':
      return { ...names, kind, type: reader.unsigned('a type index') };
    case 'table':
      return { ...names, kind, table: readTableType(reader) };
    case 'memory':
      return { ...names, kind, memory: readMemory(reader) };
    case 'global':
      return { ...names, kind, global: readGlobalType(reader) };
    case 'tag':
      if (!accepted.has('exception handling')) throw new UnsupportedFeatureError('exception handling', 'an imported tag', start);
      reader.byte('the attribute of a tag');
      return { ...names, kind, type: reader.unsigned('a type index') };
  }
}

/** Flags of limits that belong to unsupported features. */
const limitFlags = [
  [2, 'threads', 'a shared memory'],
  [4, '64-bit memory', 'a 64-bit memory or table'],
  [8, 'custom page sizes', 'a memory of another page size'],
] as const;

function readLimits(reader: ByteReader): Limits {
  const start = reader.offset;
  const flags = reader.byte('limits');
  if (flags > 0x0f) throw new MalformedModuleError(`unknown limits 0x${flags.toString(16)}`, start);
  for (const [bit, feature, construct] of limitFlags) if ((flags & bit) !== 0) throw new UnsupportedFeatureError(feature, construct, start);
  return { initial: reader.unsigned('the initial size'), maximum: flags === 1 ? reader.unsigned('the maximum size') : null };
}

const readMemory = readLimits;

function readTableType(reader: ByteReader): TableType {
  return { element: reader.referenceType('the elements of a table'), limits: readLimits(reader) };
}

/** First byte of a table with an initial value. */
const tableWithInitialValue = 0x40;

function readTable(reader: ByteReader): TableType {
  if (reader.bytes[reader.offset] === tableWithInitialValue && !reader.atEnd) {
    throw new UnsupportedFeatureError('typed function references', 'a table with an initial value', reader.offset);
  }
  return readTableType(reader);
}

function requireOneMemory({ imports, memories }: Parts, reader: ByteReader, accepted: ReadonlySet<Feature>): void {
  const count = memories.length + imports.filter(({ kind }) => kind === 'memory').length;
  if (count > 1 && !accepted.has('multiple memories'))
    throw new UnsupportedFeatureError('multiple memories', `${count} memories`, reader.offset);
}

function readGlobalType(reader: ByteReader): GlobalType {
  const value = reader.valueType('a global');
  const mutable = reader.byte('the mutability of a global');
  if (mutable > 1) throw new MalformedModuleError(`unknown mutability ${mutable}`, reader.offset - 1);
  return { value, mutable: mutable === 1 };
}

function readGlobal(reader: ByteReader, accepted: ReadonlySet<Feature>): Global {
  return { type: readGlobalType(reader), init: skipInstructions(reader, accepted) };
}

function readExport(reader: ByteReader): Export {
  const name = reader.name('the name of an export');
  return { name, kind: readExternalKind(reader), index: reader.unsigned('the index of an export') };
}

function readElements(reader: ByteReader, accepted: ReadonlySet<Feature>): ElementSegment {
  const start = reader.offset;
  const flags = reader.unsigned('an element segment');
  if (flags > 7) throw new MalformedModuleError(`unknown element segment ${flags}`, start);
  const place = readElementPlace(reader, flags, accepted);
  const isTyped = (flags & 3) !== 0;
  if ((flags & 4) !== 0) {
    const type = isTyped ? reader.referenceType('an element segment') : 'funcref';
    const expressions = reader.list('elements', () => skipInstructions(reader, accepted));
    return { place, items: { kind: 'expressions', type, expressions } };
  }
  if (isTyped && reader.byte('the kind of elements') !== 0) throw new MalformedModuleError('unknown kind of elements', reader.offset - 1);
  return { place, items: { kind: 'functions', indices: reader.list('elements', () => reader.unsigned('a function index')) } };
}

function readElementPlace(reader: ByteReader, flags: number, accepted: ReadonlySet<Feature>): ElementSegment['place'] {
  if ((flags & 1) === 0) return readActivePlace(reader, (flags & 2) !== 0, accepted);
  return { kind: (flags & 2) === 0 ? 'passive' : 'declarative' };
}

function readActivePlace(reader: ByteReader, hasIndex: boolean, accepted: ReadonlySet<Feature>): ActivePlace {
  const index = hasIndex ? reader.unsigned('the table or memory of a segment') : 0;
  return { kind: 'active', index, offset: skipInstructions(reader, accepted) };
}

function readData(reader: ByteReader, accepted: ReadonlySet<Feature>): DataSegment {
  const start = reader.offset;
  const flags = reader.unsigned('a data segment');
  if (flags > 2) throw new MalformedModuleError(`unknown data segment ${flags}`, start);
  const place = flags === 1 ? ({ kind: 'passive' } as const) : readActivePlace(reader, flags === 2, accepted);
  return { place, bytes: reader.take(reader.unsigned('the size of a data segment'), 'a data segment') };
}

function readCode(reader: ByteReader, { functionTypes }: Parts, accepted: ReadonlySet<Feature>): FunctionBody[] {
  const start = reader.offset;
  let locals = 0;
  return reader.list('function bodies', (_, index) => {
    const type = functionTypes[index];
    if (type === undefined) throw new MalformedModuleError('the code section has more functions than are declared', start);
    const body = readBody(reader.subreader(reader.unsigned('the size of a function body'), 'a function body'), type, accepted);
    locals += countLocals(body);
    if (locals > moduleLocalLimit)
      throw new MalformedModuleError(`the functions have ${locals} locals or more; the limit is ${moduleLocalLimit}`, start);
    return body;
  });
}

const countLocals = ({ locals }: Pick<FunctionBody, 'locals'>) => locals.reduce((sum, run) => sum + run.count, 0);

function readBody(reader: ByteReader, type: number, accepted: ReadonlySet<Feature>): FunctionBody {
  const start = reader.offset;
  const locals = reader.list('runs of locals', () => ({ count: reader.unsigned('a number of locals'), type: reader.valueType('a local') }));
  const count = countLocals({ locals });
  if (count > localLimit) throw new MalformedModuleError(`a function has ${count} locals; the limit is ${localLimit}`, start);
  const body = skipInstructions(reader, accepted);
  reader.expectEnd('a function body');
  return { type, locals, body };
}
