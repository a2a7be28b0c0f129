// What `load`, `unload` and `rollout create` do with unreachable devices: an option says it, or a person at a terminal is asked.

import { Option } from '@commander-js/extra-typings';
import type { Schemas } from '../../client/client.ts';
import { unreachableChoices } from '../../client/enum-values.ts';
import { formatDeviceCount } from '../terminal/device-count.ts';
import { ask, isTerminal, notConfirmed, standardTerminal } from './confirmation.ts';
import { type CommandContext, printNote } from './operator.ts';

/** Devices that a question or a note names. */
const namedDevices = 5;

type UnreachableChoice = (typeof unreachableChoices)[number];
type PreviewedDevice = Pick<Schemas['PreviewedLoad'] | Schemas['PreviewedUnload'], 'deviceName' | 'reachable' | 'forecast'>;
type Context = Pick<CommandContext, 'signal'>;

export const unreachableOption = () =>
  new Option(
    '--unreachable <choice>',
    'what happens to devices on unreachable hosts: wait until the host connects, or skip them (default: ask on a terminal, otherwise wait)',
  ).choices(unreachableChoices);

/**
 * Returns what happens to unreachable devices; undefined: the default of the service. Asks on a terminal if no option says it and some are unreachable.
 * @param preview Returns the devices of a dry run.
 * @throws {CommandError} if the person cancels.
 */
export async function chooseUnreachable(
  { signal }: Context,
  options: { readonly unreachable?: UnreachableChoice | undefined; readonly yes?: true | undefined },
  preview: () => Promise<readonly PreviewedDevice[]>,
  terminal = standardTerminal,
): Promise<UnreachableChoice | undefined> {
  if (options.unreachable !== undefined || options.yes || !isTerminal(terminal)) return options.unreachable;
  const devices = (await preview()).filter(({ forecast }) => forecast !== 'already-installed');
  const names = devices.filter(({ reachable }) => !reachable).map(({ deviceName }) => deviceName);
  if (names.length === 0) return undefined;
  const canSkip = names.length < devices.length;
  const question = `${describeUnreachable(names.length, devices.length, names)}. ${canSkip ? 'Wait for them, skip them' : 'Wait for them'} or cancel? [w${canSkip ? '/s' : ''}/C]`;
  const response = (await ask(question, signal, terminal)).toLowerCase();
  if (response === 'w' || response === 'wait') return 'wait';
  if (canSkip && (response === 's' || response === 'skip')) return 'skip';
  throw notConfirmed();
}

/** Prints a note if unreachable devices wait without anyone having asked for it, or are skipped. */
export function noteUnreachable(
  context: Pick<CommandContext, 'isJson'>,
  { count, skipped, devices }: Schemas['UnreachableDevices'],
  choice: UnreachableChoice | undefined,
): void {
  if (count === 0) return;
  const names = devices.map(({ name }) => name);
  const named = formatNames(names, count);
  if (skipped > 0) printNote(context, `skipped, because they are on unreachable hosts: ${formatDeviceCount(count)} (${named})`);
  else if (choice === undefined)
    printNote(
      context,
      `warning: on unreachable hosts, so that their loads wait: ${formatDeviceCount(count)} (${named}); --unreachable skip leaves them out`,
    );
}

/** Returns which devices were unreachable at a request, and whether it skipped them; null if all were reachable. */
export function formatUnreachableDevices(unreachable: Schemas['UnreachableDevices'] | null): string | null {
  if (unreachable === null || unreachable.count === 0) return null;
  const { count, skipped, devices } = unreachable;
  const names = devices.map(({ name }) => name);
  return `${formatDeviceCount(count)} at the request, ${skipped > 0 ? 'skipped' : 'whose loads wait'} (${formatNames(names, count)})`;
}

function describeUnreachable(count: number, total: number, names: readonly string[]): string {
  return `${count} of ${formatDeviceCount(total)} ${count === 1 ? 'is' : 'are'} unreachable (${formatNames(names, count)})`;
}

function formatNames(names: readonly string[], count: number): string {
  const more = count - Math.min(count, namedDevices);
  return `${names.slice(0, namedDevices).join(', ')}${more === 0 ? '' : ` and ${more} more`}`;
}
