// Reading a command's flags: what is wrong is said in one line, with what to write instead.

import { readFileSync } from 'node:fs';

/** The command line is not one that the command understands; the message says what to change. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The command cannot do its work here; the message says why and what to change. */
export class CommandError extends Error {
  override readonly name = 'StartError';
}

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug'];

/** The level of the logs. @throws {UsageError} */
export function readLogLevel(text: string): string {
  if (!logLevels.includes(text)) throw new UsageError(`--log-level is "${text}": give one of ${logLevels.join(', ')}`);
  return text;
}

/** A whole number from a flag or its environment variable. @throws {UsageError} */
export function readInteger(flag: string, text: string, least: number, most: number): number {
  const number = Number(text);
  if (text.trim() === '' || !Number.isInteger(number) || number < least || number > most) {
    throw new UsageError(`--${flag} is "${text}": give a whole number from ${least} to ${most}`);
  }
  return number;
}

/** Bytes of the memory budget of a host, from 1 MiB to 1 TiB. @throws {UsageError} */
export function readImageMemory(text: string): number {
  return readInteger('image-memory', text, 2 ** 20, 2 ** 40);
}

/** A number from a flag. @throws {UsageError} */
export function readNumber(flag: string, text: string, least: number, most: number): number {
  const number = Number(text);
  if (text.trim() === '' || !(number >= least && number <= most))
    throw new UsageError(`--${flag} is "${text}": give a number from ${least} to ${most}`);
  return number;
}

/** A time from a flag, in the form in which the API takes it. @throws {UsageError} */
export function readTime(flag: string, text: string): string {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) throw new UsageError(`--${flag} is "${text}": give a time like 2026-11-24T09:30:00Z`);
  return time.toISOString();
}

/** The content of a file that is given, by a flag or by itself. @throws {UsageError} */
export function readInputFile(file: string, flag = ''): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const given = flag === '' ? file : `${flag} ${file}`;
    throw new UsageError(`cannot read ${given}: ${error instanceof Error ? error.message.replace(/, open .*$/s, '') : String(error)}`);
  }
}

/** Labels from flags of the form `key=value`. @throws {UsageError} */
export function readLabels(texts: readonly string[], flag = '--labels'): Record<string, string> {
  const labels = new Map<string, string>();
  for (const text of texts) {
    const [key = '', ...rest] = text.split('=');
    if (key === '' || rest.length === 0) throw new UsageError(`${flag} ${text}: write labels as key=value`);
    const value = rest.join('=');
    if (labels.has(key) && labels.get(key) !== value)
      throw new UsageError(`${flag} ${text}: a device has one value of ${key}, and ${labels.get(key)} is given too`);
    labels.set(key, value);
  }
  return Object.fromEntries(labels);
}

/** Collects what an option is given each time. */
export function collectValues(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}
