// Creates the files that commands write.

import { createWriteStream, openSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { UsageError } from '../errors.ts';

/** Creates a file that only its owner can read. @throws {UsageError} if the file exists or cannot be created. */
export function createOutputFile(file: string): Writable {
  try {
    return createWriteStream(file, { fd: openSync(file, 'wx', 0o600) });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST')
      throw new UsageError(`${file} already exists: choose another name, or move the file`);
    throw new UsageError(`cannot create ${file}: ${error instanceof Error ? error.message.replace(/, open .*$/s, '') : String(error)}`);
  }
}
