// What the compiler is asked for and what it answers: requests, images, diagnostics.

import { type ImageInterface, Stamp } from '../machine/images/stamp.ts';
import type { Language, SourceFeature } from './languages.ts';

/** Whether several threads of a device may be inside a module at once. */
export const concurrencies = Stamp.shape.concurrency.options;

export type CompileRequest = {
  readonly module: string;
  /** Semantic version (semver.org 2.0.0) that the image is stamped with. */
  readonly version: string;
  readonly language: Language;
  /** Text for `assemblyscript` and `wat`, bytes for `wasm`. */
  readonly source: string | Uint8Array;
  /**
   * `exclusive`: one access at a time is inside an image on a device. `shared`: any number of threads. Default: exclusive for a prebuilt module that
   * has an allocator made for one thread, shared for all others.
   */
  readonly concurrency?: Stamp['concurrency'] | undefined;
  /** Features to enable for an AssemblyScript source; the other languages have them always. */
  readonly features?: readonly SourceFeature[] | undefined;
  /** Whether binaryen optimizes the module. Default: true. */
  readonly optimize?: boolean;
};

/** One thing the compiler found, with its place in the source where it has one (1-based). */
export type Diagnostic = {
  readonly severity: 'error' | 'warning';
  readonly message: string;
  readonly file: string | null;
  readonly line: number | null;
  readonly column: number | null;
};

export type CompiledImage = {
  /** The image: WebAssembly with safepoints and the system's stamp, ready for a device. */
  readonly image: Uint8Array;
  /** SHA-256 of the image, as `sha256:…`. */
  readonly digest: string;
  /** SHA-256 of what was compiled, as `sha256:…`. */
  readonly sourceDigest: string;
  /** Name and version of the compiler. */
  readonly compiler: string;
  readonly interface: ImageInterface;
};

/** Why a source did not become an image. */
export type CompileProblem =
  /** The source has errors; see the diagnostics. */
  | 'malformed-source'
  /** The bytes are not a valid WebAssembly module. */
  | 'not-webassembly'
  /** A valid module that a device cannot run: an import, a feature or a limit; see the diagnostics. */
  | 'unsupported'
  /** The compilation passed its limit of time or memory. */
  | 'too-costly'
  /** Too many compilations wait for a worker thread. */
  | 'busy';

export type CompileResult =
  | { readonly ok: true; readonly compiled: CompiledImage; readonly warnings: readonly Diagnostic[] }
  | { readonly ok: false; readonly problem: CompileProblem; readonly diagnostics: readonly Diagnostic[] };
