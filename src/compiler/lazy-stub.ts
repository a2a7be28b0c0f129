// Lazy stubs: functions that represent the exports of an image in a device's memory until its first access instantiates the image.

import type { ExportedFunction } from '../machine/images/stamp.ts';
import { call, type Instruction, i32Const, localGet, opcodes } from './binary/instruction.ts';
import { encodeInstructions } from './binary/instruction-codec.ts';
import type { Module } from './binary/module.ts';
import { TypeTable } from './binary/type-table.ts';
import { encodeModule } from './binary/writer.ts';

/** Index of the only import: (number of the export) → (the image's own function). */
const resolve = 0;

/**
 * Creates a module with one stub per export. Stub n requests the image's own function n from the processor, which instantiates the image on the
 * device, and calls it. An image on an idle device therefore needs neither an instance nor memory, and its first access works like any other.
 */
export function createLazyStubs(exports: readonly ExportedFunction[]): Uint8Array<ArrayBuffer> {
  const types = new TypeTable([{ parameters: ['i32'], results: ['funcref'] }]);
  const functions = exports.map(({ parameters, results }, index) => {
    const type = types.indexOf({ parameters, results });
    const body: Instruction[] = [
      ...parameters.map((_, parameter) => localGet(parameter)),
      i32Const(index),
      call(resolve),
      { kind: 'heap-type', op: opcodes['ref.cast'], heapType: type },
      { kind: 'type', op: opcodes.call_ref, index: type },
    ];
    return { type, locals: [], ...encodeInstructions(body) };
  });
  const module: Module = {
    types: types.types,
    imports: [{ module: 'patchbay', name: 'resolve', kind: 'function', type: 0 }],
    functions,
    tables: [],
    memories: [],
    globals: [],
    exports: exports.map((_, index) => ({ name: String(index), kind: 'function', index: index + 1 })),
    start: null,
    elements: [],
    data: [],
    hasDataCount: false,
    functionNames: new Map(),
    customSections: [],
  };
  return encodeModule(module);
}
