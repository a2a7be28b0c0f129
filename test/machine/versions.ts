// Creates many versions of one module without compiling each: replaces the version in the image's stamp by another of the same length.

import { digestOf, type VerifiedImage } from '../../src/machine/index.ts';
import { readVerified } from './read-verified.ts';
import { compiler } from './test-machine.ts';

/** Versions 1.1000.0 to 1.9999.0 of a module. */
export class Versions {
  readonly #bytes: Uint8Array;

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  static async of(module: string, wat: string): Promise<Versions> {
    const result = await compiler.compileModule({ module, version: versionText(0), language: 'wat', source: wat });
    if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
    return new Versions(result.compiled.image);
  }

  /** Returns the image of a version. @param number From 0 to 8,999. */
  image(number: number): VerifiedImage {
    const { bytes, digest } = this.bytesOf(number);
    return readVerified(bytes, digest);
  }

  bytesOf(number: number): { readonly bytes: Uint8Array<ArrayBuffer>; readonly digest: string } {
    const stampText = `"version":"${versionText(0)}"`;
    const bytes = Buffer.from(this.#bytes);
    const place = bytes.indexOf(stampText);
    if (place < 0) throw new Error('the stamp has no version');
    bytes.write(`"version":"${versionText(number)}"`, place, 'latin1');
    const copy = new Uint8Array(bytes);
    return { bytes: copy, digest: digestOf(copy) };
  }
}

export function versionText(number: number): string {
  return `1.${1_000 + number}.0`;
}
