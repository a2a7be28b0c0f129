// How fast a rollout asks for loads, where it has a rate: one after another at even distances (the generic cell rate algorithm of ITU-T I.371).

/** A rollout that was held up may ask at once for what it could have asked for in so many milliseconds. */
const burst = 1_000;

/** How many loads may be requested now. */
export function allowanceOf(loadsPerMinute: number | null, nextLoadAt: Date | null, now: Date): number {
  if (loadsPerMinute === null) return Number.MAX_SAFE_INTEGER;
  const late = now.getTime() - (nextLoadAt?.getTime() ?? now.getTime());
  return late < 0 ? 0 : 1 + Math.floor((Math.min(late, burst) * loadsPerMinute) / minute);
}

/** When the next may be requested after so many; null where there is no rate. */
export function nextLoadAfter(requested: number, loadsPerMinute: number | null, nextLoadAt: Date | null, now: Date): Date | null {
  if (loadsPerMinute === null) return null;
  const from = nextLoadAt === null ? now.getTime() : Math.max(nextLoadAt.getTime(), now.getTime() - burst);
  return new Date(from + Math.ceil((requested * minute) / loadsPerMinute));
}

/** Milliseconds. Integers are multiplied before they are divided: the interval between two loads, 60,000 / 7 ms, is no number that can be written. */
const minute = 60_000;
