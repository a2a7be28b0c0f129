// Maintenance windows of groups: loads of their devices begin only while the windows are open.

import { z } from 'zod';
import { isOpen, isTimeZone, nextOpening, ScheduleWindow } from './schedule-window.ts';

export const maintenanceLimits = {
  /** Windows per group. */
  windows: 10,
  /** Groups with windows in the installation: each request of loads evaluates all of them. */
  groups: 100,
  /** How far ahead to search for an opening, in milliseconds: the maximum deadline of a load. */
  searchMilliseconds: 30 * 24 * 3_600_000,
} as const;

/** How far ahead one window is searched, in milliseconds: `nextOpening` returns null for a window that does not open within 8 days. */
const stepMilliseconds = 8 * 24 * 3_600_000;

const Windows = z.array(ScheduleWindow);

/** The windows of stored texts, at most one for each group: each offer of orders reads the windows of all groups. */
const windowsOfTexts = new Map<string, ScheduleWindow[] | null>();

/** Returns stored windows, decoded or as JSON text; null if they are damaged, or if the runtime does not know a time zone (any more). */
export function readWindows(stored: unknown): ScheduleWindow[] | null {
  if (typeof stored !== 'string') return decodeWindows(stored);
  const known = windowsOfTexts.get(stored);
  if (known !== undefined) return known;
  const windows = decodeText(stored);
  if (windowsOfTexts.size >= maintenanceLimits.groups) windowsOfTexts.clear();
  windowsOfTexts.set(stored, windows);
  return windows;
}

function decodeText(text: string): ScheduleWindow[] | null {
  try {
    return decodeWindows(JSON.parse(text));
  } catch {
    return null;
  }
}

function decodeWindows(stored: unknown): ScheduleWindow[] | null {
  const windows = Windows.safeParse(stored).data ?? null;
  return windows?.every(({ timeZone }) => isTimeZone(timeZone)) === true ? windows : null;
}

/** Returns windows as text, for the audit trail and for messages. */
export function formatWindows(windows: readonly ScheduleWindow[]): string {
  return windows.map(({ days, from, until, timeZone }) => `${days.join(',')} ${from}-${until} ${timeZone}`).join('; ');
}

/** Returns whether one of the windows of a group is open. */
export function isAnyOpen(windows: readonly ScheduleWindow[], at: Date): boolean {
  return windows.some((window) => isOpen(window, at));
}

/**
 * Returns when all groups of a device are next open at the same time; `at` itself if they are. Null if that is not within 30 days.
 * @param groups The windows of each group. A group is open while one of its windows is; without windows, it never is.
 */
export function nextCommonOpening(groups: readonly (readonly ScheduleWindow[])[], at: Date): Date | null {
  const end = at.getTime() + maintenanceLimits.searchMilliseconds;
  const openings: Openings = new Map();
  // A closed group is closed until its next opening, so the groups are not open together before that.
  for (let moment = at.getTime(); moment <= end; ) {
    const closed = groups.find((windows) => earliestOpening(windows, moment, openings) > moment);
    if (closed === undefined) return new Date(moment);
    moment = earliestOpening(closed, moment, openings);
  }
  return null;
}

/** Times until which windows do not open. A search asks for many moments in ascending order, most of which are between two openings of a window. */
type Openings = Map<ScheduleWindow, number>;

/** Returns when the first of the windows opens, or a time until which none of them does. */
function earliestOpening(windows: readonly ScheduleWindow[], moment: number, openings: Openings): number {
  let earliest = moment + stepMilliseconds;
  for (const window of windows) {
    const known = openings.get(window) ?? 0;
    const opening = known > moment ? known : (nextOpening(window, new Date(moment))?.getTime() ?? moment + stepMilliseconds);
    openings.set(window, opening);
    earliest = Math.min(earliest, opening);
  }
  return earliest;
}
