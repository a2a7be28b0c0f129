// An image: one compiled version of a module, as bytes that a device can put in its memory.

import { setFlagsFromString } from 'node:v8';
import { z } from 'zod';
import { abiVersion, lazyStubSection, stampSection } from '../abi.ts';
import { digestOf } from '../digest.ts';
import { type BinarySections, readSections, UnsupportedBinaryError } from './binary-sections.ts';
import { findImageError, findLazyStubError } from './image-validation.ts';
import { Stamp } from './stamp.ts';

/** What stamps of all versions of the ABI have. */
const StampedAbi = z.object({ abi: z.int() });

/** An image that was checked and compiled to machine code once, to be shared by all devices of the process. */
export type Image = ModuleImage | DriverImage;

type CompiledImage = {
  readonly digest: string;
  readonly bytes: number;
  readonly stamp: Stamp;
  readonly code: WebAssembly.Module;
  /** Elements that the tables of an instance may have together. */
  readonly tableElements: number;
};

/** One version of a module. */
export type ModuleImage = CompiledImage & {
  readonly kind: 'module';
  /** Functions of its exports' types, which stand in its place in a device's memory until its first access. */
  readonly lazyStubs: WebAssembly.Module;
};

/** The loop of a declared program. */
export type DriverImage = CompiledImage & { readonly kind: 'driver' };

/** The bytes are not an image that a device may run; the message says why. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
}

/**
 * Checks an image's digest, its stamp and what it imports and exports, and compiles it (operation 200 of FIG. 2). A device takes it once `verifyImage` has
 * compared it with its signed statement.
 * @throws {ImageError} when the digest differs, the bytes are not WebAssembly, the stamp is absent or malformed, or the image reaches for more than its
 * stamp allows.
 */
export function readImage(bytes: Uint8Array<ArrayBuffer>, digest: string): Image {
  checkDigest(bytes, digest);
  const image = checkCode(compile(bytes), bytes, digest);
  return image.stamp.kind === 'driver' ? { ...image, kind: 'driver' } : withGate(image, compile(gateOf(image.code)));
}

/**
 * Does what `readImage` does, and compiles all functions on other threads of the process. `readImage` leaves a function to its first call, which then
 * holds up all devices of the host.
 * @throws {ImageError} as `readImage` does.
 */
export async function compileImage(bytes: Uint8Array<ArrayBuffer>, digest: string): Promise<Image> {
  checkDigest(bytes, digest);
  const image = checkCode(await compileAhead(bytes), bytes, digest);
  return image.stamp.kind === 'driver' ? { ...image, kind: 'driver' } : withGate(image, await compileAhead(gateOf(image.code)));
}

function checkDigest(bytes: Uint8Array, digest: string): void {
  const actual = digestOf(bytes);
  if (actual !== digest) throw new ImageError(`the image's digest is ${actual}, not ${digest} as ordered`);
}

function checkCode(code: WebAssembly.Module, bytes: Uint8Array<ArrayBuffer>, digest: string): CompiledImage {
  const stamp = readStamp(code);
  const sections = sectionsOf(bytes);
  refuseIf(findImageError(code, sections, stamp));
  return { digest, bytes: bytes.length, stamp, code, tableElements: sections.tableElements };
}

function gateOf(code: WebAssembly.Module): Uint8Array<ArrayBuffer> {
  const [gate] = WebAssembly.Module.customSections(code, lazyStubSection);
  if (gate === undefined) throw new ImageError(`the image has no ${lazyStubSection} section: compile the source again`);
  return new Uint8Array(gate);
}

function withGate(image: CompiledImage, gate: WebAssembly.Module): ModuleImage {
  refuseIf(findLazyStubError(gate, image.stamp));
  return { ...image, kind: 'module', lazyStubs: gate };
}

function sectionsOf(bytes: Uint8Array): BinarySections {
  try {
    return readSections(bytes);
  } catch (error) {
    if (error instanceof UnsupportedBinaryError) throw new ImageError(`the image is refused: ${error.message}`);
    throw error;
  }
}

function refuseIf(fault: string | null): void {
  if (fault !== null) throw new ImageError(`the image is refused: ${fault}`);
}

function compile(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  try {
    return new WebAssembly.Module(bytes);
  } catch (error) {
    throw invalid(error);
  }
}

/** How many images are compiled ahead now. V8's option is one of the whole process: whatever else it compiles meanwhile is compiled ahead too. */
let compiledAhead = 0;

async function compileAhead(bytes: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module> {
  if (compiledAhead === 0) setFlagsFromString('--no-wasm-lazy-compilation');
  compiledAhead += 1;
  try {
    return await WebAssembly.compile(bytes);
  } catch (error) {
    throw invalid(error);
  } finally {
    compiledAhead -= 1;
    if (compiledAhead === 0) setFlagsFromString('--wasm-lazy-compilation');
  }
}

function invalid(error: unknown): ImageError {
  return new ImageError(`the image is not valid WebAssembly: ${error instanceof Error ? error.message : String(error)}`);
}

function readStamp(code: WebAssembly.Module): Stamp {
  const [section] = WebAssembly.Module.customSections(code, stampSection);
  if (section === undefined) throw new ImageError(`the image has no ${stampSection} section: it was not made by Patchbay's compiler`);
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(section));
  } catch {
    throw new ImageError(`the image's ${stampSection} section is not JSON`);
  }
  const { data: stamped } = StampedAbi.safeParse(content);
  if (stamped !== undefined && stamped.abi !== abiVersion)
    throw new ImageError(
      `the image is of the safepoint ABI ${stamped.abi}, and this device runs images of ABI ${abiVersion}: compile the source again (push a module under a higher version, start a program again)`,
    );
  const stamp = Stamp.safeParse(content);
  if (!stamp.success) throw new ImageError(`the image's stamp is malformed: ${z.prettifyError(stamp.error)}`);
  return stamp.data;
}
