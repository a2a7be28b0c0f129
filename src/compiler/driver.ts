// The driver of a declared program: the loop, in WebAssembly, that each of its threads runs, so that accesses do not cross into JavaScript.

import { pinnedRecordExport, runningThread, threadBlock } from '../machine/abi.ts';
import type { FunctionType, ValueType } from '../machine/images/stamp.ts';
import type { Addressing } from '../machine/images/verified-image.ts';
import type { StubOptions } from './access-stub.ts';
import { imageFeatures, parseText } from './binaryen.ts';

/** Global where the stub leaves the record of the image that completed the access. */
const servedGlobal = 0;
/** Globals where a driver of hard-coded addressing keeps what its first access found. */
const pinnedGlobals = { address: 1, record: 2 } as const;

/** The record is exported, for the device to see what the program holds. */
const pinnedText = `
  (global $pinned-address (mut i32) (i32.const 0))
  (global $pinned-record (mut i32) (i32.const 0))
  (export "${pinnedRecordExport}" (global $pinned-record))`;

/** What a driver calls, and how it finds it. */
export type DriverRequest = {
  readonly module: string;
  readonly export: string;
  readonly type: FunctionType;
  readonly addressing: Addressing;
};

/** How a result's bits are kept in the thread's block; types without a number are not kept. */
const toBits: Partial<Record<ValueType, string>> = {
  i32: '(i64.extend_i32_s (local.get $value))',
  i64: '(local.get $value)',
  f32: '(i64.extend_i32_u (i32.reinterpret_f32 (local.get $value)))',
  f64: '(i64.reinterpret_f64 (local.get $value))',
};

const parametersText = (type: FunctionType) => type.parameters.map((parameter, index) => `(param $${index} ${parameter})`).join(' ');
const resultsText = (type: FunctionType) => (type.results.length === 0 ? '' : `(result ${type.results.join(' ')})`);

/** Text as a quoted string of the text format. */
function quote(text: string): string {
  return `"${Array.from(new TextEncoder().encode(text), (byte) => `\\${byte.toString(16).padStart(2, '0')}`).join('')}"`;
}

/** Words of the kernel's memory about the thread that has the processor. */
const readRunning = (what: keyof typeof runningThread) => `(i32.load $patchbay:memory (i32.const ${runningThread[what]}))`;
const writeRunning = (what: keyof typeof runningThread, value: string) =>
  `(i32.store $patchbay:memory (i32.const ${runningThread[what]}) ${value})`;

/** Options of the stub that makes the driver's access. */
export function driverStubOptions({ addressing }: DriverRequest): StubOptions {
  return { servedGlobal: servedGlobal, pinnedGlobals: addressing === 'hard-coded' ? pinnedGlobals : null, stackPointer: null };
}

/** The driver's binary, before it is linked. */
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
 * Text of a driver for one export of one module. `main(block, arguments…)` makes the calls that the thread's block asks for and counts them there
 * by the version that served them; it leaves to JavaScript only for a new version, for effects to commit, and to pause. `call(block, arguments…)`
 * makes one call and returns its results.
 */
export function generateDriverText(target: DriverRequest): string {
  const { type } = target;
  const [first] = type.results;
  const bits = first === undefined ? undefined : toBits[first];
  const call = `(call $access ${type.parameters.map((_, index) => `(local.get $${index})`).join(' ')})`;
  const dropRest = type.results.slice(1).map(() => 'drop');
  const keep =
    bits === undefined
      ? type.results.map(() => 'drop')
      : [...dropRest, 'local.set $value', `(i64.store $patchbay:memory offset=${threadBlock.result} (local.get $block) ${bits})`];
  const addCompleted = `(i64.store $patchbay:memory offset=${threadBlock.callsCompleted} (local.get $block) (i64.add (i64.load $patchbay:memory offset=${threadBlock.callsCompleted} (local.get $block)) (i64.const 1)))`;
  const addBegun = `(i32.store $patchbay:memory offset=${threadBlock.callsBegun} (local.get $block) (i32.add (i32.load $patchbay:memory offset=${threadBlock.callsBegun} (local.get $block)) (i32.const 1)))`;
  const pause = `(if (i32.load $patchbay:memory offset=${threadBlock.pauseMilliseconds} (local.get $block))
            (then (call $pause (i32.load $patchbay:memory offset=${threadBlock.pauseMilliseconds} (local.get $block)))))`;
  // `main` is entered again after a call that failed: there is a pause after that one too.
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
        ${writeRunning('stack', `(i32.add (local.get $block) (i32.const ${threadBlock.frames}))`)}
        ${writeRunning('effects', '(i32.const 0)')}
        ${addBegun}
        ${call}
        (if ${readRunning('effects')} (then (call $commit)))
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
          ${keep.join(' ')}
          (if (i32.ne (global.get $served) (i32.load $patchbay:memory offset=${threadBlock.servedBy} (local.get $block)))
            (then (if (call $switched (local.get $block) (global.get $served)) (then (call $patchbay:suspend)))))
          ${addCompleted}
          (if ${readRunning('effects')} (then (call $commit)))
          ${pause}
          (br $next))))`;
}
