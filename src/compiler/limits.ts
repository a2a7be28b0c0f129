// Limits of sources, modules and images. docs/limits.md is generated from this table (`npm run check:limits`).

import { exportLimit, nameLimit } from '../machine/abi.ts';

type Limit = {
  readonly value: number;
  /** The unit, in the plural. */
  readonly unit: string;
  /** What the limit applies to. */
  readonly of: string;
  /** What happens past the limit. */
  readonly past: string;
};

const kibibyte = 1_024;
const mebibyte = 1_024 * kibibyte;
const refused = 'The push is refused (422).';
const waits = 'The push is refused with `Retry-After` (503).';

/** Every limit of the compiler, with the text of its row in docs/limits.md. */
export const compilerLimits = {
  sourceBytes: { value: 4 * mebibyte, unit: 'bytes', of: 'Source text or prebuilt module', past: refused },
  imageBytes: { value: 4 * mebibyte, unit: 'bytes', of: 'Compiled image', past: refused },
  nesting: { value: 20_000, unit: 'levels', of: 'Nested blocks in a function', past: refused },
  textNesting: { value: 25_000, unit: 'levels', of: 'Nested brackets in a source text', past: refused },
  nameBytes: { value: nameLimit, unit: 'bytes', of: 'Name of an export or import, in UTF-8', past: refused },
  exports: { value: exportLimit, unit: 'functions', of: 'Exported functions of a module', past: refused },
  importedFunctions: { value: 1_000, unit: 'functions', of: 'Imported functions of a module', past: refused },
  functions: { value: 100_000, unit: 'functions', of: 'Functions in a module', past: refused },
  functionBytes: { value: mebibyte, unit: 'bytes', of: 'Code of one function', past: refused },
  locals: { value: 50_000, unit: 'locals', of: 'Local variables of one function', past: refused },
  mergedLocals: {
    value: 4_000_000,
    unit: 'local variables times blocks',
    of: 'Local variables of one function, times its blocks (16 branches count as one)',
    past: refused,
  },
  moduleMergedLocals: {
    value: 20_000_000,
    unit: 'local variables times blocks',
    of: 'The same, of all functions of a module together',
    past: refused,
  },
  memoryPages: {
    value: 1_024,
    unit: 'pages of 64 KiB',
    of: 'Memory of a module',
    past: 'A larger initial memory is refused (422); `memory.grow` past the limit returns -1.',
  },
  tables: { value: 16, unit: 'tables', of: 'Tables of a module', past: refused },
  tableElements: {
    value: 65_536,
    unit: 'elements',
    of: 'Tables of a module together, at first',
    past: refused,
  },
  // An engine copies the whole table when it grows: no safepoint can be in between.
  grownTableElements: {
    value: 32_768,
    unit: 'elements',
    of: 'Table of a module that grows',
    past: '`table.grow` returns -1.',
  },
  interfaceBytes: { value: mebibyte, unit: 'bytes', of: 'Names and types of all exports and imports, as JSON', past: refused },
  milliseconds: { value: 20_000, unit: 'milliseconds', of: 'Time of one compilation, from its start', past: refused },
  heapMebibytes: { value: 512, unit: 'MiB', of: 'JavaScript heap of one compilation', past: refused },
  smallSourceBytes: {
    value: 64 * kibibyte,
    unit: 'bytes',
    of: 'Source of a small compilation',
    past: 'The compilation does not use the worker thread that is reserved for small ones.',
  },
  waitingPerCaller: { value: 64, unit: 'compilations', of: 'Compilations of one API key that wait', past: waits },
  waiting: { value: 256, unit: 'compilations', of: 'Compilations that wait', past: waits },
  waitingBytes: { value: 64 * mebibyte, unit: 'bytes', of: 'Sources of all compilations that wait', past: waits },
  optimizedNesting: {
    value: 1_000,
    unit: 'levels',
    of: 'Nested blocks in a function that is optimized',
    past: 'The function is compiled as it is.',
  },
  optimizedFunctionBytes: {
    value: 24 * kibibyte,
    unit: 'bytes',
    of: 'Code of a function that is optimized',
    past: 'The function is compiled as it is.',
  },
} as const satisfies Record<string, Limit>;

/** Formats a count for a message: `4,194,304`. */
const format = (value: number) => value.toLocaleString('en-US');

/** Returns the message for an exceeded limit: subject, value, limit, and remedy. */
export function pastLimit(what: string, actual: number, limit: Limit, advice: string): string {
  return `${what} ${format(actual)} ${limit.unit}; the limit is ${format(limit.value)}: ${advice}`;
}

/** Returns docs/limits.md. */
export function limitsPage(): string {
  const rows = Object.values<Limit>(compilerLimits).map(({ of, value, unit, past }) => `| ${of} | ${format(value)} ${unit} | ${past} |`);
  return [
    '# Limits',
    '',
    'Limits of the compiler. A refusal names the limit and the value that exceeds it.',
    '',
    '<!-- Generated from src/compiler/limits.ts by `npm run limits`. -->',
    '',
    '| Applies to | Limit | Past the limit |',
    '| --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}
