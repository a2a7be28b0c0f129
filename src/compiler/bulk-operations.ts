// Instructions that work on any number of bytes or elements: each becomes a call of a function that does it in pieces, with safepoints in between.

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

/** Work between two safepoints: some microseconds, tens of them where memory is touched for the first time. */
const piece = { bytes: 65_536, elements: 256 } as const;

/** Work of a call of one of the functions, besides the work that the function pays for. */
const bulkCallWork = 16;

/** Work for one element of a table that grows: V8 copies its arrays. */
const growWork = 16;

type BulkOperation = {
  readonly unit: 'bytes' | 'elements';
  /** Whether the second operand is a place that moves with the destination; else it is a value. */
  readonly hasSource: boolean;
  /** Whether source and destination may overlap. */
  readonly mayOverlap: boolean;
  /** Type of the second operand. */
  readonly second: ValueType;
};

/** The functions of one module. */
export class BulkOperations {
  readonly #additions: ModuleAdditions;
  readonly #elementTypes: readonly ValueType[];
  readonly #indices = new Map<string, number>();

  constructor(module: Module, additions: ModuleAdditions) {
    this.#additions = additions;
    this.#elementTypes = [...importsOf(module, 'table').map(({ table }) => table), ...module.tables].map(({ element }) => element);
  }

  /** Returns the call that an instruction becomes, or null if it stays: it is of another kind, or its length is a small constant. */
  replace(instruction: Instruction, before: Instruction | undefined, payment: ChargeMode): Instruction | null {
    if (constantWork(instruction, before) !== null) return null;
    if (instruction.op === opcodes['table.grow']) return call(this.#growFunction(instruction, payment));
    const operation = this.#operation(instruction);
    return operation === null ? null : call(this.#functionOf(instruction, operation, payment));
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

  #once(instruction: Instruction, payment: ChargeMode, make: () => number): number {
    const key = `${payment} ${JSON.stringify(instruction)}`;
    const index = this.#indices.get(key) ?? make();
    this.#indices.set(key, index);
    return index;
  }

  #functionOf(instruction: Instruction, operation: BulkOperation, payment: ChargeMode): number {
    return this.#once(instruction, payment, () => {
      const type = { parameters: ['i32', operation.second, 'i32'], results: [] } as const;
      return this.#additions.addFunction(type, [], inPieces(instruction, operation, payment));
    });
  }

  #growFunction(instruction: Instruction, payment: ChargeMode): number {
    const element = this.#elementType(instruction);
    const fill: Instruction = { ...instruction, op: opcodes['table.fill'] };
    const operation = { unit: 'elements', hasSource: false, mayOverlap: false, second: element } as const;
    return this.#once(instruction, payment, () => {
      const fillFunction = this.#functionOf(fill, operation, payment);
      const type = { parameters: [element, 'i32'], results: ['i32'] } as const;
      return this.#additions.addFunction(type, [{ count: 1, type: 'i32' }], growing(instruction, element, fillFunction, payment));
    });
  }
}

/** Work of a bulk instruction that stays as it is, because its length is a small constant; null of any other. */
function constantWork(instruction: Instruction, before: Instruction | undefined): number | null {
  const unit = units.get(instruction.op);
  if (unit === undefined || before?.kind !== 'i32' || before.value < 0 || before.value > shortLength[unit]) return null;
  return 4 + (unit === 'bytes' ? before.value >> 3 : before.value * elementWork);
}

/** Work of a bulk instruction in the code where it stands; null of any other instruction. */
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
 * `(destination, source or value, length)`: the whole range is checked before anything is written, by the instruction itself with length 0 at the
 * ranges' ends. A copy goes down where the destination is above the source, as they may overlap.
 */
function inPieces(operation: Instruction, { unit, hasSource, mayOverlap }: BulkOperation, payment: ChargeMode): Instruction[] {
  const size = piece[unit];
  const get = [localGet(destination), localGet(second), localGet(length)];
  const payFor = (count: Instruction) => charge([count, ...workOf(unit)], payment);
  const rest = [...get, operation, ...payFor(localGet(length))];
  const isLong = [localGet(length), i32Const(size), plain('i32.gt_u')];
  const endOf = (local: number) => [localGet(local), localGet(length), plain('i32.add')];
  const isFar = (local: number) => [
    ...[...endOf(local), localGet(local), plain('i32.lt_u')],
    ...[...endOf(local), i32Const(0), plain('i32.lt_s'), plain('i32.or')],
  ];
  const move = (local: number) => [localGet(local), i32Const(size), plain('i32.add'), localSet(local)];
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
    ...payFor(i32Const(size)),
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
    // An end past 2^31 or 2^32 is past every memory and table that a module may have: the instruction traps.
    ...isFar(destination),
    ...(hasSource ? [...isFar(second), plain('i32.or')] : []),
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
    ...move(destination),
    ...(hasSource ? move(second) : []),
    ...shorten,
    ...payFor(i32Const(size)),
    ...isLong,
    branchIf(0),
    end,
    ...rest,
  ];
}

/** Multiplies the length on top of the stack, which becomes work. */
const workOf = (unit: 'bytes' | 'elements') =>
  unit === 'bytes' ? (bytesPerWork === 1 ? [] : [i32Const(bytesPerWork), plain('i32.div_u')]) : [i32Const(elementWork), plain('i32.mul')];

/**
 * `(value, length) → old size or -1`: the table grows at once by null, so that it grows by all or nothing, and is then filled in pieces. Its
 * maximum bounds the time.
 */
function growing(grow: Instruction, element: ValueType, fillFunction: number, payment: ChargeMode): Instruction[] {
  const [value, count, old] = [0, 1, 2];
  const none: Instruction = { kind: 'heap-type', op: opcodes['ref.null'], heapType: element === 'externref' ? -0x11 : -0x10 };
  return [
    none,
    localGet(count),
    grow,
    localTee(old),
    i32Const(-1),
    plain('i32.eq'),
    ifBlock(),
    ...charge([i32Const(elementWork)], payment),
    i32Const(-1),
    plain('return'),
    end,
    ...charge([localGet(old), localGet(count), plain('i32.add'), i32Const(growWork), plain('i32.mul')], payment),
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
