// Resolves a rollout request: its content, its devices and their waves, conflicts with other rollouts, and the preview of a dry run.

import { validRange } from 'semver';
import type { LabelSelector } from '../../protocol/label-selector.ts';
import type { Connection } from '../database/connection.ts';
import { findClosedWindows } from '../devices/closed-windows.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { resolveGroup } from '../groups/groups.ts';
import { checkTimeZone } from '../groups/schedule-window.ts';
import { type Forecast, type ForecastContent, forecastLoads } from '../loads/forecast.ts';
import type { Hold } from '../loads/maintenance-holds.ts';
import { type UnreachableChoice, unreachableSplitter } from '../loads/unreachable-targets.ts';
import { invalidValue, Problem } from '../problem.ts';
import { checkUsable, findContent, type RequestedContent, type RolloutContent, type WantedContent } from './content.ts';
import { type Member, selectMembers, selectorPointer, withoutVersion } from './membership.ts';
import { assignWaves, type RolloutPlan } from './plan.ts';
import type { RolloutRecord } from './repository.ts';
import { RolloutRecords } from './repository.ts';

/** Conflicting rollouts that an error message names. */
const namedConflictLimit = 5;

export type RolloutRequest = {
  readonly content: WantedContent;
  /** Without the group, which `withGroup` adds. */
  readonly plan: RolloutPlan;
  /** Identifier or name of the group; null: none. */
  readonly group: string | null;
  /** The named devices; null if devices are selected by labels, groups or versions. */
  readonly devices: readonly string[] | null;
  /** Not null for a dynamic rollout. `until` null: devices join until an operator closes the rollout. */
  readonly joining: { readonly until: Date | null } | null;
  /** The scope of the requester, which all devices match; null: any devices. */
  readonly scope: LabelSelector | null;
  readonly unreachable: UnreachableChoice;
};

type PreviewedDevice = {
  readonly device: string;
  readonly name: string;
  readonly isReachable: boolean;
  /** Null: the device is left out, because it has the version or the whole patch set, or because it is unreachable. */
  readonly wave: number | null;
  readonly forecast: Forecast;
  /** Whether it is left out because it is unreachable. */
  readonly isSkipped: boolean;
  /** Why its load would be held now; null: it would be sent at once, or there is none. */
  readonly hold: Hold | null;
};

export type Preview = {
  readonly devices: readonly PreviewedDevice[];
  /** Number of waves. */
  readonly waves: number;
  /** Open rollouts that share devices with this one. */
  readonly conflicts: readonly { readonly rollout: string; readonly devices: number }[];
};

/** Returns the request with its group in the plan. @throws {Problem} `invalid-value` if the group does not exist. */
export async function withGroup(connection: Connection, request: RolloutRequest): Promise<RolloutRequest> {
  if (request.group === null) return request;
  const { id, name, selector } = await resolveGroup(connection, request.group);
  return { ...request, plan: { ...request.plan, selector: { ...request.plan.selector, group: { id, name, selector } } } };
}

/** Returns the devices that will load the content, in order. @throws {Problem} `invalid-value`, `already-installed`. */
export async function selectMembersToUpdate(connection: Connection, request: RolloutRequest, content: RolloutContent): Promise<Member[]> {
  return excludeUpToDate(await selectRequested(connection, request, content), request, content);
}

/** Returns the devices without the version. @throws {Problem} `already-installed` if all devices of a rollout that is not dynamic have it. */
function excludeUpToDate(selected: readonly Member[], { joining }: RolloutRequest, { module, version }: RolloutContent): Member[] {
  const members = withoutVersion(selected, version);
  if (members.length === 0 && joining === null)
    throw new Problem('already-installed', `every selected device already runs ${module}@${version}`);
  return members;
}

async function selectRequested(connection: Connection, request: RolloutRequest, content: RolloutContent): Promise<Member[]> {
  const { selector, window } = request.plan;
  if (selector.runningVersion !== null && validRange(selector.runningVersion) === null)
    throw invalidValue('/runningVersion', `"${selector.runningVersion}" is not a semver range, expected for example ">=1.0.0 <2.0.0"`);
  if (window !== null) checkTimeZone(window, '/window');
  const selected = await selectMembers(connection, content, selector, request.devices, request.scope);
  if (selected.length === 0 && request.joining === null)
    throw invalidValue(selectorPointer(selector), 'no device matches: list the devices to see their labels and module versions');
  return selected;
}

/** @throws {Problem} `rollout-conflict` if another open rollout of the same modules shares devices with this one. */
export async function checkNoConflict(connection: Connection, rollout: Pick<RolloutRecord, 'id' | 'module' | 'patchSetId'>): Promise<void> {
  const conflicts = await new RolloutRecords(connection).conflicts(rollout, 'all');
  if (conflicts.length === 0) return;
  const named = conflicts
    .slice(0, namedConflictLimit)
    .map(({ rolloutId, devices }) => `${rolloutId} (${devices} ${devices === 1 ? 'device' : 'devices'})`);
  const others = conflicts.length > namedConflictLimit ? ` and ${conflicts.length - namedConflictLimit} more` : '';
  throw new Problem(
    'rollout-conflict',
    `open rollouts of ${rollout.patchSetId === null ? rollout.module : `modules of ${rollout.module}`} on the same devices: ${named.join(', ')}${others}. Wait for them, abort them, or set "onConflict": "queue"`,
  );
}

/** @throws {Problem} `invalid-value`, `build-yanked`, `already-installed`. */
export async function previewRollout(connection: Connection, requested: RolloutRequest, now: Date): Promise<Preview> {
  const request = await withGroup(connection, requested);
  const content = await findContent(connection, request.content);
  checkUsable(content);
  const selected = await selectRequested(connection, request, content);
  const members = excludeUpToDate(selected, request, content);
  const { targets } = await (await unreachableSplitter(connection, members))(members, request.unreachable);
  const included = new Set(targets.map(({ id }) => id));
  const skipped = new Set(members.flatMap(({ id }) => (included.has(id) ? [] : [id])));
  const numbers = assignWaves(request.plan.waves, targets.length);
  const waves = new Map(targets.map(({ id }, index) => [id, numbers[index] ?? null]));
  const forecasts = await forecastLoads(connection, toForecastContent(content), selected, request.plan.terms);
  const closedOn = await findClosedWindows(connection, [...included], now);
  const isOverridden = request.plan.terms.overrideMaintenanceWindow !== null;
  const devices = await new DeviceRecords(connection).reachabilityOf(selected.map(({ id }) => id));
  const previewed = selected.flatMap(({ id }): PreviewedDevice[] => {
    const device = devices.get(id);
    const forecast = forecasts.get(id);
    if (device === undefined || forecast === undefined) return [];
    const { name, isReachable } = device;
    const hold = isOverridden || !included.has(id) ? null : closedOn(id);
    return [{ device: id, name, isReachable, wave: waves.get(id) ?? null, forecast, isSkipped: skipped.has(id), hold }];
  });
  const others = await new RolloutRecords(connection).findDevicesInOtherRollouts({ id: null, ...content }, [...waves.keys()]);
  const conflicts = [...others].map(([rollout, shared]) => ({ rollout, devices: shared.size }));
  return { devices: previewed, waves: request.plan.waves.length, conflicts };
}

function toForecastContent({ version, patchSetId, builds }: RequestedContent): ForecastContent {
  return { patchSet: patchSetId === null ? null : { version }, builds };
}
