// Checkers: modules that call the functions of another module through the module table, with arguments and results as bits in their memory. JavaScript
// never handles a float, whose NaN payload it could lose, or a vector, which it cannot represent.

import type { ExportedFunction, FunctionType, ValueType } from '../../src/machine/images/stamp.ts';
import { bytes, preamble, section, signed, text, unsigned, vector } from './module-bytes.ts';

/** The export `call(operation, index, value) → value` of every checker. */
export const checkerExport = 'call';
export const checkerType: FunctionType = { parameters: ['i32', 'i32', 'i64'], results: ['i64'] };
/** `write` sets word `index` of the memory, `read` returns it, `invoke` calls function `index`. */
export const checkerOperation = { write: 0, read: 1, invoke: 2 } as const;

/** Words of 8 bytes per argument and result: a vector needs two. */
export const wordsOfValue = 2;
/** Index of the first word of the results. */
export const firstResult = 4096;

const i32 = 0x7f;
const i64 = 0x7e;

type Access = { readonly code: number; readonly load: readonly number[]; readonly store: readonly number[] };
const accesses: Partial<Record<ValueType, Access>> = {
  i32: { code: i32, load: [0x28, 2, 0], store: [0x36, 2, 0] },
  i64: { code: i64, load: [0x29, 3, 0], store: [0x37, 3, 0] },
  f32: { code: 0x7d, load: [0x2a, 2, 0], store: [0x38, 2, 0] },
  f64: { code: 0x7c, load: [0x2b, 3, 0], store: [0x39, 3, 0] },
  v128: { code: 0x7b, load: [0xfd, 0, 4, 0], store: [0xfd, 11, 4, 0] },
};

/** Returns whether a checker can call a function of the type: references cannot be stored in memory. */
export function isCheckable(type: FunctionType): boolean {
  return [...type.parameters, ...type.results].every((value) => value in accesses);
}

function accessOf(type: ValueType): Access {
  const access = accesses[type];
  if (access === undefined) throw new Error(`a checker cannot store a value of type ${type}`);
  return access;
}

/** Returns the bytes of a checker of the given functions, whose types are checkable. */
export function checkerModule(module: string, functions: readonly ExportedFunction[]): Uint8Array {
  const count = functions.length;
  const types = [functionType([], []), functionType([i32, i32, i64], [i64]), ...functions.map(codesOf)];
  return Uint8Array.from(
    bytes(
      preamble,
      section(1, vector(types)),
      section(2, vector(functions.map(({ name }, index) => bytes(text(module), text(name), 0, unsigned(index + 2))))),
      section(3, vector([...functions.map(() => [0]), [1]])),
      section(4, vector([bytes(0x70, 0, unsigned(count))])),
      section(5, vector([[0, 1]])),
      section(7, vector([bytes(text(checkerExport), 0, unsigned(2 * count))])),
      section(9, vector([bytes(0, 0x41, 0, 0x0b, vector(functions.map((_, index) => unsigned(count + index))))])),
      section(10, vector([...functions.map((called, index) => sized(invocation(called, index))), sized(dispatch)])),
    ),
  );
}

const functionType = (parameters: readonly number[], results: readonly number[]) =>
  bytes(0x60, vector(parameters.map((code) => [code])), vector(results.map((code) => [code])));

const codesOf = ({ parameters, results }: FunctionType) =>
  functionType(
    parameters.map((type) => accessOf(type).code),
    results.map((type) => accessOf(type).code),
  );

const sized = (body: readonly number[]) => bytes(unsigned(body.length), body);

const addressOf = (word: number) => bytes(0x41, signed(8 * word));

/** Loads the arguments, calls, and stores the results. */
function invocation({ parameters, results }: FunctionType, index: number): number[] {
  return bytes(
    vector(results.map((type) => [1, accessOf(type).code])),
    parameters.flatMap((type, place) => bytes(addressOf(wordsOfValue * place), accessOf(type).load)),
    bytes(0x10, unsigned(index)),
    results.flatMap((_, place) => bytes(0x21, unsigned(results.length - 1 - place))),
    results.flatMap((type, place) => bytes(addressOf(firstResult + wordsOfValue * place), 0x20, unsigned(place), accessOf(type).store)),
    0x0b,
  );
}

/** Parameters: 0 operation, 1 index, 2 value. */
const dispatch = bytes(
  0,
  [0x20, 0, 0x45, 0x04, 0x40, 0x20, 1, 0x41, 3, 0x74, 0x20, 2, 0x37, 3, 0, 0x42, 0, 0x0f, 0x0b],
  [0x20, 0, 0x41, 1, 0x46, 0x04, 0x40, 0x20, 1, 0x41, 3, 0x74, 0x29, 3, 0, 0x0f, 0x0b],
  [0x20, 1, 0x11, 0, 0, 0x42, 0, 0x0b],
);
