// The form in which Prisma names a database file.

import { UsageError } from '../option-values.ts';

/** A file is given by its path, and not as `file:PATH`: that would be a folder of this name. @throws {UsageError} */
export function rejectFileUrl(option: string, database: string): void {
  if (!/^file:/i.test(database)) return;
  const path = database.replace(/^file:(\/\/(?=\/))?/i, '').replace(/\?.*$/, '');
  throw new UsageError(
    `${option} ${database} is an address: give the path of the file without "file:"${path === '' ? '' : `, as in ${option} ${path}`}`,
  );
}
