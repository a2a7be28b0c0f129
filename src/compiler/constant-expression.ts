// Evaluates constant expressions of type i32, with globals of the module and arithmetic (extended constant expressions).

import { opcodes } from './binary/instruction.ts';
import { decodeBody } from './binary/instruction-codec.ts';
import { importsOf, type Module } from './binary/module.ts';

const operations: ReadonlyMap<number, (left: number, right: number) => number> = new Map([
  [opcodes['i32.add'], (left: number, right: number) => (left + right) | 0],
  [opcodes['i32.sub'], (left: number, right: number) => (left - right) | 0],
  [opcodes['i32.mul'], (left: number, right: number) => Math.imul(left, right)],
]);

/** Initial values of globals by index; null: the value depends on an import or is not an i32. */
type GlobalValues = readonly (number | null)[];

/** Returns the initial values of all globals. */
export function evaluateGlobals(module: Module): GlobalValues {
  const values: (number | null)[] = importsOf(module, 'global').map(() => null);
  // A global can refer to earlier globals only.
  for (const { init } of module.globals) values.push(evaluateExpression(init, values));
  return values;
}

/** Returns the value as a signed number; null if it depends on an import or is not an i32. */
export function evaluateExpression(expression: Uint8Array, globals: GlobalValues): number | null {
  const values: number[] = [];
  for (const instruction of decodeBody({ body: expression })) {
    const operation = operations.get(instruction.op);
    const constant =
      instruction.kind === 'i32'
        ? instruction.value
        : instruction.kind === 'global'
          ? (globals[instruction.index] ?? null)
          : operation === undefined
            ? null
            : combine(values, operation);
    if (constant === null) return null;
    values.push(constant);
  }
  return values.length === 1 ? (values[0] ?? null) : null;
}

function combine(values: number[], operation: (left: number, right: number) => number): number | null {
  const [right, left] = [values.pop(), values.pop()];
  return left === undefined || right === undefined ? null : operation(left, right);
}
