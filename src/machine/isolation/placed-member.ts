// A member of a load with its arriving image in memory, and what happens when it starts.

import type { Member } from './load-request.ts';
import type { LoadedImage } from './loaded-image.ts';
import type { Reclaimed } from './retired-images.ts';

/** A member with its arriving image in memory; null if it is unloaded. */
export type PlacedMember = Member & {
  readonly current: LoadedImage | null;
  /** Images that gave up their pages for it. */
  readonly reclaimed: Reclaimed;
};

/** What happened when a member started. */
export type StartFacts = {
  readonly selfCheck: 'passed' | 'none';
  readonly beforeUnload: 'completed' | 'none';
  readonly stateWords: number | null;
};

/** A member cannot be placed or started; the message names its module. */
export class PlacementError extends Error {
  override readonly name = 'PlacementError';
}

/** Runs a part of a member's start. @throws {PlacementError} instead of other errors. */
export function runForMember<Result>({ arriving, module, previous }: Member, run: () => Result): Result {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof Error) || error instanceof PlacementError) throw error;
    const version = arriving?.image.stamp.version ?? previous?.image.stamp.version;
    throw new PlacementError(`${module}@${version}: ${error.message}`, { cause: error });
  }
}
