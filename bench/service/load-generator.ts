// Fires requests for loads from a process of its own, so that making them is not measured with answering them.

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

const firingFile = fileURLToPath(new URL('./firing.ts', import.meta.url));

/** What is fired at, by connections that the addresses have equally many of: each request names the next of the devices, again from the first after the last. */
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

/** Where in the devices it begins, and for how long. */
export const Volley = Target.extend({ seconds: z.number(), first: z.int() });

export const Fired = z.object({
  /** With a status of success. */
  answered: z.int(),
  refused: z.int(),
  errors: z.int(),
  seconds: z.number(),
  /** Milliseconds. */
  p50: z.number(),
  p99: z.number(),
});
export type Fired = z.infer<typeof Fired>;

/** Devices that have been named to each target so far: those that wait longest are next. */
const named = new Map<string, number>();

/** @throws {Error} when the process fails. */
export async function fire(target: Target, seconds: number): Promise<Fired> {
  const name = target.urls.join(' ');
  const first = named.get(name) ?? 0;
  const child = fork(firingFile, [], { execArgv: [] });
  const fired = await new Promise<Fired>((resolve, reject) => {
    child.once('message', (message) => resolve(Fired.parse(message)));
    child.once('exit', (code) => reject(new Error(`what fires requests ended by itself (${code})`)));
    child.send({ ...target, seconds, first } satisfies z.infer<typeof Volley>);
  });
  child.kill();
  named.set(name, (first + fired.answered + target.connections) % target.devices.length);
  return fired;
}
