// The options that say where and how loads are to be carried out: what `load`, `rollback` and `rollout create` have in common.

import { Option } from '@commander-js/extra-typings';
import { invalidations, similarityPolicies, strategies, versionPolicies } from '../../client/choices.ts';
import type { Client } from '../../client/client.ts';
import { readInteger, readLabels, UsageError } from '../command-line.ts';
import { deviceIds } from './device-names.ts';

/** The devices that a request is given by name, identifier or label. @throws {UsageError} {StartError} */
export async function selectionOf(client: Client, device: readonly string[] | undefined, label: readonly string[] | undefined) {
  if ((device === undefined) === (label === undefined)) throw new UsageError('give either --device or --label: on which devices');
  return device === undefined ? { labels: readLabels(label ?? [], '--label') } : { devices: await deviceIds(client, device) };
}

export const versionPolicyOption = () =>
  new Option('--version-policy <policy>', 'which versions may replace the one in memory (newer)').choices(versionPolicies);
export const strategyOption = () =>
  new Option('--strategy <strategy>', 'how accesses inside the old version end (inject)').choices(strategies);
export const drainOption = () =>
  new Option('--drain-milliseconds <count>', 'how long a draining strategy waits').argParser((text) =>
    readInteger('drain-milliseconds', text, 0, 3_600_000),
  );
export const invalidationOption = () =>
  new Option('--invalidation <how>', 'how the pages of the old version are invalidated (nx)').choices(invalidations);
export const similarityOption = (usual: (typeof similarityPolicies)[number]) =>
  new Option('--similarity-policy <policy>', `whether the version must export what the old version exports (${usual})`).choices(
    similarityPolicies,
  );
export const deadlineOption = (usual = 86_400) =>
  new Option('--deadline <seconds>', `when a load that has not completed expires (${usual})`).argParser((text) =>
    readInteger('deadline', text, 1, 2_592_000),
  );
export const supersedeOption = () => new Option('--supersede', 'supersede queued loads of the module on the same devices');

/** The policy of versions with its reason, as a request says them. @throws {UsageError} where one comes without the other. */
export function versionTermsOf(versionPolicy: (typeof versionPolicies)[number] | undefined, reason: string | undefined) {
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
export function termsOf({ strategy, drainMilliseconds, invalidation, similarityPolicy, deadline, supersede }: Terms) {
  return {
    ...(strategy && { strategy }),
    ...(drainMilliseconds !== undefined && { drainMilliseconds }),
    ...(invalidation && { invalidation }),
    ...(similarityPolicy && { similarityPolicy }),
    ...(deadline && { deadlineSeconds: deadline }),
    ...(supersede && { supersede }),
  };
}
