// How moved devices are printed.

import type { Schemas } from '../../client/client.ts';

/** Returns the result of moves in one or two lines. @param host The host as the user named it. */
export function formatMoves(results: readonly Schemas['MovedDevices'][], host: string): string[] {
  const sum = (of: (result: Schemas['MovedDevices']) => number) => results.reduce((total, result) => total + of(result), 0);
  const moved = sum(({ devices }) => devices.length);
  const detaching = sum(({ detaching }) => detaching.length);
  const ended = sum(({ endedLoads }) => endedLoads);
  return [
    `moved ${countOf(moved, 'device')} to ${host}, ended ${countOf(ended, 'open load')}`,
    ...(detaching === 0 ? [] : [`${countOf(detaching, 'device')} will move when the host before has dropped them: patchbay device show`]),
  ];
}

const countOf = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`;
