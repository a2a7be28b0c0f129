// Reads the service URL and the API key of an operator command: flags override environment variables, which override the configuration file.

import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../errors.ts';

/** The environment variable of each setting. */
export const settingVariables = { service: 'PATCHBAY_SERVICE', key: 'PATCHBAY_KEY', 'key-file': 'PATCHBAY_KEY_FILE' } as const;
type Name = keyof typeof settingVariables;

export const defaultService = 'http://127.0.0.1:7070';
/** Where a service that runs in this folder stores the administrator key. */
export const defaultKeyFile = 'data/admin-key';
/** Maximum characters of a key. A token of an identity provider is longer than an API key. */
const maxKeyLength = 8_192;

export type OperatorSettings = {
  readonly service: string;
  /** Null if no key is set. */
  readonly key: string | null;
  /** Where the key comes from, for messages. */
  readonly keyFrom: string | null;
};

type Source = { readonly label: (name: Name) => string; readonly get: (name: Name) => string | undefined };

/** @param flags The settings given as flags, and `config`. @throws {UsageError} */
export async function readOperatorSettings(
  flags: Partial<Record<Name | 'config', string>>,
  environment: NodeJS.ProcessEnv,
): Promise<OperatorSettings> {
  const file = configurationFile(flags.config ?? environment['PATCHBAY_CONFIG'], environment);
  const configured = file === null ? new Map<string, string>() : await readSettings(file);
  const sources: Source[] = [
    { label: (name) => `--${name}`, get: (name) => flags[name] },
    { label: (name) => settingVariables[name], get: (name) => environment[settingVariables[name]] || undefined },
    { label: (name) => `"${name}" in ${file}`, get: (name) => configured.get(name) },
  ];
  return { service: readService(sources), ...readKey(sources) };
}

/** Returns the given configuration file, or the default file if it exists. */
function configurationFile(given: string | undefined, environment: NodeJS.ProcessEnv): string | null {
  if (given !== undefined && given !== '') return given;
  const defaultFile = join(environment['XDG_CONFIG_HOME'] || join(homedir(), '.config'), 'patchbay', 'config.json');
  return existsSync(defaultFile) ? defaultFile : null;
}

async function readSettings(file: string): Promise<ReadonlyMap<string, string>> {
  // Loaded only when needed: the schema library takes as long to load as the rest of a command.
  const { readConfiguration } = await import('../configuration.ts');
  return readConfiguration(file, Object.keys(settingVariables));
}

function readService(sources: readonly Source[]): string {
  for (const { label, get } of sources) {
    const text = get('service');
    if (text === undefined) continue;
    if (!URL.canParse(text) || !/^https?:/.test(text))
      throw new UsageError(`${label('service')}: expected a URL like ${defaultService}, received "${text}"`);
    return text.replace(/\/+$/, '');
  }
  return defaultService;
}

function readKey(sources: readonly Source[]): Pick<OperatorSettings, 'key' | 'keyFrom'> {
  for (const { label, get } of sources) {
    const key = get('key');
    const file = get('key-file');
    if (key !== undefined && file !== undefined) throw new UsageError(`${label('key')} and ${label('key-file')} cannot be combined`);
    if (key !== undefined) return checkKey(key, label('key'));
    if (file !== undefined) return readKeyFile(file, `${file} (${label('key-file')})`);
  }
  return existsSync(defaultKeyFile) ? readKeyFile(defaultKeyFile, defaultKeyFile) : { key: null, keyFrom: null };
}

function readKeyFile(file: string, from: string): Pick<OperatorSettings, 'key' | 'keyFrom'> {
  try {
    return checkKey(readFileSync(file, 'utf8').trim(), from);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`cannot read the API key from ${from}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function checkKey(key: string, keyFrom: string): Pick<OperatorSettings, 'key' | 'keyFrom'> {
  if (key.length > maxKeyLength || !/^[\x21-\x7e]+$/.test(key))
    throw new UsageError(`invalid API key in ${keyFrom}: expected 1 to ${maxKeyLength} printable characters without spaces`);
  return { key, keyFrom };
}
