// The join token: what a device host shows to register. The service makes it at its first start, in a file that only its owner can read.

import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { CommandError, UsageError } from '../option-values.ts';

const shortestToken = 16;
const longestToken = 256;

/** The token as given, or of the file, which is made with a new one if it is not there. @throws {UsageError} {StartError} */
export function readOrCreateJoinToken(given: string | undefined, file: string): string {
  if (given !== undefined) return readJoinToken(given, file);
  try {
    // Made only if it is not there, and never readable by others in between.
    writeFileSync(file, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if (!isCode(error, 'EEXIST'))
      throw new CommandError(`cannot write the join token to ${file}: ${String(error)}: choose another with --token-file`);
  }
  return readJoinToken(given, file);
}

/** The token as given, or of the file. @throws {UsageError} when there is none, or it is none. */
export function readJoinToken(given: string | undefined, file: string): string {
  if (given !== undefined) return checkToken(given, 'PATCHBAY_TOKEN');
  try {
    return checkToken(readFileSync(file, 'utf8').trim(), `the file ${file}`);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(
      `cannot read the join token from ${file}: give it with --token-file or PATCHBAY_TOKEN; the service keeps it in the file join-token beside its database`,
    );
  }
}

function checkToken(token: string, where: string): string {
  if (token.length >= shortestToken && token.length <= longestToken && /^[\x21-\x7e]+$/.test(token)) return token;
  throw new UsageError(
    `the join token in ${where} is not one: it is ${shortestToken} to ${longestToken} printable characters without spaces`,
  );
}

const isCode = (error: unknown, code: string) => error instanceof Error && 'code' in error && error.code === code;
