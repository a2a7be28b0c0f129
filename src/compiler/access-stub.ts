// The access stub: what an import of another module becomes inside an image. It marks the entry and the exit of an access (patent col. 5),
// reads the module table at every call, and retries where an error was injected into the access that it made.

import { bypassMark, frameLimit, retryLimit, runningThread, tableEntry, threadBlock } from '../machine/abi.ts';
import type { FunctionType } from '../machine/image.ts';
import { type Expression, expressions } from './expression.ts';

/** A quoted name of the text format, for names that come from users. */
function quotedName(...parts: readonly string[]): string {
  return `$"${parts.join(':').replace(/[^ -~]|["\\$]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)}"`;
}

/** The global with the place of a module's entry in the module table. */
export const entryGlobal = (module: string) => quotedName('patchbay', 'entry', module);
/** The global with an export's distance from its module's address. */
export const offsetGlobal = (module: string, name: string) => quotedName('patchbay', 'offset', module, name);

export const parametersText = (type: FunctionType) => type.parameters.map((parameter, index) => `(param $${index} ${parameter})`).join(' ');
export const resultsText = (type: FunctionType) => (type.results.length === 0 ? '' : `(result ${type.results.join(' ')})`);

/** What the kernel's memory says of the thread that has the processor. */
export const readRunning = (what: keyof typeof runningThread) => `(i32.load $patchbay:memory (i32.const ${runningThread[what]}))`;
export const writeRunning = (what: keyof typeof runningThread, value: string) =>
  `(i32.store $patchbay:memory (i32.const ${runningThread[what]}) ${value})`;

export type StubOptions = {
  /** A global of the module that receives the record of the image that completed the access, or null. */
  readonly served: string | null;
  /** Globals of the module that keep the address and the record that the first access found, or null: then every access reads the table. */
  readonly pinned: { readonly address: string; readonly record: string } | null;
};

/**
 * The stub of one import. A frame is a place in the thread's stack of images; the injected error is aimed at one of them, so that of
 * nested accesses the right one retries and those further in just unwind. A retry always goes through the module table.
 */
export function accessStub(
  name: string,
  target: { module: string; name: string; type: FunctionType },
  { served, pinned }: StubOptions,
): Expression[] {
  const { type } = target;
  const entry = `(global.get ${entryGlobal(target.module)})`;
  const resultLocals = type.results.map((_, index) => `$result${index}`);
  return expressions(`
    (func ${name} ${parametersText(type)} ${resultsText(type)}
      (local $frame i32) (local $effects i32) (local $record i32) (local $address i32) (local $mark i32) (local $tries i32)
      ${type.results.map((result, index) => `(local ${resultLocals[index]} ${result})`).join(' ')}
      (local.set $frame ${readRunning('stack')})
      (local.set $effects ${readRunning('effects')})
      (local.set $tries (i32.const 0))
      (if (i32.ge_u (i32.and (local.get $frame) (i32.const ${threadBlock.bytes - 1})) (i32.const ${threadBlock.frames + 4 * frameLimit}))
        (then (unreachable)))
      (block $done ${resultsText(type)}
        (loop $retry
          ${readTable(entry)}
          (local.set $mark (local.get $record))
          ${pinned === null ? '' : `(if (i32.eqz (local.get $tries)) (then ${readPinned(pinned)}))`}
          (i32.store $patchbay:memory (local.get $frame) (local.get $mark))
          ${writeRunning('stack', '(i32.add (local.get $frame) (i32.const 4))')}
          (block $injected
            (try_table ${resultsText(type)} (catch $patchbay:injected $injected)
              (call_indirect $patchbay:space ${typeText(type)}
                ${type.parameters.map((_, index) => `(local.get $${index})`).join(' ')}
                (i32.add (local.get $address) (global.get ${offsetGlobal(target.module, target.name)}))))
            ${resultLocals
              .toReversed()
              .map((local) => `local.set ${local}`)
              .join(' ')}
            ${writeRunning('stack', '(local.get $frame)')}
            ${served === null ? '' : `(global.set ${served} (local.get $record))`}
            (br $done ${resultLocals.map((local) => `(local.get ${local})`).join(' ')})
          )
          (local.set $tries (call $patchbay:interrupted (local.get $frame) (local.get $effects) (local.get $tries)))
          (br $retry)
        )
        unreachable
      )
    )`);
}

/**
 * What all stubs of an image do with an injected error: the access is left and its effects are dropped; then it is tried again, if the error is
 * aimed at it and it has retries left, or the error goes on. Out of the stubs' way, so that they are small enough for V8 to put into their callers.
 */
export const interruptedText = () => {
  const block = `(i32.and (local.get $frame) (i32.const -${threadBlock.bytes}))`;
  const inBlock = (offset: number) => `(i32.load $patchbay:memory offset=${offset} ${block})`;
  return expressions(`
    (func $patchbay:interrupted (param $frame i32) (param $effects i32) (param $tries i32) (result i32)
      ${writeRunning('effects', '(local.get $effects)')}
      (if (i32.or (i32.ne ${inBlock(threadBlock.aim)} (local.get $frame)) (i32.ge_u (local.get $tries) (i32.const ${retryLimit})))
        (then (throw $patchbay:injected)))
      (i32.store $patchbay:memory offset=${threadBlock.retried} ${block} (i32.add ${inBlock(threadBlock.retried)} (i32.const 1)))
      (i32.add (local.get $tries) (i32.const 1)))`);
};

const readTable = (entry: string) => `
  (local.set $record (i32.load $patchbay:memory offset=${tableEntry.record} ${entry}))
  (local.set $address (i32.load $patchbay:memory offset=${tableEntry.address} ${entry}))`;

/** A program that reads the address once and keeps it (patent: tests that nothing holds on to old code). Its retries go through the table. */
function readPinned({ address, record }: NonNullable<StubOptions['pinned']>): string {
  return `
    (if (i32.eqz (global.get ${address}))
      (then
        (global.set ${record} (local.get $record))
        (global.set ${address} (local.get $address))))
    (local.set $record (global.get ${record}))
    (local.set $address (global.get ${address}))
    (local.set $mark (i32.or (local.get $record) (i32.const ${bypassMark})))`;
}

/** A function type without the parameters' names. */
const typeText = (type: FunctionType) => `${type.parameters.map((parameter) => `(param ${parameter})`).join(' ')} ${resultsText(type)}`;
