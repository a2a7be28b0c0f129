// A command's settings in a JSON file, by the names of its flags.

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { UsageError } from './option-values.ts';

const Value = z.union([z.string(), z.number().transform(String), z.record(z.string(), z.string()).transform(labelsText)]);

/** Labels as their flag has them, separated by commas. */
function labelsText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}

/** The settings of a file as texts; none without a file. @throws {UsageError} when it cannot be read, or has what is not one of the options. */
export function readConfiguration(file: string | undefined, options: readonly string[]): ReadonlyMap<string, string> {
  if (file === undefined) return new Map();
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UsageError(`cannot read the settings of --config ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const settings = z.record(z.string(), Value).safeParse(content);
  if (!settings.success) throw new UsageError(`the settings of --config ${file} are not settings: ${z.prettifyError(settings.error)}`);
  for (const name of Object.keys(settings.data)) {
    if (!options.includes(name))
      throw new UsageError(`--config ${file} has "${name}", which is no setting: there are ${options.join(', ')}`);
  }
  return new Map(Object.entries(settings.data));
}
