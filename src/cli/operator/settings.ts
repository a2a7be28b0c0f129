// Which service an operator's command speaks to, and with which key: flags count before environment variables, and these before the file.

import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../option-values.ts';

/** Each setting, and its environment variable. */
export const settingVariables = { service: 'PATCHBAY_SERVICE', key: 'PATCHBAY_KEY', 'key-file': 'PATCHBAY_KEY_FILE' } as const;
type Name = keyof typeof settingVariables;

export const defaultService = 'http://127.0.0.1:7070';
/** Where a service started in this folder keeps the key of its administrator. */
export const defaultKeyFile = 'data/admin-key';

export type OperatorSettings = {
  readonly service: string;
  /** Null: there is none. */
  readonly key: string | null;
  /** Where the key is from, for messages. */
  readonly keyFrom: string | null;
};

type Source = { readonly called: (name: Name) => string; readonly get: (name: Name) => string | undefined };

/** @param flags The settings that have a flag, and `config`. @throws {UsageError} */
export async function readOperatorSettings(
  flags: Partial<Record<Name | 'config', string>>,
  environment: NodeJS.ProcessEnv,
): Promise<OperatorSettings> {
  const file = configurationFile(flags.config ?? environment['PATCHBAY_CONFIG'], environment);
  const configured = file === null ? new Map<string, string>() : await readFile(file);
  const sources: Source[] = [
    { called: (name) => `--${name}`, get: (name) => flags[name] },
    { called: (name) => settingVariables[name], get: (name) => environment[settingVariables[name]] || undefined },
    { called: (name) => `"${name}" of ${file}`, get: (name) => configured.get(name) },
  ];
  return { service: readService(sources), ...readKey(sources) };
}

/** The file that is named, or the usual one if it is there. */
function configurationFile(named: string | undefined, environment: NodeJS.ProcessEnv): string | null {
  if (named !== undefined && named !== '') return named;
  const usual = join(environment['XDG_CONFIG_HOME'] || join(homedir(), '.config'), 'patchbay', 'config.json');
  return existsSync(usual) ? usual : null;
}

async function readFile(file: string): Promise<ReadonlyMap<string, string>> {
  // Its schema checker is as slow to load as all the rest of a command, which most have no need of.
  const { readConfiguration } = await import('../configuration.ts');
  return readConfiguration(file, Object.keys(settingVariables));
}

function readService(sources: readonly Source[]): string {
  for (const { called, get } of sources) {
    const text = get('service');
    if (text === undefined) continue;
    if (!URL.canParse(text) || !/^https?:/.test(text))
      throw new UsageError(`${called('service')} is "${text}": give an address like ${defaultService}`);
    return text.replace(/\/+$/, '');
  }
  return defaultService;
}

function readKey(sources: readonly Source[]): Pick<OperatorSettings, 'key' | 'keyFrom'> {
  for (const { called, get } of sources) {
    const key = get('key');
    const file = get('key-file');
    if (key !== undefined && file !== undefined)
      throw new UsageError(`${called('key')} and ${called('key-file')} are both given: leave one of them out`);
    if (key !== undefined) return checkKey(key, called('key'));
    if (file !== undefined) return readKeyFile(file, `${file} (${called('key-file')})`);
  }
  return existsSync(defaultKeyFile) ? readKeyFile(defaultKeyFile, defaultKeyFile) : { key: null, keyFrom: null };
}

function readKeyFile(file: string, from: string): Pick<OperatorSettings, 'key' | 'keyFrom'> {
  try {
    return checkKey(readFileSync(file, 'utf8').trim(), from);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`cannot read the key from ${from}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function checkKey(key: string, keyFrom: string): Pick<OperatorSettings, 'key' | 'keyFrom'> {
  if (!/^[\x21-\x7e]{1,512}$/.test(key))
    throw new UsageError(`the key of ${keyFrom} is not one: it is 1 to 512 printable characters without spaces`);
  return { key, keyFrom };
}
