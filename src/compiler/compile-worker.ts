// A worker thread of the compiler: one compilation at a time, in the order in which they are posted.

import { parentPort, workerData } from 'node:worker_threads';
import { z } from 'zod';
import { type Compilation, compile } from './compilation.ts';
import { injectFault, messageOf, refused, stages } from './failure.ts';

const Options = z.object({ faultAt: z.enum(stages).nullable() });
const { faultAt } = Options.parse(workerData);
if (faultAt !== null) injectFault(faultAt);

parentPort?.on('message', async (compilation: Compilation) => {
  try {
    parentPort?.postMessage(await compile(compilation));
  } catch (error) {
    const result = refused(
      'unsupported',
      `the compiler failed: ${messageOf(error)}; change or split the module, and report the failure to Patchbay`,
    );
    parentPort?.postMessage({ result, breaksThread: true });
  }
});
