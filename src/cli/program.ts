// The tree of commands. The code of a command is loaded when the command runs, so that every command starts fast.

import { Command, type CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import manifest from '../../package.json' with { type: 'json' };
import { addOperatorOptions } from './operator/options.ts';
import { requireGeneratedFiles } from './running/generated-files.ts';

type TopLevelCommand = { readonly name: string; readonly summary: string; readonly add: (command: Command) => Promise<void> };

const operatorCommands: readonly TopLevelCommand[] = [
  {
    name: 'build',
    summary: 'push, list, show and sign builds of modules; show the devices that run a build',
    add: async (build) => (await import('./commands/build.ts')).addBuildCommands(build),
  },
  {
    name: 'patch-set',
    summary: 'create, list and show sets of builds that devices load in one step',
    add: async (patchSet) => (await import('./commands/patch-set.ts')).addPatchSetCommands(patchSet),
  },
  {
    name: 'device',
    summary: 'list, show, watch, label, rename and decommission devices; list ABI violations',
    add: async (device) => (await import('./commands/device.ts')).addDeviceCommands(device),
  },
  {
    name: 'group',
    summary: 'create, list, show, edit and delete named groups of devices',
    add: async (group) => (await import('./commands/group.ts')).addGroupCommands(group),
  },
  {
    name: 'channel',
    summary: 'create, list, show, edit and delete channels; promote and withdraw versions',
    add: async (channel) => (await import('./commands/channel.ts')).addChannelCommands(channel),
  },
  {
    name: 'assignment',
    summary: 'give groups of devices the versions of a channel; show which devices do not have them',
    add: async (assignment) => (await import('./commands/assignment.ts')).addAssignmentCommands(assignment),
  },
  {
    name: 'device-host',
    summary: 'list, show, rename and decommission device hosts',
    add: async (deviceHost) => (await import('./commands/device-host.ts')).addDeviceHostCommands(deviceHost),
  },
  {
    name: 'module',
    summary: 'show which modules of a device depend on which',
    add: async (module) => (await import('./commands/module.ts')).addModuleCommands(module),
  },
  {
    name: 'load',
    summary: 'load a version on devices; list, show, watch and cancel loads, and end drains early',
    add: async (load) => (await import('./commands/load.ts')).addLoadCommands(load),
  },
  {
    name: 'unload',
    summary: 'unload a module from devices',
    add: async (unload) => (await import('./commands/unload.ts')).addUnloadCommand(unload),
  },
  {
    name: 'rollout',
    summary: 'roll out a build in waves; watch, approve, pause and roll back rollouts',
    add: async (rollout) => (await import('./commands/rollout.ts')).addRolloutCommands(rollout),
  },
  {
    name: 'program',
    summary: 'start, stop, list and measure programs',
    add: async (program) => (await import('./commands/program.ts')).addProgramCommands(program),
  },
  {
    name: 'history',
    summary: 'list the module versions on a device, now and in the past',
    add: async (history) => (await import('./commands/history.ts')).addHistoryCommand(history),
  },
  {
    name: 'load-batch',
    summary: 'list, show, cancel and retry the loads of one request for several devices',
    add: async (batch) => (await import('./commands/load-batch.ts')).addLoadBatchCommands(batch),
  },
  {
    name: 'rollback',
    summary: 'roll devices back to a version that they had before, or revert a patch set',
    add: async (rollback) => (await import('./commands/rollback.ts')).addRollbackCommand(rollback),
  },
  {
    name: 'audit',
    summary: 'list, follow, export and verify the audit trail',
    add: async (audit) => (await import('./commands/audit.ts')).addAuditCommands(audit),
  },
  {
    name: 'key',
    summary: 'create, list and revoke API keys',
    add: async (key) => (await import('./commands/key.ts')).addKeyCommands(key),
  },
  {
    name: 'user',
    summary: 'list and sign out the people and clients of the identity provider',
    add: async (user) => (await import('./commands/user.ts')).addUserCommands(user),
  },
  {
    name: 'publisher-key',
    summary: 'register, list and revoke the public keys of publishers who sign builds',
    add: async (publisherKey) => (await import('./commands/publisher-key.ts')).addPublisherKeyCommands(publisherKey),
  },
  {
    name: 'signature-policy',
    summary: 'require signatures for the builds on devices',
    add: async (signaturePolicy) => (await import('./commands/signature-policy.ts')).addSignaturePolicyCommands(signaturePolicy),
  },
  {
    name: 'signing-key',
    summary: 'list and rotate the signing keys of the service',
    add: async (signingKey) => (await import('./commands/signing-key.ts')).addSigningKeyCommands(signingKey),
  },
  {
    name: 'webhook',
    summary: 'send events to other services, Slack and Teams',
    add: async (webhook) => (await import('./commands/webhook.ts')).addWebhookCommands(webhook),
  },
  {
    name: 'health',
    summary: 'show the health of the fleet',
    add: async (health) => (await import('./commands/health.ts')).addHealthCommand(health),
  },
];

const serviceCommands: readonly TopLevelCommand[] = [
  {
    name: 'serve',
    summary: 'start the control service, with an embedded device host (npm start)',
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
    summary: 'copy an installation from SQLite to PostgreSQL (db copy)',
    add: async (command) =>
      (await import('./commands/database.ts')).addDatabaseCommands(command, async () => {
        requireGeneratedFiles();
        return (await import('./running/database-copy.ts')).copyInstallation;
      }),
  },
];

const completion = 'completion';

/** Returns the program with the options and subcommands of the command that these arguments name; other commands are empty. */
export async function createProgram(args: readonly string[]): Promise<Command> {
  const { program, fill } = createTree();
  const [, noun] = namedCommands(program, args);
  if (noun !== undefined) await fill(noun);
  return program;
}

/** Returns the command that these arguments name, as `patchbay load list`, and its subcommands. */
export function findCommand(program: CommandUnknownOpts, args: readonly string[]): { path: string; subcommands: string[] } {
  const commands = namedCommands(program, args);
  return {
    path: commands.map((command) => command.name()).join(' '),
    subcommands: commands.at(-1)?.commands.map((command) => command.name()) ?? [],
  };
}

/** Returns the program and each subcommand that the arguments name, without parsing options. */
function namedCommands(program: CommandUnknownOpts, args: readonly string[]): CommandUnknownOpts[] {
  const found = [program];
  let command = program;
  let isValue = false;
  for (const word of args) {
    if (isValue) isValue = false;
    else if (word.startsWith('-')) {
      const option = command.options.find(({ short, long }) => word === short || word === long);
      isValue = option?.required === true;
    } else {
      const subcommand = command.commands.find((candidate) => candidate.name() === word);
      if (subcommand === undefined) break;
      command = subcommand;
      found.push(command);
    }
  }
  return found;
}

/** Returns the program with every command and option. */
export async function createWholeProgram(): Promise<Command> {
  const { program, fill } = createTree();
  for (const noun of program.commands) await fill(noun);
  return program;
}

function createTree(): { program: Command; fill: (noun: CommandUnknownOpts) => Promise<void> } {
  const program = new Command('patchbay');
  program
    .description('Hot-patch modules in running devices. Runs a Patchbay service and its device hosts, and operates them.')
    .version(manifest.version, '-V, --version', 'print the version of Patchbay')
    .helpOption('-h, --help', 'show the help of a command')
    .helpCommand(false)
    // Options after a command belong to that command: `load --version`.
    .enablePositionalOptions()
    // The caller prints errors, so that each is printed once and in one form.
    .configureOutput({ writeErr: () => {}, outputError: () => {} })
    .exitOverride();
  addOperatorOptions(program);
  const toFill = new Map<string, () => Promise<void>>();
  program.commandsGroup('Operator commands:');
  for (const { name, summary, add } of operatorCommands) {
    const noun = program.command(name).description(summary);
    toFill.set(name, async () => {
      await add(noun);
      for (const command of commandsOf(noun)) addOperatorOptions(command);
    });
  }
  const noun = program.command(completion).description('print a completion script for a shell');
  toFill.set(completion, async () => {
    (await import('./commands/completion.ts')).addCompletionCommand(noun, createWholeProgram);
    addJsonErrorOption(noun);
  });
  program.commandsGroup('Service commands:');
  for (const { name, summary, add } of serviceCommands) {
    const command = program.command(name).description(summary);
    toFill.set(name, async () => {
      await add(command);
      for (const leaf of commandsOf(command)) addJsonErrorOption(leaf);
    });
  }
  const fill = async (command: CommandUnknownOpts) => {
    const add = toFill.get(command.name());
    toFill.delete(command.name());
    await add?.();
  };
  return { program, fill };
}

/** Adds `--json` to a command that is not an operator command; the entry point reads it. */
function addJsonErrorOption(command: CommandUnknownOpts): void {
  command.addOption(new Option('--json', 'print an error as one JSON object'));
}

/** Returns a command and all commands below it. */
function commandsOf(command: CommandUnknownOpts): CommandUnknownOpts[] {
  return [command, ...command.commands.flatMap(commandsOf)];
}
