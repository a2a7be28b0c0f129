// Encodes a module to the binary format. The same module produces the same bytes.

import { ByteWriter } from './byte-writer.ts';
import {
  type ActivePlace,
  type DataSegment,
  type ElementSegment,
  type Export,
  type ExternalKind,
  type FunctionBody,
  type GlobalType,
  type Import,
  importsOf,
  type Limits,
  type Module,
  type TableType,
} from './module.ts';

const header = new Uint8Array([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);

/** The final `end` of a body or a constant expression. */
const end = 0x0b;

const externalCodes: Readonly<Record<ExternalKind, number>> = { function: 0, table: 1, memory: 2, global: 3, tag: 4 };

/** Encodes a module, with its branch hints if it has any, and its custom sections at the end. */
export function encodeModule(module: Module): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter();
  writer.raw(header);
  writeList(writer, 1, module.types, (section, type) => {
    section.byte(0x60);
    section.list(type.parameters, (value) => section.valueType(value));
    section.list(type.results, (value) => section.valueType(value));
  });
  writeList(writer, 2, module.imports, writeImport);
  writeList(writer, 3, module.functions, (section, { type }) => section.unsigned(type));
  writeList(writer, 4, module.tables, writeTable);
  writeList(writer, 5, module.memories, writeLimits);
  writeList(writer, 6, module.globals, (section, { type, init }) => {
    writeGlobalType(section, type);
    writeExpression(section, init);
  });
  writeList(writer, 7, module.exports, writeExport);
  if (module.start !== null) writeSection(writer, 8, numberBytes(module.start));
  writeList(writer, 9, module.elements, writeElements);
  if (module.hasDataCount) writeSection(writer, 12, numberBytes(module.data.length));
  writeHints(writer, module);
  writeList(writer, 10, module.functions, writeBody);
  writeList(writer, 11, module.data, writeData);
  for (const { name, content } of module.customSections) writeCustomSection(writer, name, content);
  return writer.finish();
}

function writeSection(writer: ByteWriter, code: number, content: Uint8Array): void {
  writer.byte(code);
  writer.sized(content);
}

function numberBytes(value: number): Uint8Array {
  const writer = new ByteWriter();
  writer.unsigned(value);
  return writer.finish();
}

/** Writes a section with a list. Omits the section if the list is empty. */
function writeList<Item>(writer: ByteWriter, code: number, items: readonly Item[], write: (section: ByteWriter, item: Item) => void): void {
  if (items.length === 0) return;
  const section = new ByteWriter();
  section.list(items, (item) => write(section, item));
  writeSection(writer, code, section.finish());
}

function writeCustomSection(writer: ByteWriter, name: string, content: Uint8Array): void {
  const section = new ByteWriter();
  section.name(name);
  section.raw(content);
  writeSection(writer, 0, section.finish());
}

function writeImport(section: ByteWriter, item: Import): void {
  section.name(item.module);
  section.name(item.name);
  section.byte(externalCodes[item.kind]);
  switch (item.kind) {
    case 'function':
      section.unsigned(item.type);
      break;
    case 'table':
      writeTable(section, item.table);
      break;
    case 'memory':
      writeLimits(section, item.memory);
      break;
    case 'global':
      writeGlobalType(section, item.global);
      break;
    case 'tag':
      section.byte(0);
      section.unsigned(item.type);
      break;
  }
}

function writeLimits(section: ByteWriter, { initial, maximum }: Limits): void {
  section.byte(maximum === null ? 0 : 1);
  section.unsigned(initial);
  if (maximum !== null) section.unsigned(maximum);
}

function writeTable(section: ByteWriter, { element, limits }: TableType): void {
  section.valueType(element);
  writeLimits(section, limits);
}

function writeGlobalType(section: ByteWriter, { value, mutable }: GlobalType): void {
  section.valueType(value);
  section.byte(mutable ? 1 : 0);
}

function writeExpression(section: ByteWriter, expression: Uint8Array): void {
  section.raw(expression);
  section.byte(end);
}

function writeExport(section: ByteWriter, { name, kind, index }: Export): void {
  section.name(name);
  section.byte(externalCodes[kind]);
  section.unsigned(index);
}

function writeElements(section: ByteWriter, { place, items }: ElementSegment): void {
  const isTyped = place.kind !== 'active' || place.index !== 0 || (items.kind === 'expressions' && items.type !== 'funcref');
  const form = place.kind === 'passive' ? 1 : place.kind === 'declarative' ? 3 : isTyped ? 2 : 0;
  section.unsigned(items.kind === 'expressions' ? form | 4 : form);
  if (place.kind === 'active') writePlace(section, place, isTyped);
  if (items.kind === 'functions') {
    if (isTyped) section.byte(0);
    section.list(items.indices, (index) => section.unsigned(index));
  } else {
    if (isTyped) section.valueType(items.type);
    section.list(items.expressions, (expression) => writeExpression(section, expression));
  }
}

function writePlace(section: ByteWriter, { index, offset }: ActivePlace, hasIndex: boolean): void {
  if (hasIndex) section.unsigned(index);
  writeExpression(section, offset);
}

function writeData(section: ByteWriter, { place, bytes }: DataSegment): void {
  const hasIndex = place.kind === 'active' && place.index !== 0;
  section.unsigned(place.kind === 'passive' ? 1 : hasIndex ? 2 : 0);
  if (place.kind === 'active') writePlace(section, place, hasIndex);
  section.sized(bytes);
}

/** Encodes the declaration of the locals at the start of a body. */
function localsBytes({ locals }: FunctionBody): Uint8Array {
  const writer = new ByteWriter();
  writer.list(locals, ({ count, type }) => {
    writer.unsigned(count);
    writer.valueType(type);
  });
  return writer.finish();
}

function writeBody(section: ByteWriter, body: FunctionBody): void {
  const locals = localsBytes(body);
  section.unsigned(locals.length + body.body.length + 1);
  section.raw(locals);
  writeExpression(section, body.body);
}

/** Writes the section `metadata.code.branch_hint` (branch hinting proposal). Offsets count from the declaration of the locals of each function. */
function writeHints(writer: ByteWriter, module: Module): void {
  const imported = importsOf(module, 'function').length;
  const hinted = module.functions.flatMap((body, index) =>
    body.hints === undefined || body.hints.length === 0 ? [] : [{ index: imported + index, body, hints: body.hints }],
  );
  if (hinted.length === 0) return;
  const section = new ByteWriter();
  section.list(hinted, ({ index, body, hints }) => {
    section.unsigned(index);
    const start = localsBytes(body).length;
    section.list(hints, ({ offset, likely }) => {
      section.unsigned(start + offset);
      section.unsigned(1);
      section.byte(likely ? 1 : 0);
    });
  });
  writeCustomSection(writer, 'metadata.code.branch_hint', section.finish());
}
