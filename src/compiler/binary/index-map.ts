// Renumbers the references of instructions, for a module whose indices have moved.

import type { Instruction } from './instruction.ts';

/** Maps from old to new indices for each index space. An omitted space stays unchanged. */
export type IndexMaps = {
  readonly functions?: (index: number) => number;
  readonly globals?: (index: number) => number;
  readonly memories?: (index: number) => number;
  readonly tables?: (index: number) => number;
  readonly tags?: (index: number) => number;
  readonly types?: (index: number) => number;
  readonly locals?: (index: number) => number;
  readonly elements?: (index: number) => number;
  readonly data?: (index: number) => number;
};

const identity = (index: number) => index;

/** Returns the instructions with new indices. Unchanged instructions are the same objects. */
export function mapIndices(instructions: readonly Instruction[], maps: IndexMaps): Instruction[] {
  return instructions.map((instruction) => mapInstruction(instruction, maps));
}

function mapInstruction(instruction: Instruction, maps: IndexMaps): Instruction {
  const { memories = identity, tables = identity, tags = identity, types = identity } = maps;
  switch (instruction.kind) {
    case 'block':
      return instruction.type < 0 ? instruction : { ...instruction, type: types(instruction.type) };
    case 'try-table':
      return {
        ...instruction,
        type: instruction.type < 0 ? instruction.type : types(instruction.type),
        catches: instruction.catches.map((handler) => (handler.kind.startsWith('tag') ? { ...handler, tag: tags(handler.tag) } : handler)),
      };
    case 'call-indirect':
      return { ...instruction, type: types(instruction.type), table: tables(instruction.table) };
    case 'access':
    case 'lane-access':
      return withMemory(instruction, memories(instruction.memory));
    case 'memory-init':
      return { ...instruction, segment: maps.data?.(instruction.segment) ?? instruction.segment, memory: memories(instruction.memory) };
    case 'table-init':
      return { ...instruction, segment: maps.elements?.(instruction.segment) ?? instruction.segment, table: tables(instruction.table) };
    case 'memory-copy':
      return { ...instruction, destination: memories(instruction.destination), source: memories(instruction.source) };
    case 'table-copy':
      return { ...instruction, destination: tables(instruction.destination), source: tables(instruction.source) };
    case 'heap-type':
      return instruction.heapType < 0 ? instruction : { ...instruction, heapType: types(instruction.heapType) };
    default:
      return 'index' in instruction ? withIndex(instruction, maps) : instruction;
  }
}

function withMemory<Access extends { readonly memory: number }>(instruction: Access, memory: number): Access {
  return memory === instruction.memory ? instruction : { ...instruction, memory };
}

const spaces = {
  function: 'functions',
  local: 'locals',
  global: 'globals',
  table: 'tables',
  memory: 'memories',
  tag: 'tags',
  type: 'types',
  data: 'data',
  element: 'elements',
} as const;

function withIndex(instruction: Extract<Instruction, { readonly index: number }>, maps: IndexMaps): Instruction {
  const index = maps[spaces[instruction.kind]]?.(instruction.index) ?? instruction.index;
  return index === instruction.index ? instruction : { ...instruction, index };
}
