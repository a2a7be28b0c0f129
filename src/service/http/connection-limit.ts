// How many connections a process may have open, so that it can still open what else it needs: database connections, signing keys, compiler threads.

import { readdirSync } from 'node:fs';
import { z } from 'zod';

/** Files and connections that are opened after the start: of the database, of a thread that is replaced, of a key that is read. */
const reserve = 24;
/** Connections that are allowed however few files may be open. */
const fewest = 8;
/** Files that are open at the start, where the system does not tell. */
const openAtStart = 64;

const Report = z.object({ userLimits: z.object({ open_files: z.object({ soft: z.union([z.number(), z.literal('unlimited')]) }) }) });

/**
 * The connections that a server of this process may have at once, at most as many as wanted.
 * A process without a file to be opened cannot even tell its own memory, and ends.
 */
export function allowedConnections(wanted: number): number {
  const limit = openFileLimit;
  return limit === null ? wanted : Math.min(wanted, Math.max(fewest, limit - openFiles() - reserve));
}

/** The limit of open files (`ulimit -n`); null where there is none, or it is not known. */
const openFileLimit = readLimit();

function readLimit(): number | null {
  const report = Report.safeParse(process.report.getReport());
  const limit = report.data?.userLimits.open_files.soft;
  return limit === undefined || limit === 'unlimited' ? null : limit;
}

function openFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return openAtStart;
  }
}
