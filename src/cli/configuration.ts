// Reads the settings of a command from a JSON file, whose keys are the names of flags.

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { UsageError } from './errors.ts';

const Value = z.union([z.string(), z.number().transform(String), z.record(z.string(), z.string()).transform(joinLabels)]);

/** Returns labels in the form of their flag, separated by commas. */
function joinLabels(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}

/**
 * Returns the settings of a file as strings; without a file, no settings.
 * @throws {UsageError} if the file cannot be read, is not valid, or has an unknown setting.
 */
export function readConfiguration(file: string | undefined, names: readonly string[]): ReadonlyMap<string, string> {
  if (file === undefined) return new Map();
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UsageError(`cannot read --config ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const settings = z.record(z.string(), Value).safeParse(content);
  if (!settings.success) throw new UsageError(`invalid settings in --config ${file}: ${z.prettifyError(settings.error)}`);
  for (const name of Object.keys(settings.data)) {
    if (!names.includes(name)) throw new UsageError(`unknown setting "${name}" in --config ${file}: expected ${names.join(', ')}`);
  }
  return new Map(Object.entries(settings.data));
}
