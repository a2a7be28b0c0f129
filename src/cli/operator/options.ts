// The options that every operator's command has.

import { type CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import { defaultKeyFile, defaultService, settingVariables } from './settings.ts';

/** Adds the options that every operator's command has. */
export function addOperatorOptions(command: CommandUnknownOpts): void {
  const options = [
    new Option('--service <url>', `URL of the service (${settingVariables.service}, ${defaultService})`),
    new Option('--key-file <file>', `file with the API key (${settingVariables['key-file']}, ${defaultKeyFile} if it exists)`),
    new Option('--key <key>', `the API key; other users of this machine can see it, so prefer a file or ${settingVariables.key}`),
    new Option('--config <file>', 'JSON file with any of "service", "key-file", "key" (PATCHBAY_CONFIG, ~/.config/patchbay/config.json)'),
    new Option('--json', 'print JSON'),
    new Option('--no-color', 'print without colors (NO_COLOR=1), as when the output is not a terminal'),
  ];
  for (const option of options)
    command.addOption(
      option.helpGroup('Options of every command; flags override environment variables, which override the configuration file:'),
    );
}

type OperatorOptions = {
  /** Settings that were given as flags, by their names. */
  readonly flags: Partial<Record<keyof typeof settingVariables | 'config', string>>;
  readonly isJson: boolean;
  readonly mayColour: boolean;
};

/** The options given to a command, or before it. */
export function readOperatorOptions(command: CommandUnknownOpts): OperatorOptions {
  const text = (flag: keyof OperatorOptions['flags'], name: string = flag) => {
    const value = givenTo(command, name);
    return typeof value === 'string' ? { [flag]: value } : {};
  };
  return {
    flags: { ...text('service'), ...text('key'), ...text('key-file', 'keyFile'), ...text('config') },
    isJson: givenTo(command, 'json') === true,
    mayColour: givenTo(command, 'color') !== false,
  };
}

/** The value that is given nearest to the end of the command line. */
function givenTo(command: CommandUnknownOpts, name: string): unknown {
  if (command.getOptionValueSource(name) === 'cli') return command.getOptionValue(name);
  return command.parent === null ? undefined : givenTo(command.parent, name);
}
