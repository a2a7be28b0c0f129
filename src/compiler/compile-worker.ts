// The entry point of a compiler worker thread, which runs one compilation at a time, in the order of the messages.

import { parentPort, workerData } from 'node:worker_threads';
import { z } from 'zod';
import { type Compilation, type CompilationResult, compile } from './compilation.ts';
import { injectFault, messageOf, rejectedResult, stages } from './compile-error.ts';
import type { WorkerMessage } from './compile-thread.ts';
import { limitMemory, measureRetainedMebibytes, takeMemoryExceeded } from './thread-memory.ts';

const Options = z.object({ faultAt: z.enum(stages).nullable(), binaryenMebibytes: z.number(), retainedMebibytes: z.number() });
const { faultAt, binaryenMebibytes, retainedMebibytes } = Options.parse(workerData);
if (faultAt !== null) injectFault(faultAt);
limitMemory(binaryenMebibytes);

const send = (message: WorkerMessage) => parentPort?.postMessage(message);
parentPort?.on('message', async (compilation: Compilation) => send(await compileWithinLimit(compilation)));
send('ready');

/** Runs a compilation. Rejects it if it exceeded the memory limit, even if it completed. */
async function compileWithinLimit(compilation: Compilation): Promise<CompilationResult> {
  const outcome = await tryCompile(compilation);
  if (takeMemoryExceeded()) {
    const message = `the compilation needs more than ${binaryenMebibytes} MiB in binaryen: make the module smaller`;
    return { result: rejectedResult('too-costly', message), breaksThread: true };
  }
  return { ...outcome, breaksThread: outcome.breaksThread || measureRetainedMebibytes() > retainedMebibytes };
}

async function tryCompile(compilation: Compilation): Promise<CompilationResult> {
  try {
    return await compile(compilation);
  } catch (error) {
    const result = rejectedResult(
      'unsupported',
      `the compiler failed: ${messageOf(error)}; report this as a bug; changing or splitting the module may avoid the failure`,
    );
    return { result, breaksThread: true };
  }
}
