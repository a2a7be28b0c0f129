// The floor of a write request: a Fastify route, in its own process, that validates the body and makes one insert.

import { fileURLToPath } from 'node:url';
import { MeasuredProcess } from './processes.ts';

const serverFile = fileURLToPath(new URL('./floor-server.ts', import.meta.url));

/** Starts the floor server on its own database, and returns its URL. */
export async function startFloor(database: string): Promise<{ readonly url: string; readonly process: MeasuredProcess }> {
  const server = new MeasuredProcess('floor', [database], { file: serverFile });
  const [, url = ''] = await server.says(/^(http\S+)$/);
  return { url: `${url}/loads`, process: server };
}
