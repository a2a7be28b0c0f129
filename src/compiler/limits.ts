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
const notOptimized = 'The function is compiled as it is; for a source that is not prebuilt, with a warning.';
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
  moduleLocals: { value: 1_000_000, unit: 'locals', of: 'Local variables of all functions of a module', past: refused },
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
  threads: { value: 2, unit: 'worker threads', of: 'Compilations at once', past: 'The compilation waits.' },
  heapMebibytes: { value: 384, unit: 'MiB', of: 'JavaScript heap of one compilation', past: refused },
  binaryenMebibytes: { value: 256, unit: 'MiB', of: 'Memory of binaryen in one compilation', past: refused },
  keptMebibytes: {
    value: 256,
    unit: 'MiB',
    of: 'Memory that a worker thread keeps after a compilation',
    past: 'The thread is replaced, and its memory is freed.',
  },
  smallSourceBytes: {
    value: 64 * kibibyte,
    unit: 'bytes',
    of: 'Source of a small compilation',
    past: 'The compilation does not use the worker thread that is reserved for small ones.',
  },
  reservedMilliseconds: {
    value: 2_000,
    unit: 'milliseconds',
    of: 'Processor time of a compilation in the worker thread that is reserved for small ones',
    past: 'The compilation is stopped and waits again, as a large one.',
  },
  waitingPerCaller: { value: 64, unit: 'compilations', of: 'Compilations of one API key that wait', past: waits },
  waiting: { value: 256, unit: 'compilations', of: 'Compilations that wait', past: waits },
  waitingBytes: { value: 64 * mebibyte, unit: 'bytes', of: 'Sources of all compilations that wait', past: waits },
  optimizedNesting: {
    value: 1_000,
    unit: 'levels',
    of: 'Nested blocks in a function that is optimized',
    past: notOptimized,
  },
  optimizedFunctionBytes: {
    value: 24 * kibibyte,
    unit: 'bytes',
    of: 'Code of a function that is optimized',
    past: notOptimized,
  },
  /** Some of binaryen's passes take time quadratic in a function. */
  optimizedWork: {
    value: 3_000_000_000,
    unit: 'square bytes',
    of: 'Sum of the squares of the sizes of the functions of a module that are optimized',
    past: notOptimized,
  },
  copiedInstructions: {
    value: 262_144,
    unit: 'instructions',
    of: 'Copies of loop bodies and recursive functions in an image, which share a safepoint between iterations or calls',
    past: 'The other loops and functions have a safepoint in each iteration and call, and run slower.',
  },
  /** V8 accepts functions of 7,654,321 bytes; the linker adds some. */
  instrumentedFunctionBytes: { value: 7_000_000, unit: 'bytes', of: 'Code of one function with its safepoints', past: refused },
} as const satisfies Record<string, Limit>;

/** Formats a count for a message: `4,194,304`. */
const format = (value: number) => value.toLocaleString('en-US');

/** Returns a limit with its unit: `1,000 levels`. */
export const formatLimit = ({ value, unit }: Pick<Limit, 'value' | 'unit'>) => `${format(value)} ${unit}`;

/** Returns the message for an exceeded limit: subject, value, limit, and remedy. */
export function pastLimit(what: string, actual: number, limit: Limit, advice: string): string {
  return `${what} ${format(actual)} ${limit.unit}; the limit is ${format(limit.value)}: ${advice}`;
}

/** Most memory that all compilations use together, besides the code of the compilers; MiB. */
export function compilerMebibytes(): number {
  const { threads, heapMebibytes, binaryenMebibytes } = compilerLimits;
  return threads.value * (heapMebibytes.value + binaryenMebibytes.value);
}

/** Returns docs/limits.md. */
export function limitsPage(): string {
  const rows = Object.values<Limit>(compilerLimits).map(
    ({ of, value, unit, past }) => `| ${of} | ${formatLimit({ value, unit })} | ${past} |`,
  );
  return [
    '# Limits',
    '',
    'Limits of the compiler. A refusal names the limit and the value that exceeds it.',
    '',
    `The memory of all compilations together is limited to ${format(compilerMebibytes())} MiB: the heap and binaryen's memory of each worker thread.`,
    '',
    '<!-- Generated from src/compiler/limits.ts by `npm run limits`. -->',
    '',
    '| Applies to | Limit | Past the limit |',
    '| --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}
