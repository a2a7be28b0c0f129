// Reads the values of options, environment variables and files.

import { readFileSync } from 'node:fs';
import { LabelSelectorError, parseLabelSelector } from '../protocol/label-selector.ts';
import { UsageError } from './errors.ts';

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug'];

/** Returns a log level. @throws {UsageError} */
export function readLogLevel(text: string): string {
  if (!logLevels.includes(text)) throw new UsageError(`--log-level: expected ${logLevels.join(', ')}, received "${text}"`);
  return text;
}

/** Returns a whole number from a flag or its environment variable. @throws {UsageError} */
export function readInteger(flag: string, text: string, min: number, max: number): number {
  const number = Number(text);
  if (text.trim() === '' || !Number.isInteger(number) || number < min || number > max) {
    throw new UsageError(`--${flag}: expected a whole number from ${min} to ${max}, received "${text}"`);
  }
  return number;
}

/** Returns the memory budget of a host in bytes, from 1 MiB to 1 TiB. @throws {UsageError} */
export function readImageMemory(text: string): number {
  return readInteger('image-memory', text, 2 ** 20, 2 ** 40);
}

/** Returns a number from a flag. @throws {UsageError} */
export function readNumber(flag: string, text: string, min: number, max: number): number {
  const number = Number(text);
  if (text.trim() === '' || !(number >= min && number <= max))
    throw new UsageError(`--${flag}: expected a number from ${min} to ${max}, received "${text}"`);
  return number;
}

/** Returns a time from a flag in ISO 8601 with milliseconds, in UTC. @param alternative What else the flag accepts. @throws {UsageError} */
export function readTime(flag: string, text: string, alternative = ''): string {
  const time = new Date(text);
  if (Number.isNaN(time.getTime()))
    throw new UsageError(`--${flag}: expected a time like 2026-11-24T09:30:00Z${alternative}, received "${text}"`);
  return time.toISOString();
}

const hour = 3_600_000;

/** Returns a time from a flag: a time, or a number of hours or days from now, such as `12h` or `90d`. @throws {UsageError} */
export function readTimeOrDuration(flag: string, text: string): string {
  const [, number, unit] = /^(\d{1,6})([hd])$/.exec(text) ?? [];
  if (number === undefined) return readTime(flag, text, ', or a duration like 12h or 90d');
  return new Date(Date.now() + Number(number) * (unit === 'd' ? 24 * hour : hour)).toISOString();
}

/**
 * Returns the content of a file.
 * @param flag The flag that named the file; empty for an argument.
 * @throws {UsageError}
 */
export function readInputFile(file: string, flag = ''): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const source = flag === '' ? file : `${flag} ${file}`;
    throw new UsageError(`cannot read ${source}: ${error instanceof Error ? error.message.replace(/, open .*$/s, '') : String(error)}`);
  }
}

/** Returns labels from texts of the form `key=value`. @throws {UsageError} */
export function readLabels(texts: readonly string[], flag = '--labels'): Record<string, string> {
  const labels = new Map<string, string>();
  for (const text of texts) {
    const [key = '', ...rest] = text.split('=');
    if (key === '' || rest.length === 0) throw new UsageError(`${flag}: expected key=value, received "${text}"`);
    const value = rest.join('=');
    const previous = labels.get(key);
    if (previous !== undefined && previous !== value)
      throw new UsageError(`${flag}: conflicting values for the label ${key}: "${previous}" and "${value}"`);
    labels.set(key, value);
  }
  return Object.fromEntries(labels);
}

/** The labels to set and to remove, and the devices that a command names. */
type LabelWords = { readonly set: Record<string, string>; readonly remove: string[]; readonly devices: string[] };

/** Returns a label edit from words in the syntax of kubectl: `key=value` sets a label, `key-` removes it; other words are devices. @throws {UsageError} */
export function readLabelEdit(words: readonly string[]): LabelWords {
  const assignments = words.filter((word) => word.includes('='));
  const removals = words.filter((word) => !word.includes('=') && word.endsWith('-'));
  if (assignments.length + removals.length === 0) throw new UsageError('give labels to set, like zone=north, or to remove, like beta-');
  const set = readLabels(assignments, '<word>');
  const remove = removals.map((word) => word.slice(0, -1));
  const both = remove.find((key) => set[key] !== undefined);
  if (both !== undefined) throw new UsageError(`the label ${both} is set and removed: give one of both`);
  return { set, remove, devices: words.filter((word) => !word.includes('=') && !word.endsWith('-')) };
}

/** Returns a label selector from the option `--selector`. @throws {UsageError} */
export function readSelector(text: string): string {
  try {
    parseLabelSelector(text);
    return text;
  } catch (error) {
    if (!(error instanceof LabelSelectorError)) throw error;
    throw new UsageError(`--selector: ${error.message}`);
  }
}

/** Returns dependencies from texts of the form `module=range`. @throws {UsageError} */
export function readDependencies(texts: readonly string[]): Record<string, string> {
  const dependencies = new Map<string, string>();
  for (const text of texts) {
    // A range may contain `=`.
    const [, module = '', range = ''] = /^([^=]+)=(.+)$/.exec(text) ?? [];
    if (module === '') throw new UsageError(`--dependency: expected module=range, for example udp=^1.2.0, received "${text}"`);
    if (dependencies.has(module)) throw new UsageError(`--dependency: two ranges for ${module}: combine them into one`);
    dependencies.set(module, range);
  }
  return Object.fromEntries(dependencies);
}

/** Returns a build from a text of the form `module@version`. @throws {UsageError} */
export function readNamedBuild(text: string): { module: string; version: string } {
  const [, module, version] = /^([^@]+)@(.+)$/.exec(text) ?? [];
  if (module === undefined || version === undefined)
    throw new UsageError(`<build>: expected module@version, for example tcp@1.2.0, received "${text}"`);
  return { module, version };
}

/** Collects the values of an option that may be repeated. */
export function collectValues(text: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, text];
}
