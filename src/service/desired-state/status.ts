// The states of devices under assignments, for the API and the health of the fleet.

import type { LabelSelector } from '../../protocol/label-selector.ts';
import { ChannelRecords } from '../channels/repository.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { Store } from '../database/store.ts';
import { notFound } from '../problem.ts';
import { type AssignmentView, findAssignment } from './assignments.ts';
import { type Decision, decideForDevices, type Evaluation, evaluate } from './evaluation.ts';
import { DesiredStateRecords, type DesiredStateRow, type StateCount } from './repository.ts';
import { type ActiveAssignment, type HeldVersion, readActiveAssignments } from './targets.ts';

/** Devices that the status of an assignment names for each reason. */
const namedDevices = 20;

/** Devices that are not satisfied for the same reason. */
type UnsatisfiedGroup = StateCount & { readonly first: readonly (DesiredStateRow & { readonly name: string })[] };

export type AssignmentStatus = {
  readonly assignment: AssignmentView;
  /** Null if the assignment is off, or if the channel has no version for it. */
  readonly desiredVersion: string | null;
  readonly held: readonly HeldVersion[];
  readonly satisfied: number;
  readonly others: readonly UnsatisfiedGroup[];
};

/** The desired state of one device. */
export type DeviceStatus = { readonly evaluations: readonly (Evaluation & { readonly installed: string | null })[] } & Pick<
  Decision,
  'device' | 'overridden'
>;

type Uses = { readonly store: Store; readonly clock: Clock };

export class DesiredStates {
  readonly #uses: Uses;

  constructor(uses: Uses) {
    this.#uses = uses;
  }

  /** @param reference Identifier or name. @param scope Leaves out the devices that do not match it; null: none. @throws {Problem} `not-found`. */
  async ofAssignment(reference: string, scope: LabelSelector | null): Promise<AssignmentStatus> {
    const { readConnection } = this.#uses.store;
    const assignment = await findAssignment(readConnection, reference);
    const { id } = assignment;
    const active = (await readActiveAssignments(readConnection)).find((other) => other.id === id);
    const records = new DesiredStateRecords(readConnection);
    const counts = active === undefined ? [] : await records.count([id], { scope });
    const others = await Promise.all(
      counts
        .filter(({ state }) => state !== 'satisfied')
        .map(async (count) => ({ ...count, first: await records.first(count, namedDevices, scope) })),
    );
    return {
      assignment,
      desiredVersion: active?.target?.version ?? null,
      held: active?.held ?? [],
      satisfied: counts.find(({ state }) => state === 'satisfied')?.devices ?? 0,
      others,
    };
  }

  /** @param id Identifier of a device. @throws {Problem} `not-found`. */
  async ofDevice(id: string): Promise<DeviceStatus> {
    const { store, clock } = this.#uses;
    const { readConnection } = store;
    const records = new DesiredStateRecords(readConnection);
    const [decision] = await decideForDevices(readConnection, await readActiveAssignments(readConnection), await records.devices([id]));
    if (decision === undefined) throw notFound('device', id);
    const evaluations = await evaluate(readConnection, [decision], await records.ofDevices([id]), clock.now());
    const { device, installed, overridden } = decision;
    const versionOf = ({ row, target }: ActiveAssignment) => {
      if (row.kind === 'build') return installed.get(row.content) ?? null;
      const hasAll = target?.builds.every(({ module, version }) => installed.get(module) === version) === true;
      return hasAll ? target.version : null;
    };
    return { device, overridden, evaluations: evaluations.map((each) => ({ ...each, installed: versionOf(each.assignment) })) };
  }
}

/** An enforced assignment that devices do not satisfy, or whose channel has no version for it. */
export type UnmetAssignment = {
  readonly name: string;
  readonly content: string;
  readonly range: string;
  readonly channel: string;
  /** Whether the channel has no usable version in the range. */
  readonly hasNoVersion: boolean;
  /** The newest version whose rollout was aborted or rolled back; null if there is none. */
  readonly stopped: HeldVersion | null;
  readonly unsatisfied: number;
  /** The first of these devices, and why. */
  readonly first: readonly { readonly name: string; readonly reason: string; readonly detail: string | null }[];
};

/** Returns the enforced assignments that are not met, in the order of their precedence. @param named Devices that each names. */
export async function findUnmetAssignments(connection: Connection, limit: number, named: number): Promise<UnmetAssignment[]> {
  const enforced = (await readActiveAssignments(connection)).filter(({ row }) => row.mode === 'enforce');
  if (enforced.length === 0) return [];
  const records = new DesiredStateRecords(connection);
  const counts = Map.groupBy(
    await records.count(
      enforced.map(({ id }) => id),
      { state: 'unsatisfied' },
    ),
    ({ assignmentId }) => assignmentId,
  );
  const channels = await new ChannelRecords(connection).namesOf(enforced.map(({ row }) => row.channelId));
  const unmet = enforced.filter(
    ({ id, target, held }) => counts.has(id) || stoppedOf(held) !== null || (target === null && held.length === 0),
  );
  return Promise.all(
    unmet.slice(0, limit).map(async ({ id, row, target, held }) => {
      const reasons = counts.get(id) ?? [];
      const first = await Promise.all(reasons.map((count) => records.first(count, named)));
      return {
        name: row.name,
        content: row.content,
        range: row.range,
        channel: channels.get(row.channelId) ?? '',
        hasNoVersion: target === null && held.length === 0,
        stopped: stoppedOf(held),
        unsatisfied: reasons.reduce((sum, { devices }) => sum + devices, 0),
        first: first.flat().slice(0, named),
      };
    }),
  );
}

const stoppedOf = (held: readonly HeldVersion[]) => held.find(({ rollout }) => rollout === 'stopped') ?? null;
