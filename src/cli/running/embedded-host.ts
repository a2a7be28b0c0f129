// The embedded device host: a thread in the process of the service. It uses the agent protocol like any other host.

import { workerData } from 'node:worker_threads';
import { z } from 'zod';
import { runHost } from '../../host/host.ts';
import { createLogger, createLossyStream } from '../../protocol/logging.ts';
import { openConfiguredTracer } from './tracing.ts';

const EmbeddedHostData = z.object({
  controlUrl: z.string(),
  joinToken: z.string(),
  devices: z.int(),
  imageMemory: z.int(),
  logLevel: z.string(),
});
export type EmbeddedHostData = z.infer<typeof EmbeddedHostData>;

const { controlUrl, joinToken, devices, imageMemory, logLevel } = EmbeddedHostData.parse(workerData);

await runHost({
  controlUrl,
  joinToken,
  name: 'embedded',
  devices: Array.from({ length: devices }, (_, index) => ({ name: `embedded-${index + 1}`, labels: { host: 'embedded' }, ramPages: 256 })),
  capacity: 1_000,
  imageMemory,
  trustedKeys: null,
  tracer: await openConfiguredTracer('patchbay-host'),
  // The thread ends with the process.
  signal: new AbortController().signal,
  logger: createLogger({ level: logLevel, name: 'embedded-host', stream: createLossyStream(2), secrets: [joinToken] }),
});
