// The stamp of an image: what the compiler says in it of itself.

import { parse as parseVersion } from 'semver';
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

/** What the compiler writes into an image for the device to read: the version is the image's own, not the caller's word. */
export const Stamp = z.object({
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

export type ValueType = z.infer<typeof ValueType>;
export type FunctionType = z.infer<typeof FunctionType>;
export type ExportedFunction = z.infer<typeof ExportedFunction>;
export type ImportedFunction = z.infer<typeof ImportedFunction>;
export type ImageInterface = z.infer<typeof ImageInterface>;
export type Stamp = z.infer<typeof Stamp>;
