// Limits of sources, modules and images. docs/limits.md is generated from this table (`npm run limits`).

import { exportLimit, nameLimit } from '../machine/abi.ts';

type Limit = {
  readonly value: number;
  /** The unit, in the plural. */
  readonly unit: string;
  /** The quantity that the limit applies to. */
  readonly subject: string;
  /** What happens when the limit is exceeded. */
  readonly effect: string;
};

const kibibyte = 1_024;
const mebibyte = 1_024 * kibibyte;
const rejected = 'The push is rejected (422).';
const notOptimized = 'The function is not optimized. For a source that is not prebuilt, the build has a warning.';
const overloaded = 'The push is rejected with `Retry-After` (503).';

/** Every limit of the compiler, with the text of its row in docs/limits.md. */
export const compilerLimits = {
  sourceBytes: { value: 4 * mebibyte, unit: 'bytes', subject: 'Source text or prebuilt module', effect: rejected },
  imageBytes: { value: 4 * mebibyte, unit: 'bytes', subject: 'Compiled image', effect: rejected },
  nesting: { value: 20_000, unit: 'levels', subject: 'Nested blocks in a function', effect: rejected },
  textNesting: { value: 25_000, unit: 'levels', subject: 'Nested brackets in a source text', effect: rejected },
  nameBytes: { value: nameLimit, unit: 'bytes', subject: 'Name of an export or import, in UTF-8', effect: rejected },
  exports: { value: exportLimit, unit: 'functions', subject: 'Exported functions of a module', effect: rejected },
  importedFunctions: { value: 1_000, unit: 'functions', subject: 'Imported functions of a module', effect: rejected },
  functions: { value: 100_000, unit: 'functions', subject: 'Functions in a module', effect: rejected },
  functionBytes: { value: mebibyte, unit: 'bytes', subject: 'Code of one function', effect: rejected },
  locals: { value: 50_000, unit: 'locals', subject: 'Local variables of one function', effect: rejected },
  moduleLocals: { value: 1_000_000, unit: 'locals', subject: 'Local variables of all functions of a module', effect: rejected },
  mergedLocals: {
    value: 4_000_000,
    unit: 'local variables times blocks',
    subject: 'Local variables of one function, times its blocks (16 branches count as one)',
    effect: rejected,
  },
  moduleMergedLocals: {
    value: 20_000_000,
    unit: 'local variables times blocks',
    subject: 'Sum of this product over all functions of a module',
    effect: rejected,
  },
  memoryPages: {
    value: 1_024,
    unit: 'pages of 64 KiB',
    subject: 'Memory of a module',
    effect: 'A module with a larger initial memory is rejected (422). `memory.grow` beyond the limit returns -1.',
  },
  tables: { value: 16, unit: 'tables', subject: 'Tables of a module', effect: rejected },
  tableElements: {
    value: 65_536,
    unit: 'elements',
    subject: 'Initial size of all tables of a module',
    effect: rejected,
  },
  // An engine copies the whole table when it grows, without a safepoint.
  grownTableElements: {
    value: 32_768,
    unit: 'elements',
    subject: 'Size of a table that a module grows',
    effect: '`table.grow` returns -1.',
  },
  interfaceBytes: { value: mebibyte, unit: 'bytes', subject: 'Names and types of all exports and imports, as JSON', effect: rejected },
  milliseconds: {
    value: 20_000,
    unit: 'milliseconds',
    subject: 'Duration of one compilation, without its time in the queue',
    effect: rejected,
  },
  threads: { value: 2, unit: 'worker threads', subject: 'Concurrent compilations', effect: 'The compilation is queued.' },
  heapMebibytes: { value: 384, unit: 'MiB', subject: 'JavaScript heap of one compilation', effect: rejected },
  binaryenMebibytes: { value: 256, unit: 'MiB', subject: 'Memory of binaryen in one compilation', effect: rejected },
  retainedMebibytes: {
    value: 256,
    unit: 'MiB',
    subject: 'Memory that a worker thread retains after a compilation',
    effect: 'The thread is replaced, which frees its memory.',
  },
  smallSourceBytes: {
    value: 64 * kibibyte,
    unit: 'bytes',
    subject: 'Source of a small compilation',
    effect: 'The compilation does not run in the worker thread reserved for small compilations.',
  },
  reservedMilliseconds: {
    value: 2_000,
    unit: 'milliseconds',
    subject: 'CPU time of a compilation in the worker thread reserved for small compilations',
    effect: 'The compilation is stopped and queued again as a large one.',
  },
  queuedPerCaller: { value: 64, unit: 'compilations', subject: 'Queued compilations of one API key', effect: overloaded },
  queued: { value: 256, unit: 'compilations', subject: 'Queued compilations', effect: overloaded },
  queuedBytes: { value: 64 * mebibyte, unit: 'bytes', subject: 'Sources of all queued compilations', effect: overloaded },
  optimizedNesting: {
    value: 1_000,
    unit: 'levels',
    subject: 'Nested blocks in an optimized function',
    effect: notOptimized,
  },
  optimizedFunctionBytes: {
    value: 24 * kibibyte,
    unit: 'bytes',
    subject: 'Code of an optimized function',
    effect: notOptimized,
  },
  /** Some of binaryen's passes take time quadratic in the size of a function. */
  optimizedWork: {
    value: 3_000_000_000,
    unit: 'square bytes',
    subject: 'Sum of the squared sizes of the optimized functions of a module',
    effect: notOptimized,
  },
  copiedInstructions: {
    value: 262_144,
    unit: 'instructions',
    subject: 'Copies of loop bodies and recursive functions in an image, whose iterations or calls share a safepoint',
    effect: 'The remaining loops and functions have a safepoint in each iteration or call, and run slower.',
  },
  /** V8 accepts functions of 7,654,321 bytes; the linker adds some bytes. */
  instrumentedFunctionBytes: { value: 7_000_000, unit: 'bytes', subject: 'Code of one function with its safepoints', effect: rejected },
} as const satisfies Record<string, Limit>;

/** Formats a number for a message: `4,194,304`. */
const format = (value: number) => value.toLocaleString('en-US');

/** Formats a limit with its unit: `1,000 levels`. */
export const formatLimit = ({ value, unit }: Pick<Limit, 'value' | 'unit'>) => `${format(value)} ${unit}`;

/** Returns the message for an exceeded limit: subject, value, limit and remedy. */
export function limitExceededMessage(subject: string, actual: number, limit: Limit, advice: string): string {
  return `${subject} ${format(actual)} ${limit.unit}; the limit is ${format(limit.value)}: ${advice}`;
}

/** Returns the maximum memory of all concurrent compilations in MiB, without the code of the compilers. */
export function maxCompilerMebibytes(): number {
  const { threads, heapMebibytes, binaryenMebibytes } = compilerLimits;
  return threads.value * (heapMebibytes.value + binaryenMebibytes.value);
}

/** Renders docs/limits.md. */
export function renderLimitsPage(): string {
  const rows = Object.values<Limit>(compilerLimits).map(
    ({ subject, value, unit, effect }) => `| ${subject} | ${formatLimit({ value, unit })} | ${effect} |`,
  );
  return [
    '# Limits',
    '',
    'Limits of the compiler. An error message names the limit and the value that exceeds it.',
    '',
    `All compilations together use up to ${format(maxCompilerMebibytes())} MiB: the JavaScript heap and binaryen's memory of each worker thread.`,
    '',
    '<!-- Generated from src/compiler/limits.ts by `npm run limits`. -->',
    '',
    '| Applies to | Limit | If exceeded |',
    '| --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}
