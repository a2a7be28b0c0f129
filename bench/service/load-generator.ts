// Sends load requests from a separate process, so that the cost of sending is not part of the measurement.

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

const firingFile = fileURLToPath(new URL('./firing.ts', import.meta.url));

/** The target of a volley. Its connections are distributed evenly over the URLs; the requests name the devices in rotation. */
export const Target = z.object({
  urls: z.array(z.string()).min(1),
  headers: z.record(z.string(), z.string()),
  module: z.string(),
  version: z.string(),
  devices: z.array(z.string()),
  connections: z.int(),
  hasIdempotencyKeys: z.boolean(),
});
export type Target = z.infer<typeof Target>;

/** The first device, and the duration. */
export const Volley = Target.extend({ seconds: z.number(), first: z.int() });

export const Fired = z.object({
  /** Requests with a success status. */
  answered: z.int(),
  refused: z.int(),
  errors: z.int(),
  seconds: z.number(),
  /** Milliseconds. */
  p50: z.number(),
  p99: z.number(),
});
export type Fired = z.infer<typeof Fired>;

/** The number of devices named to each target so far, to continue the rotation. */
const named = new Map<string, number>();

/** @throws {Error} if the process fails. */
export async function fire(target: Target, seconds: number): Promise<Fired> {
  const name = target.urls.join(' ');
  const first = named.get(name) ?? 0;
  const child = fork(firingFile, [], { execArgv: [] });
  const fired = await new Promise<Fired>((resolve, reject) => {
    child.once('message', (message) => resolve(Fired.parse(message)));
    child.once('exit', (code) => reject(new Error(`the load generator exited with code ${code}`)));
    child.send({ ...target, seconds, first } satisfies z.infer<typeof Volley>);
  });
  child.kill();
  named.set(name, (first + fired.answered + target.connections) % target.devices.length);
  return fired;
}
