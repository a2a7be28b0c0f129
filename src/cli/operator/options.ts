// The options that every operator's command has.

import { type CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import { defaultKeyFile, defaultService, operatorVariables } from './settings.ts';

/** Adds the options that every operator's command has. */
export function addOperatorOptions(command: CommandUnknownOpts): void {
  const options = [
    new Option('--service <url>', `the service (${operatorVariables.service}, ${defaultService})`),
    new Option('--key-file <file>', `file with the key to show it (${operatorVariables['key-file']}, ${defaultKeyFile} if it is there)`),
    new Option('--key <key>', `the key itself; others on this machine can see it here, so prefer a file or ${operatorVariables.key}`),
    new Option('--config <file>', 'JSON file with any of "service", "key-file", "key" (PATCHBAY_CONFIG, ~/.config/patchbay/config.json)'),
    new Option('--json', 'answer in JSON, for machines'),
    new Option('--no-color', 'no colours (NO_COLOR=1); there are none either where the output is no terminal'),
  ];
  for (const option of options)
    command.addOption(option.helpGroup('Options of every command; flags count before the environment, and that before the file:'));
}

type OperatorOptions = {
  /** Settings that were given as flags, by their names. */
  readonly flags: Partial<Record<keyof typeof operatorVariables | 'config', string>>;
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
