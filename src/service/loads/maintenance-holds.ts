// Decides which loads are held because the maintenance windows of their devices are closed, and which requests are rejected for that reason.

import { isAssignmentId } from '../../protocol/identifiers.ts';
import type { Connection } from '../database/connection.ts';
import { type ClosedOn, type ClosedWindows, findClosedWindows } from '../devices/closed-windows.ts';
import { DeviceRecords } from '../devices/repository.ts';
import type { SelectedDevice } from '../devices/selection.ts';
import { maintenanceLimits } from '../groups/maintenance-windows.ts';
import { Problem } from '../problem.ts';
import type { HoldableLoad, OpenLoadCount } from './repository.ts';

/** Devices and groups that an error message names. */
const namedLimit = 10;

/** Why a load is held: until when, as far as known. */
export type Hold = { readonly until: Date | null };
/** Returns the hold of a new load for a device; null if its order is sent at once. */
export type HoldOn = (deviceId: string) => Hold | null;

/** Returns the holds of new loads. A load never overtakes a held load of its device. @param open The open loads by device. */
export function holdsOf(open: ReadonlyMap<string, OpenLoadCount>, closedOn: ClosedOn, now: Date): HoldOn {
  return (deviceId) => closedOn(deviceId) ?? ((open.get(deviceId)?.held ?? 0) > 0 ? { until: now } : null);
}

/**
 * Returns the deadline of a load that is held although it was requested while the windows were open; null if the request chose the deadline. Rollouts
 * and assignments do not choose when they load: their deadline begins when the load is released.
 */
export function deadlineOfHold({ rolloutId, requestedBy }: Pick<HoldableLoad, 'rolloutId' | 'requestedBy'>, heldSince: Date): Date | null {
  const isPlanned = rolloutId !== null || (requestedBy !== null && isAssignmentId(requestedBy));
  return isPlanned ? new Date(heldSince.getTime() + maintenanceLimits.searchMilliseconds) : null;
}

type Request = {
  readonly targets: readonly { readonly device: Pick<SelectedDevice, 'id'> }[];
  readonly terms: { readonly deadlineSeconds: number; readonly overrideMaintenanceWindow: { readonly reason: string } | null };
  readonly deadlineFromRelease?: boolean;
};

/** Returns the problem of a request whose deadline passes before the maintenance windows of all its devices have opened; null if there is none. */
export async function rejectClosed(
  connection: Connection,
  { targets, terms, deadlineFromRelease = false }: Request,
  closedOn: ClosedOn,
  now: Date,
): Promise<Problem | null> {
  if (deadlineFromRelease || terms.overrideMaintenanceWindow !== null) return null;
  const deadline = new Date(now.getTime() + terms.deadlineSeconds * 1_000);
  const late = targets.flatMap(({ device: { id } }) => {
    const closed = closedOn(id);
    return closed === null || (closed.until !== null && closed.until < deadline) ? [] : [{ id, closed }];
  });
  return late.length === 0 ? null : windowsClosed(connection, late, deadline, now);
}

/** The same check for the preview of a request. @throws {Problem} `windows-closed`. */
export async function checkOpensInTime(connection: Connection, request: Request, now: Date): Promise<ClosedOn> {
  const ids = request.targets.map(({ device }) => device.id);
  const closedOn = await findClosedWindows(connection, ids, now);
  const problem = await rejectClosed(connection, request, closedOn, now);
  if (problem !== null) throw problem;
  return closedOn;
}

type LateDevice = { readonly id: string; readonly closed: ClosedWindows };

async function windowsClosed(connection: Connection, late: readonly LateDevice[], deadline: Date, now: Date): Promise<Problem> {
  const known = await new DeviceRecords(connection).findMany(late.slice(0, namedLimit).map(({ id }) => id));
  const names = nameSome(known.map(({ name }) => name).toSorted(), late.length);
  const groups = [...new Set(late.flatMap(({ closed }) => closed.groups))].toSorted();
  const devices = late.length === 1 ? 'device' : `${late.length} devices`;
  const closed = `the maintenance windows of the ${devices} ${names} are closed (groups: ${nameSome(groups.slice(0, namedLimit), groups.length)})`;
  return new Problem(
    'windows-closed',
    `${closed}, and ${describeOpening(late, deadline, now)}, or override the windows with a reason ("overrideMaintenanceWindow"); no load was created`,
  );
}

/** Returns when the last of the devices opens, and which deadline would be long enough. */
function describeOpening(late: readonly LateDevice[], deadline: Date, now: Date): string {
  const openings = late.map(({ closed }) => closed.until?.getTime() ?? Number.POSITIVE_INFINITY);
  const last = Math.max(...openings);
  if (last === Number.POSITIVE_INFINITY) return 'they do not all open within 30 days: change the windows of the groups';
  const opens = `they open at ${new Date(last).toISOString()}, not before the deadline of the loads at ${deadline.toISOString()}`;
  // The load needs some time after the opening.
  const seconds = Math.ceil((last - now.getTime()) / 1_000) + 60;
  if (seconds * 1_000 > maintenanceLimits.searchMilliseconds) return `${opens}: wait`;
  return `${opens}: use a deadline of ${seconds} seconds or more ("deadlineSeconds")`;
}

const nameSome = (names: readonly string[], total: number) =>
  `${names.join(', ')}${total > names.length ? ` and ${total - names.length} more` : ''}`;
