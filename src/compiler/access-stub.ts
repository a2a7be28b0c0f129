// The access stub: what an import of another module becomes inside an image. It marks the entry and the exit of an access (patent col. 5),
// reads the module table at every call, and retries where an error was injected into the access that it made.

import { bypassMark, frameLimit, imageRecord, retryLimit, tableEntry, threadBlock } from '../machine/abi.ts';
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

export type StubOptions = {
  /** A global of the module that receives the record of the image that completed the access, or null. */
  readonly served: string | null;
  /** Globals of the module that keep the address and the record that the first access found, or null: then every access reads the table. */
  readonly pinned: { readonly address: string; readonly record: string } | null;
};

/**
 * The stub of one import. A frame is a place in the thread's stack of images; the injected error carries the frame it is aimed at, so that of
 * nested accesses the right one retries and those further in just unwind. A retry always goes through the module table.
 */
export function accessStub(
  name: string,
  target: { module: string; name: string; type: FunctionType },
  { served, pinned }: StubOptions,
): Expression[] {
  const { type } = target;
  const entry = `(global.get ${entryGlobal(target.module)})`;
  const add = (address: string, by: number) =>
    `(i32.store $patchbay:memory ${address} (i32.add (i32.load $patchbay:memory ${address}) (i32.const ${by})))`;
  const resultLocals = type.results.map((_, index) => `$result${index}`);
  const readTable = `
    (local.set $record (i32.load $patchbay:memory offset=${tableEntry.record} ${entry}))
    (local.set $address (i32.load $patchbay:memory offset=${tableEntry.address} ${entry}))
    (local.set $counter (i32.add (local.get $record) (i32.const ${imageRecord.referenceCount})))
    (local.set $mark (local.get $record))`;
  const leave = `
    ${add('(local.get $counter)', -1)}
    (global.set $patchbay:stack (local.get $frame))`;
  return expressions(`
    (func ${name} ${parametersText(type)} ${resultsText(type)}
      (local $frame i32) (local $effects i32) (local $record i32) (local $address i32) (local $counter i32) (local $mark i32)
      (local $aim i32) (local $tries i32)
      ${type.results.map((result, index) => `(local ${resultLocals[index]} ${result})`).join(' ')}
      (local.set $frame (global.get $patchbay:stack))
      (local.set $effects (global.get $patchbay:effects))
      (if (i32.ge_u (i32.and (local.get $frame) (i32.const ${threadBlock.bytes - 1})) (i32.const ${threadBlock.frames + 4 * frameLimit}))
        (then (unreachable)))
      ${pinned === null ? readTable : readPinned(pinned, entry)}
      (loop $retry
        ${add('(local.get $counter)', 1)}
        (i32.store $patchbay:memory (local.get $frame) (local.get $mark))
        (global.set $patchbay:stack (i32.add (local.get $frame) (i32.const 4)))
        (block $injected (result i32)
          (try_table ${resultsText(type)} (catch $patchbay:injected $injected)
            (call_indirect $patchbay:space ${typeText(type)}
              ${type.parameters.map((_, index) => `(local.get $${index})`).join(' ')}
              (i32.add (local.get $address) (global.get ${offsetGlobal(target.module, target.name)}))))
          ${resultLocals
            .toReversed()
            .map((local) => `local.set ${local}`)
            .join(' ')}
          ${leave}
          ${served === null ? '' : `(global.set ${served} (local.get $record))`}
          ${resultLocals.map((local) => `(local.get ${local})`).join(' ')}
          return
        )
        local.set $aim
        ${leave}
        (global.set $patchbay:effects (local.get $effects))
        (if (i32.and (i32.eq (local.get $aim) (local.get $frame)) (i32.lt_u (local.get $tries) (i32.const ${retryLimit})))
          (then
            (local.set $tries (i32.add (local.get $tries) (i32.const 1)))
            ${add(`(i32.add (i32.and (local.get $frame) (i32.const -${threadBlock.bytes})) (i32.const ${threadBlock.retried}))`, 1)}
            ${readTable}
            (br $retry)))
        (throw $patchbay:injected (local.get $aim))
      )
      unreachable
    )`);
}

/** A program that reads the address once and keeps it (patent: tests that nothing holds on to old code). */
function readPinned({ address, record }: NonNullable<StubOptions['pinned']>, entry: string): string {
  return `
    (if (i32.eqz (global.get ${address}))
      (then
        (global.set ${record} (i32.load $patchbay:memory offset=${tableEntry.record} ${entry}))
        (global.set ${address} (i32.load $patchbay:memory offset=${tableEntry.address} ${entry}))))
    (local.set $record (global.get ${record}))
    (local.set $address (global.get ${address}))
    (local.set $counter (i32.add (local.get $record) (i32.const ${imageRecord.bypassing})))
    (local.set $mark (i32.or (local.get $record) (i32.const ${bypassMark})))`;
}

/** A function type without the parameters' names. */
const typeText = (type: FunctionType) => `${type.parameters.map((parameter) => `(param ${parameter})`).join(' ')} ${resultsText(type)}`;
