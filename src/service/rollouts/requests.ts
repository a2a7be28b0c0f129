// What a request for a rollout comes to: its build, its devices and their waves, what is in its way, and what its loads would come to.

import { validRange } from 'semver';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { type Forecast, forecastLoads } from '../loads/forecast.ts';
import { unknownBuildProblem } from '../loads/loads.ts';
import type { BuildRecord } from '../modules/repository.ts';
import { BuildRecords } from '../modules/repository.ts';
import { invalidValue, Problem } from '../problem.ts';
import { type Member, selectMembers, withoutVersion } from './membership.ts';
import { assignWaves, type RolloutPlan } from './plan.ts';
import type { RolloutRecord } from './repository.ts';
import { RolloutRecords } from './repository.ts';
import { isTimeZone } from './schedule-window.ts';

/** Rollouts in the way that a message names. */
const namedConflictLimit = 5;

export type RolloutRequest = {
  readonly module: string;
  readonly version: string;
  readonly plan: RolloutPlan;
  /** The devices that are named; null where they are selected otherwise. */
  readonly devices: readonly string[] | null;
  /** Whether devices join that match later, and until when; null: for as long as the rollout is not told otherwise. */
  readonly joining: { readonly until: Date | null } | null;
};

type PreviewedDevice = {
  readonly device: string;
  readonly name: string;
  readonly isReachable: boolean;
  /** Null: it has the version, and is left out. */
  readonly wave: number | null;
  readonly forecast: Forecast;
};

export type Preview = {
  readonly devices: readonly PreviewedDevice[];
  /** How many waves there are. */
  readonly waves: number;
  /** Open rollouts that have some of the devices. */
  readonly conflicts: readonly { readonly rollout: string; readonly devices: number }[];
};

/** @throws {Problem} `invalid-value`. */
export async function findBuild(
  connection: Connection,
  { module, version }: Pick<RolloutRequest, 'module' | 'version'>,
): Promise<BuildRecord> {
  const build = await new BuildRecords(connection).find(module, version);
  if (build === null) throw await unknownBuildProblem(connection, module, version);
  return build;
}

/** The devices that are to get the build, in their order. @throws {Problem} `invalid-value`, `already-installed`. */
export async function selectMembersToUpdate(connection: Connection, request: RolloutRequest): Promise<Member[]> {
  return excludeUpToDate(await selectRequested(connection, request), request);
}

/** Those that have not got the version. @throws {Problem} `already-installed` where all have. */
function excludeUpToDate(selected: readonly Member[], { version, module, joining }: RolloutRequest): Member[] {
  const members = withoutVersion(selected, version);
  if (members.length === 0 && joining === null)
    throw new Problem('already-installed', `every selected device has ${module}@${version} in its module table: there is nothing to do`);
  return members;
}

async function selectRequested(connection: Connection, request: RolloutRequest): Promise<Member[]> {
  const { selector, window } = request.plan;
  if (selector.runningVersion !== null && validRange(selector.runningVersion) === null)
    throw invalidValue('/runningVersion', `"${selector.runningVersion}" is no range of semantic versions: give one like ">=1.0.0 <2.0.0"`);
  if (window !== null && !isTimeZone(window.timeZone))
    throw invalidValue('/window/timeZone', `there is no time zone "${window.timeZone}": give a name like Europe/Berlin, or UTC`);
  const selected = await selectMembers(connection, request, selector, request.devices);
  if (selected.length === 0 && request.joining === null)
    throw invalidValue(pointerOf(selector), 'no device is selected: list the devices to see their labels and the versions in their memory');
  return selected;
}

function pointerOf({ devices, labels }: RolloutPlan['selector']): string {
  if (devices !== null) return '/devices';
  return labels === null ? '/runningVersion' : '/labels';
}

/** @throws {Problem} `rollout-conflict` where other rollouts that have not ended have some of the rollout's devices. */
export async function checkNoConflict(connection: Connection, rollout: Pick<RolloutRecord, 'id' | 'module'>): Promise<void> {
  const conflicts = await new RolloutRecords(connection).conflicts(rollout, 'all');
  if (conflicts.length === 0) return;
  const named = conflicts.slice(0, namedConflictLimit).map(({ rolloutId, devices }) => `${rolloutId} has ${devices} of the devices`);
  const others = conflicts.length > namedConflictLimit ? `, and ${conflicts.length - namedConflictLimit} more have some` : '';
  throw new Problem(
    'rollout-conflict',
    `there are rollouts of ${rollout.module} that have not ended on these devices: ${named.join(', ')}${others}; wait for them, end them, or ask with "onConflict": "queue"`,
  );
}

/** @throws {Problem} `invalid-value`, `already-installed`. */
export async function previewRollout(connection: Connection, request: RolloutRequest): Promise<Preview> {
  const build = await findBuild(connection, request);
  const selected = await selectRequested(connection, request);
  const members = excludeUpToDate(selected, request);
  const numbers = assignWaves(request.plan.waves, members.length);
  const waves = new Map(members.map(({ id }, index) => [id, numbers[index] ?? null]));
  const forecasts = await forecastLoads(connection, build, selected, request.plan.terms);
  const devices = await new DeviceRecords(connection).reachabilityOf(selected.map(({ id }) => id));
  const previewed = selected.flatMap(({ id }): PreviewedDevice[] => {
    const device = devices.get(id);
    const forecast = forecasts.get(id);
    if (device === undefined || forecast === undefined) return [];
    return [{ device: id, name: device.name, isReachable: device.isReachable, wave: waves.get(id) ?? null, forecast }];
  });
  const others = await new RolloutRecords(connection).findDevicesInOtherRollouts({ id: null, module: request.module }, [...waves.keys()]);
  const conflicts = [...others].map(([rollout, taken]) => ({ rollout, devices: taken.size }));
  return { devices: previewed, waves: request.plan.waves.length, conflicts };
}
