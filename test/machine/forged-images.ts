// Forged images: arbitrary WebAssembly with an arbitrary stamp, as an attacker who knows the ABI would write them.

import { binaryen, imageFeatures } from '../../src/compiler/binaryen.ts';
import { abiVersion, lazyStubSection, stampSection } from '../../src/machine/abi.ts';
import { digestOf } from '../../src/machine/index.ts';

export type ForgedImage = { readonly bytes: Uint8Array<ArrayBuffer>; readonly digest: string };

type Type = { readonly parameters: readonly string[]; readonly results: readonly string[] };
type StampOf = {
  readonly kind: 'module' | 'driver';
  readonly module?: string;
  readonly abi?: number;
  readonly ownMemory?: boolean;
  readonly hasStart?: boolean;
  readonly exports?: readonly (Type & { readonly name: string })[];
  readonly imports?: readonly (Type & { readonly module: string; readonly name: string })[];
};

const none: Type = { parameters: [], results: [] };
const integers = (parameters: number, results = 1): Type => ({
  parameters: Array.from({ length: parameters }, () => 'i32'),
  results: Array.from({ length: results }, () => 'i32'),
});
export const exported = (name: string, type: Type = none) => ({ name, ...type });
export const imported = (module: string, name: string, type: Type = none) => ({ module, name, ...type });

/** Returns the bytes of a module's text with an image's stamp. @param stubs Text of the lazy stubs; by default, stubs without parameters. */
export function forge(text: string, stamp: StampOf, stubs: string = stubsOf(stamp)): ForgedImage {
  const { kind, module = 'tcp', abi = abiVersion, ownMemory = false, hasStart = false, exports = [], imports = [] } = stamp;
  const origin = { version: '1.0.0', compiler: 'patchbay', sourceDigest: digestOf('') };
  const memory = ownMemory ? { initialPages: 1, maximumPages: 1 } : null;
  const toolchain = { hasState: ownMemory, stack: null, concurrency: 'shared', initialize: false };
  const properties = { ownMemory, memory, hasStart, mayFailToInstantiate: hasStart, ...toolchain };
  const content = { abi, kind, module, ...origin, ...properties, interface: { exports, imports } };
  const sections = { [stampSection]: new TextEncoder().encode(JSON.stringify(content)), [lazyStubSection]: assemble(stubs, {}) };
  const bytes = assemble(text, sections);
  return { bytes, digest: digestOf(bytes) };
}

/** Returns a compiled image with some of its bytes replaced by others of the same length. */
export function alter(image: Uint8Array, replacements: readonly (readonly [from: Uint8Array, to: Uint8Array])[]): ForgedImage {
  const bytes = new Uint8Array(image);
  for (const [from, to] of replacements) {
    const place = Buffer.from(bytes).indexOf(from);
    if (place < 0 || from.length !== to.length) throw new Error('the image is not as expected');
    bytes.set(to, place);
  }
  return { bytes, digest: digestOf(bytes) };
}

function stubsOf({ exports = [] }: StampOf): string {
  return `(module ${exports.map((_, index) => `(func (export "${index}"))`).join('')})`;
}

function assemble(text: string, sections: Readonly<Record<string, Uint8Array>>): Uint8Array<ArrayBuffer> {
  const module = binaryen.parseText(text);
  module.setFeatures(imageFeatures);
  for (const [name, content] of Object.entries(sections)) module.addCustomSection(name, content);
  const bytes = new Uint8Array(module.emitBinary());
  module.dispose();
  return bytes;
}

/** Result of the function that the forged driver puts in place of every function of its device. */
export const forgedResult = 666;

/**
 * A driver of `MODULE.work(i32) → i32` with the imports that a driver may have. It writes its own function into every slot of the address space, and
 * overwrites kernel memory from an address on.
 */
export function forgedDriver(module: string, overwriteFrom: number | null = null): ForgedImage {
  const overwrite =
    overwriteFrom === null
      ? ''
      : `(memory.fill (i32.const ${overwriteFrom}) (i32.const 0) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const ${overwriteFrom})))`;
  const text = `
    (module
      (import "patchbay" "memory" (memory 1))
      (import "patchbay" "space" (table 1 funcref))
      (import "patchbay:entry" "${module}" (global $entry i32))
      (import "patchbay:offset:${module}" "work" (global $offset i32))
      (func $own (param i32) (result i32) (i32.const ${forgedResult}))
      (elem declare func $own)
      (func (export "main") (param $block i32) (param i32)
        (local $page i32)
        (loop $next
          (table.set (local.get $page) (ref.func $own))
          (local.set $page (i32.add (local.get $page) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $page) (table.size))))
        ${overwrite})
      (func (export "call") (param i32 i32) (result i32) (i32.const 0)))`;
  return forge(text, {
    kind: 'driver',
    module,
    exports: [exported('main', integers(2, 0)), exported('call', integers(2))],
    imports: [imported(module, 'work', integers(1))],
  });
}
