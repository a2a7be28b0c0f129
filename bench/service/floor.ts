// The floor of a request that changes something: a Fastify route that checks its body and does one insert, in a process of its own.

import { fileURLToPath } from 'node:url';
import { MeasuredProcess } from './processes.ts';

const serverFile = fileURLToPath(new URL('./floor-server.ts', import.meta.url));

/** Starts it on a database of its own; requests are to be made to the URL. */
export async function startFloor(database: string): Promise<{ readonly url: string; readonly process: MeasuredProcess }> {
  const server = new MeasuredProcess('floor', [database], { file: serverFile });
  const [, url = ''] = await server.says(/^(http\S+)$/);
  return { url: `${url}/loads`, process: server };
}
