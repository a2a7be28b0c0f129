// Bulk memory and table instructions: each becomes a call of a function that runs it in chunks, with safepoints in between.

import type { ValueType } from '../machine/images/stamp.ts';
import {
  branchIf,
  call,
  end,
  type Instruction,
  i32Const,
  ifBlock,
  localGet,
  localSet,
  localTee,
  loop,
  opcodes,
  plain,
} from './binary/instruction.ts';
import { importsOf, type Module } from './binary/module.ts';
import { bytesPerWork, elementWork, shortLength } from './cost-model.ts';
import type { ModuleAdditions } from './module-additions.ts';
import { type ChargeMode, charge } from './safepoints.ts';

/** Sizes of a chunk, which runs between two safepoints: some microseconds, or tens of microseconds when memory is touched for the first time. */
const chunkSizes = { bytes: 65_536, elements: 256 } as const;

/** Work of a call of one of the functions, besides the work that the function itself charges. */
const bulkCallWork = 16;

/** Work per element of a table that grows: V8 copies the table. */
const growWork = 16;

type BulkOperation = {
  readonly unit: 'bytes' | 'elements';
  /** Whether the second operand is a source position, which advances with the destination; otherwise it is a value. */
  readonly hasSource: boolean;
  /** Whether source and destination may overlap. */
  readonly mayOverlap: boolean;
  /** Type of the second operand. */
  readonly second: ValueType;
};

/** Creates the functions that run the bulk instructions of one module. */
export class BulkOperations {
  readonly #additions: ModuleAdditions;
  readonly #elementTypes: readonly ValueType[];
  readonly #indices = new Map<string, number>();

  constructor(module: Module, additions: ModuleAdditions) {
    this.#additions = additions;
    this.#elementTypes = [...importsOf(module, 'table').map(({ table }) => table), ...module.tables].map(({ element }) => element);
  }

  /** Returns the call that replaces an instruction; null if the instruction stays: it is of another kind, or its length is a small constant. */
  replace(instruction: Instruction, before: Instruction | undefined, mode: ChargeMode): Instruction | null {
    if (constantWork(instruction, before) !== null) return null;
    if (instruction.op === opcodes['table.grow']) return call(this.#growFunction(instruction, mode));
    const operation = this.#operation(instruction);
    return operation === null ? null : call(this.#functionOf(instruction, operation, mode));
  }

  #operation(instruction: Instruction): BulkOperation | null {
    const second = 'i32';
    switch (instruction.op) {
      case opcodes['memory.fill']:
        return { unit: 'bytes', hasSource: false, mayOverlap: false, second };
      case opcodes['memory.copy']:
        return { unit: 'bytes', hasSource: true, mayOverlap: true, second };
      case opcodes['memory.init']:
        return { unit: 'bytes', hasSource: true, mayOverlap: false, second };
      case opcodes['table.copy']:
        return { unit: 'elements', hasSource: true, mayOverlap: true, second };
      case opcodes['table.init']:
        return { unit: 'elements', hasSource: true, mayOverlap: false, second };
      case opcodes['table.fill']:
        return { unit: 'elements', hasSource: false, mayOverlap: false, second: this.#elementType(instruction) };
      default:
        return null;
    }
  }

  #elementType(instruction: Instruction): ValueType {
    return (instruction.kind === 'table' ? this.#elementTypes[instruction.index] : undefined) ?? 'funcref';
  }

  #memoize(instruction: Instruction, mode: ChargeMode, create: () => number): number {
    const key = `${mode} ${JSON.stringify(instruction)}`;
    const index = this.#indices.get(key) ?? create();
    this.#indices.set(key, index);
    return index;
  }

  #functionOf(instruction: Instruction, operation: BulkOperation, mode: ChargeMode): number {
    return this.#memoize(instruction, mode, () => {
      const type = { parameters: ['i32', operation.second, 'i32'], results: [] } as const;
      return this.#additions.addFunction(type, [], chunkedBody(instruction, operation, mode));
    });
  }

  #growFunction(instruction: Instruction, mode: ChargeMode): number {
    const element = this.#elementType(instruction);
    const fill: Instruction = { ...instruction, op: opcodes['table.fill'] };
    const operation = { unit: 'elements', hasSource: false, mayOverlap: false, second: element } as const;
    return this.#memoize(instruction, mode, () => {
      const fillFunction = this.#functionOf(fill, operation, mode);
      const type = { parameters: [element, 'i32'], results: ['i32'] } as const;
      return this.#additions.addFunction(type, [{ count: 1, type: 'i32' }], growBody(instruction, element, fillFunction, mode));
    });
  }
}

/** Returns the work of a bulk instruction kept as an instruction because its length is a small constant; null for any other instruction. */
function constantWork(instruction: Instruction, before: Instruction | undefined): number | null {
  const unit = units.get(instruction.op);
  if (unit === undefined || before?.kind !== 'i32' || before.value < 0 || before.value > shortLength[unit]) return null;
  return 4 + (unit === 'bytes' ? before.value >> 3 : before.value * elementWork);
}

/** Returns the work of a bulk instruction at its position in the code; null for any other instruction. */
export function bulkWork(instruction: Instruction, before: Instruction | undefined): number | null {
  return constantWork(instruction, before) ?? (units.has(instruction.op) ? bulkCallWork : null);
}

const units: ReadonlyMap<number, 'bytes' | 'elements'> = new Map([
  [opcodes['memory.fill'], 'bytes'],
  [opcodes['memory.copy'], 'bytes'],
  [opcodes['memory.init'], 'bytes'],
  [opcodes['table.fill'], 'elements'],
  [opcodes['table.copy'], 'elements'],
  [opcodes['table.init'], 'elements'],
  [opcodes['table.grow'], 'elements'],
]);

const [destination, second, length] = [0, 1, 2];

/**
 * Returns the body of a function `(destination, source or value, length)`. The instruction itself checks the whole range before anything is written:
 * it runs with length 0 at the ends of the ranges. A copy runs downwards if the destination is above the source, because the ranges may overlap.
 */
function chunkedBody(operation: Instruction, { unit, hasSource, mayOverlap }: BulkOperation, mode: ChargeMode): Instruction[] {
  const size = chunkSizes[unit];
  const get = [localGet(destination), localGet(second), localGet(length)];
  const chargeFor = (count: Instruction) => charge([count, ...toWork(unit)], mode);
  const rest = [...get, operation, ...chargeFor(localGet(length))];
  const isLong = [localGet(length), i32Const(size), plain('i32.gt_u')];
  const endOf = (local: number) => [localGet(local), localGet(length), plain('i32.add')];
  const endOverflows = (local: number) => [
    ...[...endOf(local), localGet(local), plain('i32.lt_u')],
    ...[...endOf(local), i32Const(0), plain('i32.lt_s'), plain('i32.or')],
  ];
  const advance = (local: number) => [localGet(local), i32Const(size), plain('i32.add'), localSet(local)];
  const shorten = [localGet(length), i32Const(size), plain('i32.sub'), localSet(length)];
  const downwards = [
    localGet(destination),
    localGet(second),
    plain('i32.gt_u'),
    ifBlock(),
    loop(),
    ...shorten,
    ...endOf(destination),
    ...endOf(second),
    i32Const(size),
    operation,
    ...chargeFor(i32Const(size)),
    ...isLong,
    branchIf(0),
    end,
    ...rest,
    plain('return'),
    end,
  ];
  return [
    ...isLong,
    plain('i32.eqz'),
    ifBlock(),
    ...rest,
    plain('return'),
    end,
    // An end beyond 2^31 or 2^32 is beyond every memory and table that a module may have: the instruction traps.
    ...endOverflows(destination),
    ...(hasSource ? [...endOverflows(second), plain('i32.or')] : []),
    ifBlock(),
    ...get,
    operation,
    plain('return'),
    end,
    ...endOf(destination),
    ...(hasSource ? endOf(second) : [localGet(second)]),
    i32Const(0),
    operation,
    ...(mayOverlap ? downwards : []),
    loop(),
    localGet(destination),
    localGet(second),
    i32Const(size),
    operation,
    ...advance(destination),
    ...(hasSource ? advance(second) : []),
    ...shorten,
    ...chargeFor(i32Const(size)),
    ...isLong,
    branchIf(0),
    end,
    ...rest,
  ];
}

/** Converts the length on top of the stack to work. */
const toWork = (unit: 'bytes' | 'elements') =>
  unit === 'bytes' ? (bytesPerWork === 1 ? [] : [i32Const(bytesPerWork), plain('i32.div_u')]) : [i32Const(elementWork), plain('i32.mul')];

/**
 * Returns the body of a function `(value, length) → old size or -1`. The table grows by null in one step, so that it grows completely or not at all,
 * and is then filled in chunks. The maximum of the table bounds the time of the growth.
 */
function growBody(grow: Instruction, element: ValueType, fillFunction: number, mode: ChargeMode): Instruction[] {
  const [value, count, old] = [0, 1, 2];
  const nullReference: Instruction = { kind: 'heap-type', op: opcodes['ref.null'], heapType: element === 'externref' ? -0x11 : -0x10 };
  return [
    nullReference,
    localGet(count),
    grow,
    localTee(old),
    i32Const(-1),
    plain('i32.eq'),
    ifBlock(),
    ...charge([i32Const(elementWork)], mode),
    i32Const(-1),
    plain('return'),
    end,
    ...charge([localGet(old), localGet(count), plain('i32.add'), i32Const(growWork), plain('i32.mul')], mode),
    localGet(value),
    plain('ref.is_null'),
    plain('i32.eqz'),
    ifBlock(),
    localGet(old),
    localGet(value),
    localGet(count),
    call(fillFunction),
    end,
    localGet(old),
  ];
}
