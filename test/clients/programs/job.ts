// The input and the result of every program. Each program performs one hot-patch, as a user of its generator would write it.

import console from 'node:console';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';

function readVariable(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

export const job = {
  url: readVariable('PATCHBAY_URL'),
  key: readVariable('PATCHBAY_KEY'),
  joinToken: readVariable('PATCHBAY_JOIN_TOKEN'),
  device: readVariable('PATCHBAY_DEVICE'),
  module: readVariable('PATCHBAY_MODULE'),
  /** Argument of `work(n)`, which stays inside the module for n milliseconds: longer than the job takes. */
  endless: 3_600_000,
  old: { version: '1.0.0', source: readVariable('PATCHBAY_OLD_SOURCE') },
  new: { version: '1.1.0', source: readVariable('PATCHBAY_NEW_SOURCE') },
  /** A module from another toolchain. */
  prebuilt: {
    module: `${readVariable('PATCHBAY_MODULE')}-prebuilt`,
    version: '1.0.0',
    image: Buffer.from(readVariable('PATCHBAY_IMAGE'), 'hex'),
  },
};

/** The result, as the client parsed the responses. */
export type Result = {
  readonly outcome: string | null;
  readonly interrupted: number | null;
  readonly retried: number | null;
  /** The finding of each step. */
  readonly steps: readonly string[];
  /** Versions in the history of the module, newest first. */
  readonly history: readonly string[];
  /** Actions of the audit trail on the load, newest first. */
  readonly audit: readonly string[];
  /** The problem of a load of a missing version. */
  readonly problem: { readonly type: string; readonly pointers: readonly string[] };
  /** Digest of the image of the prebuilt module; null if the client cannot send bytes. */
  readonly prebuilt: string | null;
  /** Kinds of the pending orders of a host that the program registers. */
  readonly orders: readonly string[];
};

export function printResult(result: Result): void {
  console.log(JSON.stringify(result));
}

/** Polls until the result is not null. @throws {Error} after 120 s. */
export async function until<Value>(condition: string, poll: () => Promise<Value | null>): Promise<Value> {
  const deadline = Date.now() + 120_000;
  for (;;) {
    const value = await poll();
    if (value !== null) return value;
    if (Date.now() > deadline) throw new Error(`condition not met within 120 s: ${condition}`);
    await setTimeout(20);
  }
}
