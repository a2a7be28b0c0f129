// The requests and results of the compiler: sources, images and diagnostics.

import { type ImageInterface, Stamp } from '../machine/images/stamp.ts';
import type { Language, SourceFeature } from './languages.ts';

/** The concurrency modes of a module: whether several threads of a device may be inside at once. */
export const concurrencies = Stamp.shape.concurrency.options;

export type CompileRequest = {
  readonly module: string;
  /** Semantic version (semver.org 2.0.0) in the image's stamp. */
  readonly version: string;
  readonly language: Language;
  /** Text for `assemblyscript` and `wat`, bytes for `wasm`. */
  readonly source: string | Uint8Array;
  /**
   * `exclusive`: accesses of the image on a device run one at a time. `shared`: any number of threads run at once. Default: exclusive for a prebuilt
   * module with an allocator that is not thread-safe, shared for all others.
   */
  readonly concurrency?: Stamp['concurrency'] | undefined;
  /** Ranges of versions (semver) of other modules that the module requires in memory, by module. Default: none. */
  readonly dependencies?: Stamp['dependencies'] | undefined;
  /** Features to enable for an AssemblyScript source. The other languages always have them. */
  readonly features?: readonly SourceFeature[] | undefined;
  /** Whether binaryen optimizes the module. Default: true. */
  readonly optimize?: boolean;
};

/** An error or warning of the compiler, with its position in the source if it has one (1-based). */
export type Diagnostic = {
  readonly severity: 'error' | 'warning';
  readonly message: string;
  readonly file: string | null;
  readonly line: number | null;
  readonly column: number | null;
};

export type CompiledImage = {
  /** The image: WebAssembly with safepoints and a stamp, ready for a device. */
  readonly image: Uint8Array;
  /** SHA-256 of the image, as `sha256:…`. */
  readonly digest: string;
  /** SHA-256 of the source, as `sha256:…`. */
  readonly sourceDigest: string;
  /** Name and version of the compiler. */
  readonly compiler: string;
  readonly interface: ImageInterface;
  /** Whether accesses can leave state in the image. */
  readonly hasState: boolean;
};

/** Why a compilation failed. */
export type CompileProblem =
  /** The source has errors; see the diagnostics. */
  | 'malformed-source'
  /** The bytes are not a valid WebAssembly module. */
  | 'not-webassembly'
  /** The module is valid, but a device cannot run it because of an import, a feature or a limit; see the diagnostics. */
  | 'unsupported'
  /** The compilation exceeded a limit of time or memory. */
  | 'too-costly'
  /** The queue of compilations is full. */
  | 'busy';

export type CompileResult =
  | { readonly ok: true; readonly compiled: CompiledImage; readonly warnings: readonly Diagnostic[] }
  | { readonly ok: false; readonly problem: CompileProblem; readonly diagnostics: readonly Diagnostic[] };
