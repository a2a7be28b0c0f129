// `patchbay rollback`: devices go back to a version that they had.

import console from 'node:console';
import type { Command } from '@commander-js/extra-typings';
import type { Client } from '../client/client.ts';
import { collect, readLabels, StartError, UsageError } from '../command-line.ts';
import { exitCodes } from '../exit-codes.ts';
import { deviceIds, deviceNames, readDevices } from '../operator/device-names.ts';
import { carryOut } from '../operator/loading.ts';
import { readHistory } from '../operator/module-history.ts';
import { type Operator, operate } from '../operator/operator.ts';
import { addExamples } from './examples.ts';
import { loadExitCodesText } from './load.ts';

/** Stays of a module that are looked at on each device, the newest: one page. */
const historyRead = 200;
/** Devices whose histories are read at the same time. */
const readAtOnce = 8;
/** Devices that are named in a message. */
const namedAtMost = 10;

export function addRollbackCommand(rollback: Command): void {
  const complete = rollback
    .option('--device <device>', 'a device, by name or identifier; may be repeated', collect)
    .option('--label <key=value>', 'every device with this label, and with all where it is repeated', collect)
    .requiredOption('--module <name>', 'the module')
    .option(
      '--to <version>',
      `a version that was in the memory of each device, in its newest ${historyRead} stays there (the one before what is there now)`,
    )
    .requiredOption('--reason <text>', 'why; it is kept with each load')
    .option('--no-wait', 'do not wait for the outcomes')
    .addHelpText('after', loadExitCodesText)
    .action(({ device, label, module, to, reason, wait }, command) =>
      operate(command, async (operator) => {
        if ((device === undefined) === (label === undefined)) throw new UsageError('give either --device or --label: where to roll back');
        const { client } = operator;
        const devices = device === undefined ? await labelledDevices(client, label ?? []) : await deviceIds(client, device);
        const targets = await readTargets(operator, devices, module, to);
        if (targets.size === 0) {
          console.error(`every device has ${module}@${to} in memory already: there is nothing to do`);
          return exitCodes.done;
        }
        const waves = [...targets].map(([version, some]) => ({
          name: `${module}@${version}`,
          request: { module, version, devices: some, versionPolicy: 'downgrade' as const, downgradeReason: reason },
        }));
        return carryOut(operator, waves, wait);
      }),
    );
  addExamples(
    complete,
    'patchbay rollback --label zone=north --module tcp --reason "1.1.0 drops packets"',
    'patchbay rollback --device rack-1-3 --module tcp --to 1.0.0 --reason "comparing both versions"',
  );
}

async function labelledDevices(client: Client, labels: readonly string[]): Promise<string[]> {
  readLabels(labels, '--label');
  const devices = await readDevices(client, labels);
  if (devices.length === 0) throw new StartError('no device has these labels: "patchbay device list" shows what labels there are');
  return devices.map(({ id }) => id);
}

/** Which devices go back to which version; those that have it are left out. @throws {StartError} when a device has none to go back to. */
async function readTargets(
  { client }: Operator,
  devices: readonly string[],
  module: string,
  to: string | undefined,
): Promise<Map<string, string[]>> {
  const targets = new Map<string, string[]>();
  const without: string[] = [];
  const rest = [...new Set(devices)].values();
  const readRest = async () => {
    for (const device of rest) {
      const { items } = await readHistory(client, device, module, { limit: historyRead });
      const current = items.find(({ leftAt }) => leftAt === null)?.version;
      const target = items.find(({ version }) => (to === undefined ? version !== current : version === to))?.version;
      if (current === undefined || target === undefined) without.push(device);
      else if (target !== current) targets.set(target, [...(targets.get(target) ?? []), device]);
    }
  };
  await Promise.all(Array.from({ length: readAtOnce }, readRest));
  if (without.length === 0) return targets;
  const names = await deviceNames(client);
  const named = without.slice(0, namedAtMost).map((id) => names.get(id) ?? id);
  const others = without.length > namedAtMost ? ` and ${without.length - namedAtMost} more` : '';
  const missing =
    to === undefined
      ? `have no version of ${module} before the one in memory`
      : `have not had ${module}@${to} in memory before another version`;
  throw new StartError(`${named.join(', ')}${others} ${missing} (see "patchbay history"): nothing was loaded anywhere`);
}
