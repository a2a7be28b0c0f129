// What every program is given, and what it is to tell of the job that it has done: one hot-patch, as a user of its generator writes it.

import console from 'node:console';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';

function given(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`the program is to be given ${name}`);
  return value;
}

export const job = {
  url: given('PATCHBAY_URL'),
  key: given('PATCHBAY_KEY'),
  joinToken: given('PATCHBAY_JOIN_TOKEN'),
  device: given('PATCHBAY_DEVICE'),
  module: given('PATCHBAY_MODULE'),
  /** `work(n)` is inside the module for n milliseconds: with this argument, longer than the job takes. */
  endless: 3_600_000,
  old: { version: '1.0.0', source: given('PATCHBAY_OLD_SOURCE') },
  new: { version: '1.1.0', source: given('PATCHBAY_NEW_SOURCE') },
  /** A module that another toolchain has made. */
  prebuilt: { module: `${given('PATCHBAY_MODULE')}-prebuilt`, version: '1.0.0', image: Buffer.from(given('PATCHBAY_IMAGE'), 'hex') },
};

/** What the client made of the answers. */
export type Result = {
  readonly outcome: string | null;
  readonly interrupted: number | null;
  readonly retried: number | null;
  /** What each step found out. */
  readonly steps: readonly string[];
  /** Versions in the history of the module, the newest first. */
  readonly history: readonly string[];
  /** Actions of the audit trail on the load, the newest first. */
  readonly audit: readonly string[];
  /** The problem of a load of a version that is not there. */
  readonly problem: { readonly type: string; readonly pointers: readonly string[] };
  /** Digest of the prebuilt module's image, where the generator's client can send bytes; else null. */
  readonly prebuilt: string | null;
  /** Kinds of the orders that wait for a host, which the program registers. */
  readonly orders: readonly string[];
};

export function tell(result: Result): void {
  console.log(JSON.stringify(result));
}

/** Asks until there is an answer. */
export async function until<Value>(what: string, ask: () => Promise<Value | null>): Promise<Value> {
  const deadline = Date.now() + 120_000;
  for (;;) {
    const value = await ask();
    if (value !== null) return value;
    if (Date.now() > deadline) throw new Error(`did not come about in 120 s: ${what}`);
    await setTimeout(20);
  }
}
