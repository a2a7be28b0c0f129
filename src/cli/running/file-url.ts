// Rejects the form in which Prisma names a database file.

import { UsageError } from '../errors.ts';

/** Rejects `file:PATH`, which would otherwise be taken for a folder named `file:`. @throws {UsageError} */
export function rejectFileUrl(option: string, database: string): void {
  if (!/^file:/i.test(database)) return;
  const path = database.replace(/^file:(\/\/(?=\/))?/i, '').replace(/\?.*$/, '');
  throw new UsageError(`${option}: expected a path, received the URL "${database}"${path === '' ? '' : `: use ${option} ${path}`}`);
}
