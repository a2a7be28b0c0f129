// An image: one compiled version of a module, as bytes that a device can put in its memory.

import { createHash } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { parse as parseVersion } from 'semver';
import { z } from 'zod';
import { abiVersion, exportLimit, gateSection, stampSection } from './abi.ts';
import { type BinarySections, readSections, UnreadableBinary } from './binary-sections.ts';
import { borderFault, gateFault } from './image-border.ts';

export const ValueType = z.enum(['i32', 'i64', 'f32', 'f64', 'v128', 'funcref', 'externref']);
const FunctionType = z.object({ parameters: z.array(ValueType).readonly(), results: z.array(ValueType).readonly() });
const ExportedFunction = FunctionType.extend({ name: z.string() });
const ImportedFunction = FunctionType.extend({ module: z.string(), name: z.string() });
const ImageInterface = z.object({
  exports: z.array(ExportedFunction).max(exportLimit).readonly(),
  imports: z.array(ImportedFunction).readonly(),
});

/** What the compiler writes into an image for the device to read: the version is the image's own, not the caller's word. */
const Stamp = z.object({
  abi: z.literal(abiVersion),
  kind: z.enum(['module', 'driver']),
  module: z.string(),
  version: z.string().refine((version) => parseVersion(version) !== null, 'is not a semantic version'),
  /** Whether the image has a memory of its own, of which a process has room for some thousands. */
  ownMemory: z.boolean(),
  /** Its size, in pages of 64 KiB; null: it has none. */
  memory: z.object({ initialPages: z.int().nonnegative(), maximumPages: z.int().nonnegative() }).nullable(),
  /** Whether the image has a start function. */
  hasStart: z.boolean(),
  /** Whether instantiating the image runs code of its own or may trap: it is instantiated when it is loaded, so that the load fails. */
  mayFailToInstantiate: z.boolean(),
  /** Whether accesses can leave anything behind in the image: a memory of its own or mutable globals. */
  hasState: z.boolean(),
  /** The C stack in the image's memory: it grows from `base` down, and must not pass `floor`. Null: the module has none. Addresses in bytes. */
  stack: z.object({ base: z.int().nonnegative(), floor: z.int().nonnegative() }).nullable(),
  /** `exclusive`: one access at a time is inside, and the others wait at the entry. */
  concurrency: z.enum(['shared', 'exclusive']),
  /** Whether the image has a function that initializes it. */
  initialize: z.boolean(),
  compiler: z.string(),
  sourceDigest: z.string(),
  interface: ImageInterface,
});

/** What stamps of all versions of the ABI have. */
const StampedAbi = z.object({ abi: z.int() });

export type ValueType = z.infer<typeof ValueType>;
export type FunctionType = z.infer<typeof FunctionType>;
export type ExportedFunction = z.infer<typeof ExportedFunction>;
export type ImportedFunction = z.infer<typeof ImportedFunction>;
export type ImageInterface = z.infer<typeof ImageInterface>;
export type Stamp = z.infer<typeof Stamp>;

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
  readonly gate: WebAssembly.Module;
};

/** The loop of a declared program. */
export type DriverImage = CompiledImage & { readonly kind: 'driver' };

/** The bytes are not an image that a device may run; the message says why. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
}

/** SHA-256 of the bytes, as `sha256:` and 64 hexadecimal digits. */
export function digestOf(bytes: string | Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
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
  refuseIf(borderFault(code, sections, stamp));
  return { digest, bytes: bytes.length, stamp, code, tableElements: sections.tableElements };
}

function gateOf(code: WebAssembly.Module): Uint8Array<ArrayBuffer> {
  const [gate] = WebAssembly.Module.customSections(code, gateSection);
  if (gate === undefined) throw new ImageError(`the image has no ${gateSection} section: compile the source again`);
  return new Uint8Array(gate);
}

function withGate(image: CompiledImage, gate: WebAssembly.Module): ModuleImage {
  refuseIf(gateFault(gate, image.stamp));
  return { ...image, kind: 'module', gate };
}

function sectionsOf(bytes: Uint8Array): BinarySections {
  try {
    return readSections(bytes);
  } catch (error) {
    if (error instanceof UnreadableBinary) throw new ImageError(`the image is refused: ${error.message}`);
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

async function compileAhead(bytes: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module> {
  setFlagsFromString('--no-wasm-lazy-compilation');
  try {
    return await WebAssembly.compile(bytes);
  } catch (error) {
    throw invalid(error);
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
