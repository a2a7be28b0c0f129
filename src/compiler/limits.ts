// Limits of sources, modules and images. docs/limits.md is generated from this table (`npm run check:limits`).

import { exportLimit, nameLimit } from '../machine/abi.ts';

type Limit = {
  readonly value: number;
  /** The unit, in the plural. */
  readonly unit: string;
  /** What the limit applies to. */
  readonly subject: string;
  /** What happens past the limit. */
  readonly effect: string;
};

const kibibyte = 1_024;
const mebibyte = 1_024 * kibibyte;
const refused = 'The push is refused (422).';
const notOptimized = 'The function is compiled as it is; for a source that is not prebuilt, with a warning.';
const waits = 'The push is refused with `Retry-After` (503).';

/** Every limit of the compiler, with the text of its row in docs/limits.md. */
export const compilerLimits = {
  sourceBytes: { value: 4 * mebibyte, unit: 'bytes', subject: 'Source text or prebuilt module', effect: refused },
  imageBytes: { value: 4 * mebibyte, unit: 'bytes', subject: 'Compiled image', effect: refused },
  nesting: { value: 20_000, unit: 'levels', subject: 'Nested blocks in a function', effect: refused },
  textNesting: { value: 25_000, unit: 'levels', subject: 'Nested brackets in a source text', effect: refused },
  nameBytes: { value: nameLimit, unit: 'bytes', subject: 'Name of an export or import, in UTF-8', effect: refused },
  exports: { value: exportLimit, unit: 'functions', subject: 'Exported functions of a module', effect: refused },
  importedFunctions: { value: 1_000, unit: 'functions', subject: 'Imported functions of a module', effect: refused },
  functions: { value: 100_000, unit: 'functions', subject: 'Functions in a module', effect: refused },
  functionBytes: { value: mebibyte, unit: 'bytes', subject: 'Code of one function', effect: refused },
  locals: { value: 50_000, unit: 'locals', subject: 'Local variables of one function', effect: refused },
  moduleLocals: { value: 1_000_000, unit: 'locals', subject: 'Local variables of all functions of a module', effect: refused },
  mergedLocals: {
    value: 4_000_000,
    unit: 'local variables times blocks',
    subject: 'Local variables of one function, times its blocks (16 branches count as one)',
    effect: refused,
  },
  moduleMergedLocals: {
    value: 20_000_000,
    unit: 'local variables times blocks',
    subject: 'The same, of all functions of a module together',
    effect: refused,
  },
  memoryPages: {
    value: 1_024,
    unit: 'pages of 64 KiB',
    subject: 'Memory of a module',
    effect: 'A larger initial memory is refused (422); `memory.grow` past the limit returns -1.',
  },
  tables: { value: 16, unit: 'tables', subject: 'Tables of a module', effect: refused },
  tableElements: {
    value: 65_536,
    unit: 'elements',
    subject: 'Tables of a module together, at first',
    effect: refused,
  },
  // An engine copies the whole table when it grows: no safepoint can be in between.
  grownTableElements: {
    value: 32_768,
    unit: 'elements',
    subject: 'Table of a module that grows',
    effect: '`table.grow` returns -1.',
  },
  interfaceBytes: { value: mebibyte, unit: 'bytes', subject: 'Names and types of all exports and imports, as JSON', effect: refused },
  milliseconds: { value: 20_000, unit: 'milliseconds', subject: 'Time of one compilation, from its start', effect: refused },
  threads: { value: 2, unit: 'worker threads', subject: 'Compilations at once', effect: 'The compilation waits.' },
  heapMebibytes: { value: 384, unit: 'MiB', subject: 'JavaScript heap of one compilation', effect: refused },
  binaryenMebibytes: { value: 256, unit: 'MiB', subject: 'Memory of binaryen in one compilation', effect: refused },
  retainedMebibytes: {
    value: 256,
    unit: 'MiB',
    subject: 'Memory that a worker thread keeps after a compilation',
    effect: 'The thread is replaced, and its memory is freed.',
  },
  smallSourceBytes: {
    value: 64 * kibibyte,
    unit: 'bytes',
    subject: 'Source of a small compilation',
    effect: 'The compilation does not use the worker thread that is reserved for small ones.',
  },
  reservedMilliseconds: {
    value: 2_000,
    unit: 'milliseconds',
    subject: 'Processor time of a compilation in the worker thread that is reserved for small ones',
    effect: 'The compilation is stopped and waits again, as a large one.',
  },
  queuedPerCaller: { value: 64, unit: 'compilations', subject: 'Compilations of one API key that wait', effect: waits },
  queued: { value: 256, unit: 'compilations', subject: 'Compilations that wait', effect: waits },
  queuedBytes: { value: 64 * mebibyte, unit: 'bytes', subject: 'Sources of all compilations that wait', effect: waits },
  optimizedNesting: {
    value: 1_000,
    unit: 'levels',
    subject: 'Nested blocks in a function that is optimized',
    effect: notOptimized,
  },
  optimizedFunctionBytes: {
    value: 24 * kibibyte,
    unit: 'bytes',
    subject: 'Code of a function that is optimized',
    effect: notOptimized,
  },
  /** Some of binaryen's passes take time quadratic in a function. */
  optimizedWork: {
    value: 3_000_000_000,
    unit: 'square bytes',
    subject: 'Sum of the squares of the sizes of the functions of a module that are optimized',
    effect: notOptimized,
  },
  copiedInstructions: {
    value: 262_144,
    unit: 'instructions',
    subject: 'Copies of loop bodies and recursive functions in an image, which share a safepoint between iterations or calls',
    effect: 'The other loops and functions have a safepoint in each iteration and call, and run slower.',
  },
  /** V8 accepts functions of 7,654,321 bytes; the linker adds some. */
  instrumentedFunctionBytes: { value: 7_000_000, unit: 'bytes', subject: 'Code of one function with its safepoints', effect: refused },
} as const satisfies Record<string, Limit>;

/** Formats a count for a message: `4,194,304`. */
const format = (value: number) => value.toLocaleString('en-US');

/** Returns a limit with its unit: `1,000 levels`. */
export const formatLimit = ({ value, unit }: Pick<Limit, 'value' | 'unit'>) => `${format(value)} ${unit}`;

/** Returns the message for an exceeded limit: subject, value, limit, and remedy. */
export function limitExceededMessage(what: string, actual: number, limit: Limit, advice: string): string {
  return `${what} ${format(actual)} ${limit.unit}; the limit is ${format(limit.value)}: ${advice}`;
}

/** Most memory that all compilations use together, besides the code of the compilers; MiB. */
export function maxCompilerMebibytes(): number {
  const { threads, heapMebibytes, binaryenMebibytes } = compilerLimits;
  return threads.value * (heapMebibytes.value + binaryenMebibytes.value);
}

/** Returns docs/limits.md. */
export function renderLimitsPage(): string {
  const rows = Object.values<Limit>(compilerLimits).map(
    ({ subject: of, value, unit, effect: past }) => `| ${of} | ${formatLimit({ value, unit })} | ${past} |`,
  );
  return [
    '# Limits',
    '',
    'Limits of the compiler. A refusal names the limit and the value that exceeds it.',
    '',
    `The memory of all compilations together is limited to ${format(maxCompilerMebibytes())} MiB: the heap and binaryen's memory of each worker thread.`,
    '',
    '<!-- Generated from src/compiler/limits.ts by `npm run limits`. -->',
    '',
    '| Applies to | Limit | Past the limit |',
    '| --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}
