// Access sites: where in an image's binary its access stubs call other modules. The position of a trap identifies the export that was called.

import { offsetNamespacePrefix } from '../abi.ts';
import type { Stamp } from './stamp.ts';

/** An export of another module, by name. */
export type AccessedExport = { readonly module: string; readonly name: string };

const opcodes = { callIndirect: 0x11, globalGet: 0x23, add: 0x6a } as const;
/** A stub's call ends with: add the export's offset to the module's address, and call that slot. */
const callPattern = Buffer.from([opcodes.add, opcodes.callIndirect]);

/** By stamp, so that an image needs no reference to its binary. Images with one import have no sites. */
const sitesByStamp = new WeakMap<Stamp, ReadonlyMap<number, AccessedExport>>();

/** Finds the access sites of an image that imports several functions, for `accessAt`. */
export function recordAccessSites(stamp: Stamp, code: WebAssembly.Module, binary: Uint8Array): void {
  if (stamp.interface.imports.length > 1) sitesByStamp.set(stamp, findAccessSites(code, binary));
}

/** Returns the export that an image's code calls where an error occurred; null if unknown, or if the error has another origin. */
export function accessAt(stamp: Stamp, error: unknown): AccessedExport | null {
  const sites = sitesByStamp.get(stamp);
  if (sites === undefined || !(error instanceof Error)) return null;
  // https://webassembly.github.io/spec/web-api/#conventions: the position is that of the instruction, in bytes from the start of the binary.
  const position = /wasm-function\[\d+\]:0x([0-9a-f]+)/.exec(error.stack ?? '')?.[1];
  return position === undefined ? null : (sites.get(Number.parseInt(position, 16)) ?? null);
}

/** Returns the export that each stub calls, by the position of its `call_indirect`. Data that looks like a call adds a position where no trap occurs. */
function findAccessSites(code: WebAssembly.Module, binary: Uint8Array): ReadonlyMap<number, AccessedExport> {
  const globals = WebAssembly.Module.imports(code).filter(({ kind }) => kind === 'global');
  const bytes = Buffer.from(binary.buffer, binary.byteOffset, binary.byteLength);
  const sites = new Map<number, AccessedExport>();
  for (let add = bytes.indexOf(callPattern); add >= 0; add = bytes.indexOf(callPattern, add + 1)) {
    const offset = globals[globalBefore(bytes, add) ?? globals.length];
    if (offset?.module.startsWith(offsetNamespacePrefix) === true)
      sites.set(add + 1, { module: offset.module.slice(offsetNamespacePrefix.length), name: offset.name });
  }
  return sites;
}

/** Returns the index of the global that the instruction before a position reads; null if it is another instruction. */
function globalBefore(bytes: Uint8Array, position: number): number | null {
  let index = 0;
  for (let place = position - 1, last = position - 1; place > 0; place -= 1) {
    const byte = bytes[place] ?? 0;
    // In LEB128, all bytes but the last have the high bit.
    if (place !== last && byte < 0x80) return byte === opcodes.globalGet ? index : null;
    if (place === last && byte >= 0x80) return null;
    if (position - place > 5) return null;
    index = index * 0x80 + (byte & 0x7f);
  }
  return null;
}
