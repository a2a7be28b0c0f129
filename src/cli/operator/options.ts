// The options of every operator command.

import { type CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import { defaultKeyFile, defaultService, settingVariables } from './settings.ts';

/** Adds the options of every operator command. */
export function addOperatorOptions(command: CommandUnknownOpts): void {
  const options = [
    new Option('--service <url>', `URL of the service (${settingVariables.service}, ${defaultService})`),
    new Option('--key-file <file>', `file with the API key (${settingVariables['key-file']}, ${defaultKeyFile} if it exists)`),
    new Option('--key <key>', `API key; other users of this machine can see it: prefer --key-file or ${settingVariables.key}`),
    new Option('--config <file>', 'JSON file with "service", "key-file" or "key" (PATCHBAY_CONFIG, ~/.config/patchbay/config.json)'),
    new Option('--json', 'print JSON; an error is one JSON object on standard error'),
    new Option('--no-color', 'print without colors (NO_COLOR=1); the default if the output is not a terminal'),
  ];
  for (const option of options)
    command.addOption(option.helpGroup('Common options (flags override environment variables, which override the configuration file):'));
}

type OperatorOptions = {
  /** Settings that were given as flags, by name. */
  readonly flags: Partial<Record<keyof typeof settingVariables | 'config', string>>;
  readonly isJson: boolean;
  readonly mayColour: boolean;
};

/** Reads the common options, given after or before the command. */
export function readOperatorOptions(command: CommandUnknownOpts): OperatorOptions {
  const text = (flag: keyof OperatorOptions['flags'], name: string = flag) => {
    const value = findValue(command, name);
    return typeof value === 'string' ? { [flag]: value } : {};
  };
  return {
    flags: { ...text('service'), ...text('key'), ...text('key-file', 'keyFile'), ...text('config') },
    isJson: findValue(command, 'json') === true,
    mayColour: findValue(command, 'color') !== false,
  };
}

/** Returns the value nearest to the end of the command line. */
function findValue(command: CommandUnknownOpts, name: string): unknown {
  if (command.getOptionValueSource(name) === 'cli') return command.getOptionValue(name);
  return command.parent === null ? undefined : findValue(command.parent, name);
}
