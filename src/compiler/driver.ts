// Generates the driver of a declared program: the WebAssembly loop that each of its threads runs, so that accesses do not cross into JavaScript.

import { pinnedRecordExport, runningThread, threadBlock } from '../machine/abi.ts';
import type { FunctionType, ValueType } from '../machine/images/stamp.ts';
import type { Addressing } from '../machine/images/verified-image.ts';
import type { StubOptions } from './access-stub.ts';
import { imageFeatures, parseText } from './binaryen.ts';

/** Index of the global to which the stub writes the record of the image that completed the access. */
const servedGlobal = 0;
/** Indices of the globals to which a driver with hard-coded addressing writes the address and record of its first access. */
const pinnedGlobals = { address: 1, record: 2 } as const;

/** The record is exported, so that the device can read which image the program refers to. */
const pinnedText = `
  (global $pinned-address (mut i32) (i32.const 0))
  (global $pinned-record (mut i32) (i32.const 0))
  (export "${pinnedRecordExport}" (global $pinned-record))`;

/** The export that a driver calls, and how the driver addresses its module. */
export type DriverRequest = {
  readonly module: string;
  readonly export: string;
  readonly type: FunctionType;
  readonly addressing: Addressing;
};

/** Conversions of a result to the 64 bits stored in the thread's block. Results of other types are not stored. */
const toBits: Partial<Record<ValueType, string>> = {
  i32: '(i64.extend_i32_s (local.get $value))',
  i64: '(local.get $value)',
  f32: '(i64.extend_i32_u (i32.reinterpret_f32 (local.get $value)))',
  f64: '(i64.reinterpret_f64 (local.get $value))',
};

const parametersText = (type: FunctionType) => type.parameters.map((parameter, index) => `(param $${index} ${parameter})`).join(' ');
const resultsText = (type: FunctionType) => (type.results.length === 0 ? '' : `(result ${type.results.join(' ')})`);

/** Returns a text as a quoted string of the text format. */
function quote(text: string): string {
  return `"${Array.from(new TextEncoder().encode(text), (byte) => `\\${byte.toString(16).padStart(2, '0')}`).join('')}"`;
}

/** Loads a word about the running thread from the kernel's memory. */
const loadThreadWord = (word: keyof typeof runningThread) => `(i32.load $patchbay:memory (i32.const ${runningThread[word]}))`;
const storeThreadWord = (word: keyof typeof runningThread, value: string) =>
  `(i32.store $patchbay:memory (i32.const ${runningThread[word]}) ${value})`;

/** Returns the options of the stub that makes the driver's access. */
export function driverStubOptions({ addressing }: DriverRequest): StubOptions {
  return { servedGlobal: servedGlobal, pinnedGlobals: addressing === 'hard-coded' ? pinnedGlobals : null, stackPointer: null };
}

/** Assembles the text of a driver to a module, which is not yet linked. */
export function assembleDriver(text: string): Uint8Array {
  const module = parseText(text);
  try {
    module.setFeatures(imageFeatures);
    return module.emitBinary();
  } finally {
    module.dispose();
  }
}

/**
 * Generates the text of a driver for one export of one module. `main(block, arguments…)` makes the number of calls stored in the thread's block and
 * counts them there by the version that served them. It calls JavaScript only after a version change, to commit effects, and to pause.
 * `call(block, arguments…)` makes one call and returns its results.
 */
export function generateDriverText(target: DriverRequest): string {
  const { type } = target;
  const [first] = type.results;
  const bits = first === undefined ? undefined : toBits[first];
  const call = `(call $access ${type.parameters.map((_, index) => `(local.get $${index})`).join(' ')})`;
  const dropRest = type.results.slice(1).map(() => 'drop');
  const storeResult =
    bits === undefined
      ? type.results.map(() => 'drop')
      : [...dropRest, 'local.set $value', `(i64.store $patchbay:memory offset=${threadBlock.result} (local.get $block) ${bits})`];
  const addCompleted = `(i64.store $patchbay:memory offset=${threadBlock.callsCompleted} (local.get $block) (i64.add (i64.load $patchbay:memory offset=${threadBlock.callsCompleted} (local.get $block)) (i64.const 1)))`;
  const addBegun = `(i32.store $patchbay:memory offset=${threadBlock.callsBegun} (local.get $block) (i32.add (i32.load $patchbay:memory offset=${threadBlock.callsBegun} (local.get $block)) (i32.const 1)))`;
  const pause = `(if (i32.load $patchbay:memory offset=${threadBlock.pauseMilliseconds} (local.get $block))
            (then (call $pause (i32.load $patchbay:memory offset=${threadBlock.pauseMilliseconds} (local.get $block)))))`;
  // `main` is entered again after a failed call, which is also followed by a pause.
  const pauseAfterFailure = `(if (i32.load $patchbay:memory offset=${threadBlock.callsBegun} (local.get $block)) (then ${pause}))`;
  return `
    (module
      (import "patchbay" "memory" (memory $patchbay:memory 1))
      (import "patchbay" "suspend" (func $patchbay:suspend))
      (import "patchbay" "commit" (func $commit))
      (import "patchbay" "switched" (func $switched (param i32 i32) (result i32)))
      (import "patchbay" "pause" (func $pause (param i32)))
      (import ${quote(target.module)} ${quote(target.export)} (func $access ${parametersText(type)} ${resultsText(type)}))
      (global $served (mut i32) (i32.const 0))
      ${target.addressing === 'hard-coded' ? pinnedText : ''}
      (export "main" (func $main))
      (export "call" (func $call))
      (func $call (param $block i32) ${parametersText(type)} ${resultsText(type)}
        ${storeThreadWord('stack', `(i32.add (local.get $block) (i32.const ${threadBlock.frames}))`)}
        ${storeThreadWord('effects', '(i32.const 0)')}
        ${addBegun}
        ${call}
        (if ${loadThreadWord('effects')} (then (call $commit)))
        (i32.store $patchbay:memory offset=${threadBlock.returned} (local.get $block) (i32.const 1)))
      (func $main (param $block i32) ${parametersText(type)}
        (local $remaining i64) ${bits === undefined ? '' : `(local $value ${first})`}
        ${pauseAfterFailure}
        (loop $next
          (local.set $remaining (i64.load $patchbay:memory offset=${threadBlock.callsRemaining} (local.get $block)))
          (if (i64.eqz (local.get $remaining)) (then (return)))
          (if (i64.gt_s (local.get $remaining) (i64.const 0))
            (then (i64.store $patchbay:memory offset=${threadBlock.callsRemaining} (local.get $block) (i64.sub (local.get $remaining) (i64.const 1)))))
          ${addBegun}
          ${call}
          ${storeResult.join(' ')}
          (if (i32.ne (global.get $served) (i32.load $patchbay:memory offset=${threadBlock.servedBy} (local.get $block)))
            (then (if (call $switched (local.get $block) (global.get $served)) (then (call $patchbay:suspend)))))
          ${addCompleted}
          (if ${loadThreadWord('effects')} (then (call $commit)))
          ${pause}
          (br $next))))`;
}
