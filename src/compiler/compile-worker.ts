// A worker thread of the compiler: one compilation at a time, in the order in which they are posted.

import { parentPort, workerData } from 'node:worker_threads';
import { z } from 'zod';
import { type Compilation, type CompilationResult, compile } from './compilation.ts';
import { injectFault, messageOf, rejectedResult, stages } from './compile-error.ts';
import type { WorkerMessage } from './compile-thread.ts';
import { limitMemory, retainedMebibytes, takeMemoryExceeded } from './thread-memory.ts';

const Options = z.object({ faultAt: z.enum(stages).nullable(), binaryenMebibytes: z.number(), keptMebibytes: z.number() });
const { faultAt, binaryenMebibytes, keptMebibytes } = Options.parse(workerData);
if (faultAt !== null) injectFault(faultAt);
limitMemory(binaryenMebibytes);

const send = (message: WorkerMessage) => parentPort?.postMessage(message);
parentPort?.on('message', async (compilation: Compilation) => send(await compileWithinLimit(compilation)));
send('ready');

/** Runs a compilation. One that needed more memory than the limit is refused, whatever came of it. */
async function compileWithinLimit(compilation: Compilation): Promise<CompilationResult> {
  const outcome = await tryCompile(compilation);
  if (takeMemoryExceeded()) {
    const message = `the compilation needed more than ${binaryenMebibytes} MiB in binaryen: make the module smaller`;
    return { result: rejectedResult('too-costly', message), breaksThread: true };
  }
  return { ...outcome, breaksThread: outcome.breaksThread || retainedMebibytes() > keptMebibytes };
}

async function tryCompile(compilation: Compilation): Promise<CompilationResult> {
  try {
    return await compile(compilation);
  } catch (error) {
    const result = rejectedResult(
      'unsupported',
      `the compiler failed: ${messageOf(error)}; change or split the module, and report the failure to Patchbay`,
    );
    return { result, breaksThread: true };
  }
}
