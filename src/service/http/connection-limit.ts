// Limits HTTP connections so that file descriptors remain for database connections, signing keys and compiler threads.

import { readdirSync } from 'node:fs';
import { z } from 'zod';

/** File descriptors reserved for what is opened after startup: database connections, replaced threads, signing keys. */
const reserve = 24;
/** Minimum connections, however low the limit of open files is. */
const minConnections = 8;
/** Assumed number of open files if the operating system does not report it. */
const assumedOpenFiles = 64;

const Report = z.object({ userLimits: z.object({ open_files: z.object({ soft: z.union([z.number(), z.literal('unlimited')]) }) }) });

/**
 * Returns how many connections a server of this process may have open: at most `wanted`.
 * A process without free file descriptors cannot even read its own memory usage, and crashes.
 */
export function allowedConnections(wanted: number): number {
  const limit = openFileLimit;
  return limit === null ? wanted : Math.min(wanted, Math.max(minConnections, limit - countOpenFiles() - reserve));
}

/** The limit of open files (`ulimit -n`); null if there is no limit or it is unknown. */
const openFileLimit = readLimit();

function readLimit(): number | null {
  const report = Report.safeParse(process.report.getReport());
  const limit = report.data?.userLimits.open_files.soft;
  return limit === undefined || limit === 'unlimited' ? null : limit;
}

function countOpenFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return assumedOpenFiles;
  }
}
