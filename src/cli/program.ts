// The tree of commands. What is behind each is loaded when it is wanted, so that every command starts fast.

import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import manifest from '../../package.json' with { type: 'json' };
import { addOperatorOptions } from './operator/options.ts';
import { requireGeneratedFiles } from './running/generated-files.ts';

type Noun = { readonly name: string; readonly summary: string; readonly add: (command: Command) => Promise<void> };

const operating: readonly Noun[] = [
  {
    name: 'build',
    summary: 'push and list builds of modules; show which devices run them; show and sign their provenance',
    add: async (build) => (await import('./commands/build.ts')).addBuildCommands(build),
  },
  {
    name: 'device',
    summary: 'list, show and watch devices; list ABI violations',
    add: async (device) => (await import('./commands/device.ts')).addDeviceCommands(device),
  },
  {
    name: 'load',
    summary: 'load a version on devices; list, show and cancel loads',
    add: async (load) => (await import('./commands/load.ts')).addLoadCommands(load),
  },
  {
    name: 'rollout',
    summary: 'roll a build out in waves; watch, approve, pause, undo',
    add: async (rollout) => (await import('./commands/rollout.ts')).addRolloutCommands(rollout),
  },
  {
    name: 'program',
    summary: 'start, stop, list and measure programs',
    add: async (program) => (await import('./commands/program.ts')).addProgramCommands(program),
  },
  {
    name: 'history',
    summary: 'list the versions of modules that a device has had, or had at a time',
    add: async (history) => (await import('./commands/history.ts')).addHistoryCommand(history),
  },
  {
    name: 'rollback',
    summary: 'go back to a version that devices have had',
    add: async (rollback) => (await import('./commands/rollback.ts')).addRollbackCommand(rollback),
  },
  {
    name: 'audit',
    summary: 'list, follow and verify the audit trail',
    add: async (audit) => (await import('./commands/audit.ts')).addAuditCommands(audit),
  },
  {
    name: 'key',
    summary: 'create, list and revoke API keys',
    add: async (key) => (await import('./commands/key.ts')).addKeyCommands(key),
  },
  {
    name: 'publisher-key',
    summary: 'register, list and revoke the keys of publishers who sign builds',
    add: async (publisherKey) => (await import('./commands/publisher-key.ts')).addPublisherKeyCommands(publisherKey),
  },
  {
    name: 'signature-policy',
    summary: 'require signatures of builds on devices',
    add: async (signaturePolicy) => (await import('./commands/signature-policy.ts')).addSignaturePolicyCommands(signaturePolicy),
  },
  {
    name: 'signing-key',
    summary: 'list and replace the keys that the service signs with',
    add: async (signingKey) => (await import('./commands/signing-key.ts')).addSigningKeyCommands(signingKey),
  },
  {
    name: 'health',
    summary: 'show whether the fleet is healthy, and why not',
    add: async (health) => (await import('./commands/health.ts')).addHealthCommand(health),
  },
];

const running: readonly Noun[] = [
  {
    name: 'serve',
    summary: 'start the control service, with a few devices of its own (npm start)',
    add: async (command) =>
      (await import('./commands/serve.ts')).addServeCommand(command, async () => {
        requireGeneratedFiles();
        return (await import('./running/serve.ts')).serve;
      }),
  },
  {
    name: 'host',
    summary: 'run simulated devices for a service (npm run host)',
    add: async (command) =>
      (await import('./commands/host.ts')).addHostCommand(command, async () => (await import('./running/host.ts')).runHostCommand),
  },
  {
    name: 'db',
    summary: 'move an installation from SQLite to PostgreSQL (db copy)',
    add: async (command) =>
      (await import('./commands/database.ts')).addDatabaseCommands(command, async () => {
        requireGeneratedFiles();
        return (await import('./running/database-copy.ts')).copyInstallation;
      }),
  },
];

const completion = 'completion';

/** The program with what is behind the noun that these arguments name. @throws {CommanderError} */
export async function createProgram(args: readonly string[]): Promise<Command> {
  const { program, fill } = createTree();
  // Another tree, for reading options leaves traces in it.
  const [name] = createTree().program.parseOptions([...args]).operands;
  const noun = program.commands.find((command) => command.name() === name);
  if (noun !== undefined) await fill(noun);
  return program;
}

/** The program with every command and option. */
export async function createWholeProgram(): Promise<Command> {
  const { program, fill } = createTree();
  for (const noun of program.commands) await fill(noun);
  return program;
}

function createTree(): { program: Command; fill: (noun: CommandUnknownOpts) => Promise<void> } {
  const program = new Command('patchbay');
  program
    .description("Hot-patch modules in running devices: the operator's command line of a Patchbay service, and the service itself.")
    .version(manifest.version, '-V, --version', 'the version of Patchbay')
    .helpOption('-h, --help', 'show help; every command has its own')
    .helpCommand(false)
    // What comes after a command is that command's: `load --version`.
    .enablePositionalOptions()
    .showHelpAfterError('See --help.')
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, '')) })
    .exitOverride();
  addOperatorOptions(program);
  const toFill = new Map<string, () => Promise<void>>();
  program.commandsGroup('Operating a service:');
  for (const { name, summary, add } of operating) {
    const noun = program.command(name).description(summary);
    toFill.set(name, async () => {
      await add(noun);
      for (const command of commandsOf(noun)) addOperatorOptions(command);
    });
  }
  const noun = program.command(completion).description('print a completion script for a shell');
  toFill.set(completion, async () => (await import('./commands/completion.ts')).addCompletionCommand(noun, createWholeProgram));
  program.commandsGroup('Running a service:');
  for (const { name, summary, add } of running) {
    const command = program.command(name).description(summary);
    toFill.set(name, () => add(command));
  }
  const fill = async (command: CommandUnknownOpts) => {
    const add = toFill.get(command.name());
    toFill.delete(command.name());
    await add?.();
  };
  return { program, fill };
}

/** A command and all below it. */
function commandsOf(command: CommandUnknownOpts): CommandUnknownOpts[] {
  return [command, ...command.commands.flatMap(commandsOf)];
}
