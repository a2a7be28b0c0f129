// Files that commands write.

import { createWriteStream, existsSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { UsageError } from '../option-values.ts';

/** A file that is not to be there yet, for the eyes of its owner. @throws {UsageError} where it is there. */
export function createOutputFile(file: string): Writable {
  if (existsSync(file)) throw new UsageError(`${file} is there already: choose another name, or move it away`);
  return createWriteStream(file, { flags: 'wx', mode: 0o600 });
}
