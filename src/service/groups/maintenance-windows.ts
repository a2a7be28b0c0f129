// Maintenance windows of groups: loads of their devices begin only while the windows are open.

import { z } from 'zod';
import { isOpen, nextOpening, ScheduleWindow } from './schedule-window.ts';

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

/** Returns stored windows, decoded or as JSON text; null if they are damaged. */
export function readWindows(stored: unknown): ScheduleWindow[] | null {
  try {
    return Windows.parse(typeof stored === 'string' ? JSON.parse(stored) : stored);
  } catch {
    return null;
  }
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
  // Every group is closed until its next opening, so all are closed together until the latest of these.
  for (let moment = at.getTime(); moment <= end; ) {
    const latest = Math.max(moment, ...groups.map((windows) => earliestOpening(windows, moment)));
    if (latest === moment) return new Date(moment);
    moment = latest;
  }
  return null;
}

/** Returns when the first of the windows opens, or a time until which none of them does. */
function earliestOpening(windows: readonly ScheduleWindow[], moment: number): number {
  const openings = windows.map((window) => nextOpening(window, new Date(moment))?.getTime() ?? moment + stepMilliseconds);
  return Math.min(moment + stepMilliseconds, ...openings);
}
