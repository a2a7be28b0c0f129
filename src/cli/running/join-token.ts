// The join token, which device hosts register with. The first start of the service creates it in a file that only its owner can read.

import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { CommandError, UsageError } from '../errors.ts';

const minTokenLength = 16;
const maxTokenLength = 256;

/** Returns the given token, or the token in the file; creates the file with a new token if it does not exist. @throws {UsageError} {CommandError} */
export function readOrCreateJoinToken(given: string | undefined, file: string): string {
  if (given !== undefined) return readJoinToken(given, file);
  try {
    // Exclusive, and never readable by others, not even for a moment.
    writeFileSync(file, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if (!isCode(error, 'EEXIST'))
      throw new CommandError(`cannot write the join token to ${file}: ${String(error)}: choose another file with --token-file`);
  }
  return readJoinToken(given, file);
}

/** Returns the given token, or the token in the file. @throws {UsageError} if there is no token, or it is invalid. */
export function readJoinToken(given: string | undefined, file: string): string {
  if (given !== undefined) return checkToken(given, 'PATCHBAY_TOKEN');
  try {
    return checkToken(readFileSync(file, 'utf8').trim(), file);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(
      `cannot read the join token from ${file}: give it with --token-file or PATCHBAY_TOKEN; the service stores it in the file join-token next to its database`,
    );
  }
}

function checkToken(token: string, source: string): string {
  if (token.length >= minTokenLength && token.length <= maxTokenLength && /^[\x21-\x7e]+$/.test(token)) return token;
  throw new UsageError(
    `invalid join token in ${source}: expected ${minTokenLength} to ${maxTokenLength} printable characters without spaces`,
  );
}

const isCode = (error: unknown, code: string) => error instanceof Error && 'code' in error && error.code === code;
