// The options that say where and how loads are to be carried out: what `load`, `rollback` and `rollout create` have in common.

import { type Command, Option, type OptionValues } from '@commander-js/extra-typings';
import type { Client, Schemas } from '../../client/client.ts';
import { invalidations, similarityPolicies, strategies, versionPolicies } from '../../client/enum-values.ts';
import { readInteger, readLabels, UsageError } from '../option-values.ts';
import { resolveDeviceIds } from './device-names.ts';

/** The devices that a request is given by name, identifier or label. @throws {UsageError} {StartError} */
export async function resolveSelection(client: Client, device: readonly string[] | undefined, label: readonly string[] | undefined) {
  if ((device === undefined) === (label === undefined)) throw new UsageError('give either --device or --label: on which devices');
  return device === undefined ? { labels: readLabels(label ?? [], '--label') } : { devices: await resolveDeviceIds(client, device) };
}

export const versionPolicyOption = () =>
  new Option('--version-policy <policy>', 'which versions may replace the one in memory (newer)').choices(versionPolicies);
const strategyOption = () => new Option('--strategy <strategy>', 'how accesses inside the old version end (inject)').choices(strategies);
const drainOption = () =>
  new Option('--drain-milliseconds <count>', 'how long a draining strategy waits').argParser((text) =>
    readInteger('drain-milliseconds', text, 0, 3_600_000),
  );
const invalidationOption = () =>
  new Option('--invalidation <how>', 'how the pages of the old version are invalidated (nx)').choices(invalidations);
const similarityOption = (usual: (typeof similarityPolicies)[number]) =>
  new Option('--similarity-policy <policy>', `whether the version must export what the old version exports (${usual})`).choices(
    similarityPolicies,
  );
/** Adds the options of every command that loads a version: `termsOf` reads them. */
export function addLoadOptions<Args extends unknown[], Options extends OptionValues, Globals extends OptionValues>(
  command: Command<Args, Options, Globals>,
  similarity: (typeof similarityPolicies)[number],
) {
  return command
    .addOption(strategyOption())
    .addOption(drainOption())
    .addOption(invalidationOption())
    .addOption(similarityOption(similarity));
}

export const deadlineOption = (usual = 86_400) =>
  new Option('--deadline <seconds>', `when a load that has not completed expires (${usual})`).argParser((text) =>
    readInteger('deadline', text, 1, 2_592_000),
  );
export const supersedeOption = () => new Option('--supersede', 'supersede queued loads of the module on the same devices');

/** The policy of versions with its reason, as a request says them. @throws {UsageError} where one comes without the other. */
export function toVersionRequest(versionPolicy: (typeof versionPolicies)[number] | undefined, reason: string | undefined) {
  if ((versionPolicy === 'downgrade') !== (reason !== undefined))
    throw new UsageError('give a --reason with --version-policy downgrade, and only there');
  return { ...(versionPolicy && { versionPolicy }), ...(reason && { downgradeReason: reason }) };
}

type Terms = {
  readonly strategy?: (typeof strategies)[number] | undefined;
  readonly drainMilliseconds?: number | undefined;
  readonly invalidation?: (typeof invalidations)[number] | undefined;
  readonly similarityPolicy?: (typeof similarityPolicies)[number] | undefined;
  readonly deadline?: number | undefined;
  readonly supersede?: true | undefined;
};

/** What was given, as a request says it. */
export function toLoadRequest({ strategy, drainMilliseconds, invalidation, similarityPolicy, deadline, supersede }: Terms) {
  return {
    ...(strategy && { strategy }),
    ...(drainMilliseconds !== undefined && { drainMilliseconds }),
    ...(invalidation && { invalidation }),
    ...(similarityPolicy && { similarityPolicy }),
    ...(deadline && { deadlineSeconds: deadline }),
    ...(supersede && { supersede }),
  };
}

type Policy = Pick<Schemas['Load'], 'strategy' | 'invalidation' | 'versionPolicy' | 'similarityPolicy'>;

/** The policy of a load or a rollout on one line. */
export function formatPolicy({ strategy, invalidation, versionPolicy, similarityPolicy }: Policy): string {
  return `${strategy}, ${invalidation}, ${versionPolicy} versions, similarity ${similarityPolicy}`;
}
