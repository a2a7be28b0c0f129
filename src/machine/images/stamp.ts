// The stamp of an image: metadata that the compiler embeds in a custom section.

import { parse as parseVersion, validRange } from 'semver';
import { z } from 'zod';
import { abiVersion, exportLimit } from '../abi.ts';

export const ValueType = z.enum(['i32', 'i64', 'f32', 'f64', 'v128', 'funcref', 'externref']);
const FunctionType = z.object({ parameters: z.array(ValueType).readonly(), results: z.array(ValueType).readonly() });
const ExportedFunction = FunctionType.extend({ name: z.string() });
const ImportedFunction = FunctionType.extend({ module: z.string(), name: z.string() });
const ImageInterface = z.object({
  exports: z.array(ExportedFunction).max(exportLimit).readonly(),
  imports: z.array(ImportedFunction).readonly(),
});

/** The metadata that a device reads from an image. The version is the one compiled into the image, not one that a caller claims. */
export const Stamp = z.object({
  abi: z.literal(abiVersion),
  kind: z.enum(['module', 'driver']),
  module: z.string(),
  version: z.string().refine((version) => parseVersion(version) !== null, 'is not a semantic version'),
  /** Whether the image has its own memory; a process has room for some thousands. */
  ownMemory: z.boolean(),
  /** Size of the memory in pages of 64 KiB; null: none. */
  memory: z.object({ initialPages: z.int().nonnegative(), maximumPages: z.int().nonnegative() }).nullable(),
  /** Whether the image has a start function. */
  hasStart: z.boolean(),
  /** Whether instantiation runs the image's code or may trap. Such an image is instantiated during its load, so that a failure fails the load. */
  mayFailToInstantiate: z.boolean(),
  /** Whether accesses can leave state in the image: its own memory or mutable globals. */
  hasState: z.boolean(),
  /** The C stack in the image's memory, as byte addresses: it grows down from `base` and must not pass `floor`. Null: none. */
  stack: z.object({ base: z.int().nonnegative(), floor: z.int().nonnegative() }).nullable(),
  /** `exclusive`: only one access at a time is inside; others wait at the entry. */
  concurrency: z.enum(['shared', 'exclusive']),
  /** Whether the image has an initialization function. */
  initialize: z.boolean(),
  /**
   * Exports that a load calls as hooks, besides the self-check and the state exports. Absent in images without hooks and in older ones, where an
   * export of such a name belongs to the module: the device does not call it, whatever its type.
   */
  hooks: z.array(z.string().max(64)).max(32).default([]),
  /** Ranges of versions (semver) of other modules that the module requires in memory, by module. */
  dependencies: z
    .record(
      z.string(),
      z.string().refine((range) => validRange(range) !== null, 'is not a range of versions'),
    )
    .readonly()
    .default({}),
  compiler: z.string(),
  sourceDigest: z.string(),
  interface: ImageInterface,
});

export type ValueType = z.infer<typeof ValueType>;
export type FunctionType = z.infer<typeof FunctionType>;
export type ExportedFunction = z.infer<typeof ExportedFunction>;
export type ImportedFunction = z.infer<typeof ImportedFunction>;
export type ImageInterface = z.infer<typeof ImageInterface>;
export type Stamp = z.infer<typeof Stamp>;
/** A stamp as the compiler writes it. */
export type StampContent = z.input<typeof Stamp>;
