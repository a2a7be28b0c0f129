// An image: one compiled version of a module, in the form that a device loads.

import { setFlagsFromString } from 'node:v8';
import { z } from 'zod';
import { abiVersion, lazyStubSection, stampSection } from '../abi.ts';
import { digestOf } from '../digest.ts';
import { recordAccessSites } from './access-sites.ts';
import { type BinarySections, readSections, UnsupportedBinaryError } from './binary-sections.ts';
import { findImageError, findLazyStubError } from './image-validation.ts';
import { Stamp } from './stamp.ts';

/** The part of a stamp that is the same in all ABI versions. */
const StampedAbi = z.object({ abi: z.int() });

/** An image that was checked and compiled to machine code once, shared by all devices of the process. */
export type Image = ModuleImage | DriverImage;

type CompiledImage = {
  readonly digest: string;
  readonly bytes: number;
  readonly stamp: Stamp;
  readonly code: WebAssembly.Module;
  /** Maximum total elements of an instance's tables. */
  readonly tableElements: number;
};

/** Image of one version of a module. */
export type ModuleImage = CompiledImage & {
  readonly kind: 'module';
  /** Stubs with the types of the exports, which stand in for the image in a device's memory until its first access. */
  readonly lazyStubs: WebAssembly.Module;
};

/** Image of a program's driver: the loop that makes the calls. */
export type DriverImage = CompiledImage & { readonly kind: 'driver' };

/** The bytes are not an image that a device may run; the message says why. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
}

/**
 * Checks an image's digest, stamp, imports and exports, and compiles it (operation 200 of FIG. 2). A device accepts the image once `verifyImage` has
 * compared it with its signed statement.
 * @throws {ImageError} if the digest differs, the bytes are not WebAssembly, the stamp is missing or malformed, or the imports or exports are not
 * allowed.
 */
export function readImage(bytes: Uint8Array<ArrayBuffer>, digest: string): Image {
  checkDigest(bytes, digest);
  const image = checkImage(compile(bytes), bytes, digest);
  return image.stamp.kind === 'driver' ? { ...image, kind: 'driver' } : withLazyStubs(image, compile(readLazyStubs(image.code)));
}

/**
 * Like `readImage`, but compiles all functions on background threads. `readImage` compiles a function at its first call, which blocks all devices of
 * the host.
 * @throws {ImageError} as `readImage` does.
 */
export async function compileImage(bytes: Uint8Array<ArrayBuffer>, digest: string): Promise<Image> {
  checkDigest(bytes, digest);
  const image = checkImage(await compileEagerly(bytes), bytes, digest);
  return image.stamp.kind === 'driver'
    ? { ...image, kind: 'driver' }
    : withLazyStubs(image, await compileEagerly(readLazyStubs(image.code)));
}

function checkDigest(bytes: Uint8Array, digest: string): void {
  const actual = digestOf(bytes);
  if (actual !== digest) throw new ImageError(`digest mismatch: expected ${digest}, received ${actual}`);
}

function checkImage(code: WebAssembly.Module, bytes: Uint8Array<ArrayBuffer>, digest: string): CompiledImage {
  const stamp = readStamp(code);
  const sections = readBinarySections(bytes);
  throwIfInvalid(findImageError(code, sections, stamp));
  recordAccessSites(stamp, code, bytes);
  return { digest, bytes: bytes.length, stamp, code, tableElements: sections.tableElements };
}

function readLazyStubs(code: WebAssembly.Module): Uint8Array<ArrayBuffer> {
  const [stubs] = WebAssembly.Module.customSections(code, lazyStubSection);
  if (stubs === undefined) throw new ImageError(`the image has no ${lazyStubSection} section: compile the source again`);
  return new Uint8Array(stubs);
}

function withLazyStubs(image: CompiledImage, stubs: WebAssembly.Module): ModuleImage {
  throwIfInvalid(findLazyStubError(stubs, image.stamp));
  return { ...image, kind: 'module', lazyStubs: stubs };
}

function readBinarySections(bytes: Uint8Array): BinarySections {
  try {
    return readSections(bytes);
  } catch (error) {
    if (error instanceof UnsupportedBinaryError) throw new ImageError(`the image is refused: ${error.message}`);
    throw error;
  }
}

function throwIfInvalid(reason: string | null): void {
  if (reason !== null) throw new ImageError(`the image is refused: ${reason}`);
}

function compile(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  try {
    return new WebAssembly.Module(bytes);
  } catch (error) {
    throw invalidWasm(error);
  }
}

/** Number of eager compilations in progress. V8's flag applies to the whole process: other modules compiled meanwhile are compiled eagerly too. */
let eagerCompilations = 0;

async function compileEagerly(bytes: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module> {
  if (eagerCompilations === 0) setFlagsFromString('--no-wasm-lazy-compilation');
  eagerCompilations += 1;
  try {
    return await WebAssembly.compile(bytes);
  } catch (error) {
    throw invalidWasm(error);
  } finally {
    eagerCompilations -= 1;
    if (eagerCompilations === 0) setFlagsFromString('--wasm-lazy-compilation');
  }
}

function invalidWasm(error: unknown): ImageError {
  return new ImageError(`the image is not valid WebAssembly: ${error instanceof Error ? error.message : String(error)}`);
}

function readStamp(code: WebAssembly.Module): Stamp {
  const [section] = WebAssembly.Module.customSections(code, stampSection);
  if (section === undefined) throw new ImageError(`the image has no ${stampSection} section: it was not compiled by Patchbay`);
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(section));
  } catch {
    throw new ImageError(`the image's ${stampSection} section is not JSON`);
  }
  const { data: stamped } = StampedAbi.safeParse(content);
  if (stamped !== undefined && stamped.abi !== abiVersion)
    throw new ImageError(
      `the image has safepoint ABI version ${stamped.abi}, expected ${abiVersion}: compile the source again (push the module under a higher version, or start the program again)`,
    );
  const stamp = Stamp.safeParse(content);
  if (!stamp.success) throw new ImageError(`the image's stamp is malformed: ${z.prettifyError(stamp.error)}`);
  return stamp.data;
}
