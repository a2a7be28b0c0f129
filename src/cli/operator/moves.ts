// How moved devices are printed.

import type { Schemas } from '../../client/client.ts';

/** Returns the result of moves in a line for each kind of result. @param host The host as the user named it. */
export function formatMoves(results: readonly Schemas['MovedDevices'][], host: string): string[] {
  const sum = (of: (result: Schemas['MovedDevices']) => number) => results.reduce((total, result) => total + of(result), 0);
  const moved = sum(({ devices }) => devices.length);
  const detaching = sum(({ detaching }) => detaching.length);
  const ended = sum(({ endedLoads }) => endedLoads);
  if (moved + detaching === 0) return [`nothing to move: no device that is not on ${host} already`];
  return [
    ...(moved === 0 ? [] : [`moved ${countOf(moved, 'device')} to ${host}, ended ${countOf(ended, 'open load')}`]),
    ...(detaching === 0
      ? []
      : [`${countOf(detaching, 'device')} will move to ${host} when the previous host reports the drop: patchbay device show`]),
  ];
}

const countOf = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`;
