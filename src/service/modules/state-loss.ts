// Finds out whether a new version of a module loses the state of an old one: both have state, and nothing transfers it.

import { lt, rsort } from 'semver';
import { lifecycleExports } from '../../machine/abi.ts';
import { isSameFunctionType } from '../../machine/images/function-type.ts';
import { Interface } from '../../protocol/interface.ts';
import type { BuildRecord, BuildRecords } from './repository.ts';

/** The properties of a build that decide whether its state survives a load. `hasState` is null if unknown. */
export type Stateful = Pick<BuildRecord, 'version' | 'hasState' | 'interface'>;

/** Returns why the new version starts with fresh state although both have state; null if the state is kept, or if it is unknown whether both have state. */
export function describeStateLoss(old: Stateful, next: Stateful): string | null {
  if (old.hasState !== true || next.hasState !== true) return null;
  const missing = [
    ...(hasExport(old, 'state_save') ? [] : [`${old.version} does not export state_save`]),
    ...(hasExport(next, 'state_restore') ? [] : [`${next.version} does not export state_restore`]),
  ];
  if (missing.length === 0) return null;
  const advice = hasExport(next, 'state_save') && hasExport(next, 'state_restore') ? '' : '; export both to keep the state of later loads';
  return `${next.version} starts with fresh state and loses that of ${old.version}: ${missing.join(', and ')}${advice}`;
}

/** Returns why a new build starts with fresh state after the newest earlier version of its module; null if it does not, or if that is unknown. */
export async function describeLossSincePrevious(builds: BuildRecords, module: string, next: Stateful): Promise<string | null> {
  if (next.hasState !== true) return null;
  const [previous] = rsort((await builds.versions(module)).filter((version) => lt(version, next.version)));
  const old = previous === undefined ? null : await builds.find(module, previous);
  return old && describeStateLoss(old, next);
}

function hasExport({ interface: types }: Stateful, name: 'state_save' | 'state_restore'): boolean {
  return Interface.parse(types).exports.some((exported) => exported.name === name && isSameFunctionType(exported, lifecycleExports[name]));
}
