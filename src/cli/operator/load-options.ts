// Options of commands that load versions: shared by `load`, `rollback` and `rollout create`.

import { type Command, Option, type OptionValues } from '@commander-js/extra-typings';
import type { Client, Schemas } from '../../client/client.ts';
import { invalidations, linkPolicies, similarityPolicies, strategies, versionPolicies } from '../../client/enum-values.ts';
import { UsageError } from '../errors.ts';
import { readInteger, readLabels, readSelector } from '../option-values.ts';
import { resolveDeviceIds } from './device-names.ts';

type SelectionOptions = {
  readonly device?: readonly string[] | undefined;
  readonly label?: readonly string[] | undefined;
  readonly selector?: string | undefined;
  readonly group?: string | undefined;
};

/** Returns the members of a request that select its devices. @throws {UsageError} {CommandError} */
export async function resolveSelection(client: Client, { device, label, selector, group }: SelectionOptions) {
  if ((device === undefined) === [label, selector, group].every((one) => one === undefined))
    throw new UsageError('select devices with either --device, or one or more of --label, --selector and --group');
  if (device !== undefined) return { devices: await resolveDeviceIds(client, device) };
  return {
    ...(label === undefined ? {} : { labels: readLabels(label, '--label') }),
    ...(selector === undefined ? {} : { selector }),
    ...(group === undefined ? {} : { group }),
  };
}

/** Returns the query parameters that select devices by labels, a selector and a group. @throws {UsageError} */
export function toLabelFilter({ label = [], selector, group }: Omit<SelectionOptions, 'device'>) {
  readLabels(label, '--label');
  return {
    ...(label.length === 0 ? {} : { label: [...label] }),
    ...(selector !== undefined && { selector }),
    ...(group !== undefined && { group }),
  };
}

/** @param selected What the group contains. */
export const groupOption = (selected = 'every device') => new Option('--group <group>', `${selected} of this group, by name or identifier`);

/** @param selected What the selector selects. */
export const selectorOption = (selected = 'every device') =>
  new Option('-l, --selector <selector>', `${selected} that matches this label selector, like "zone in (north,south),!beta"`).argParser(
    readSelector,
  );

export const versionPolicyOption = () =>
  new Option('--version-policy <policy>', 'versions that may replace the installed version (default: newer)').choices(versionPolicies);
const strategyOption = () =>
  new Option('--strategy <strategy>', 'how accesses inside the old version end (default: inject)').choices(strategies);
const drainOption = () =>
  new Option('--drain-milliseconds <count>', 'maximum wait of a drain strategy (default: 10000)').argParser((text) =>
    readInteger('drain-milliseconds', text, 0, 3_600_000),
  );
const invalidationOption = () =>
  new Option('--invalidation <method>', 'how the pages of the old version are invalidated (default: nx)').choices(invalidations);
const similarityOption = (defaultPolicy: (typeof similarityPolicies)[number]) =>
  new Option(
    '--similarity-policy <policy>',
    `whether the version must have every export of the old version (default: ${defaultPolicy})`,
  ).choices(similarityPolicies);

const linkOption = () =>
  new Option(
    '--link-policy <policy>',
    'whether every import must be provided, and no module in memory may lose one (default: require)',
  ).choices(linkPolicies);

const overrideOption = () =>
  new Option('--override-maintenance-window <reason>', 'load at once, although maintenance windows are closed; recorded with each load');

/** Adds the options of every command that loads a version; `toLoadRequest` converts them. */
export function addLoadOptions<Args extends unknown[], Options extends OptionValues, Globals extends OptionValues>(
  command: Command<Args, Options, Globals>,
  defaultSimilarity: (typeof similarityPolicies)[number],
) {
  return command
    .addOption(strategyOption())
    .addOption(drainOption())
    .addOption(invalidationOption())
    .addOption(similarityOption(defaultSimilarity))
    .addOption(linkOption())
    .addOption(overrideOption());
}

/** Adds the options of commands that unload a module; `toLoadRequest` converts them. */
export function addUnloadOptions<Args extends unknown[], Options extends OptionValues, Globals extends OptionValues>(
  command: Command<Args, Options, Globals>,
) {
  return command.addOption(strategyOption()).addOption(drainOption()).addOption(invalidationOption()).addOption(overrideOption());
}

export const deadlineOption = (defaultSeconds = 86_400) =>
  new Option('--deadline <seconds>', `time after which an incomplete load expires (default: ${defaultSeconds})`).argParser((text) =>
    readInteger('deadline', text, 1, 2_592_000),
  );
export const supersedeOption = () => new Option('--supersede', 'supersede queued loads of the module on the same devices');

/** Returns the version policy and its reason as members of a request. @throws {UsageError} if only one of them is given. */
export function toVersionRequest(versionPolicy: (typeof versionPolicies)[number] | undefined, reason: string | undefined) {
  if ((versionPolicy === 'downgrade') !== (reason !== undefined))
    throw new UsageError('--version-policy downgrade and --reason require each other');
  return { ...(versionPolicy && { versionPolicy }), ...(reason && { downgradeReason: reason }) };
}

type LoadOptions = {
  readonly strategy?: (typeof strategies)[number] | undefined;
  readonly drainMilliseconds?: number | undefined;
  readonly invalidation?: (typeof invalidations)[number] | undefined;
  readonly similarityPolicy?: (typeof similarityPolicies)[number] | undefined;
  readonly linkPolicy?: (typeof linkPolicies)[number] | undefined;
  readonly deadline?: number | undefined;
  readonly supersede?: true | undefined;
  readonly overrideMaintenanceWindow?: string | undefined;
};

/** Returns the given options as members of a request. */
export function toLoadRequest(options: LoadOptions) {
  const { strategy, drainMilliseconds, invalidation, similarityPolicy, linkPolicy, deadline, supersede, overrideMaintenanceWindow } =
    options;
  return {
    ...(strategy && { strategy }),
    ...(drainMilliseconds !== undefined && { drainMilliseconds }),
    ...(invalidation && { invalidation }),
    ...(similarityPolicy && { similarityPolicy }),
    ...(linkPolicy && { linkPolicy }),
    ...(deadline && { deadlineSeconds: deadline }),
    ...(supersede && { supersede }),
    ...(overrideMaintenanceWindow !== undefined && { overrideMaintenanceWindow: { reason: overrideMaintenanceWindow } }),
  };
}

type Policy = Pick<Schemas['Load'], 'strategy' | 'invalidation' | 'versionPolicy' | 'similarityPolicy' | 'linkPolicy'>;

/** Returns the policies of a load or a rollout in one line. */
export function formatPolicy({ strategy, invalidation, versionPolicy, similarityPolicy, linkPolicy }: Policy): string {
  return `${strategy}, ${invalidation}, version policy ${versionPolicy}, similarity ${similarityPolicy}, links ${linkPolicy}`;
}
