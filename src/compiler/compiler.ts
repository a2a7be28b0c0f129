// The compiler as the rest of Patchbay sees it: source in, image or diagnostics out, in a worker thread with limits.

import type { FunctionType } from '../machine/image.ts';
import type { CompiledImage, CompileRequest, CompileResult } from './result.ts';

/** Compiles modules and the drivers of declared programs off the caller's thread. */
export class Compiler {
  /** Compiles one version of a module. Same request, same bytes. */
  compileModule(_request: CompileRequest): Promise<CompileResult> {
    throw new Error('being written');
  }

  /** Makes the driver of a declared program: an image that calls one export of one module through the module table. */
  compileDriver(_target: { module: string; export: string; type: FunctionType }): Promise<CompiledImage> {
    throw new Error('being written');
  }

  /** Ends the worker threads; compilations under way are abandoned. */
  async close(): Promise<void> {}
}
