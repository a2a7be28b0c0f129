// Rows of assignments, of their rollouts, and of the states of devices under them.

import { isAssignmentId } from '../../protocol/identifiers.ts';
import type { LabelSelector } from '../../protocol/label-selector.ts';
import type { ContentName } from '../channels/repository.ts';
import { readInChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { AssignmentModel, DesiredStateModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { deviceMatches } from '../database/label-conditions.ts';
import { PreparedQuery, RowStatement } from '../database/prepared-statements.ts';

export type AssignmentRow = AssignmentModel;
/** An assignment whose settings of rollouts are an object of JSON. */
export type NewAssignment = Omit<AssignmentModel, 'rollout'> & { readonly rollout: object };
export type DesiredStateRow = DesiredStateModel;

/** A version that a channel has of the content of an assignment, and the rollout that brings it to the devices. */
export type PromotedVersion = {
  readonly assignmentId: string;
  readonly version: string;
  readonly contentId: string;
  readonly rolloutId: string | null;
  /** Null if there is no rollout. */
  readonly rolloutState: string | null;
};

/** A build that a promoted version has. `contentId` is that of the promotion. */
export type PromotedBuild = {
  readonly contentId: string;
  readonly module: string;
  readonly version: string;
  readonly isUsable: boolean;
};

/** A load that an assignment requested, after its end. */
export type EndedLoad = {
  readonly id: string;
  readonly deviceId: string;
  readonly requestedBy: string | null;
  /** `build` or `patch-set`. */
  readonly kind: string;
  /** The module, or the name of the patch set. */
  readonly module: string;
  readonly version: string;
  readonly outcome: string | null;
  readonly completedAt: Date | null;
};

/** A device that an examination looks at. */
export type ExaminedDevice = {
  readonly id: string;
  readonly name: string;
  readonly hostId: string;
  /** Whether its host is connected and the device is attached. */
  readonly isConnected: boolean;
  readonly isDecommissioned: boolean;
};

/** Number of devices of an assignment in a state, for a reason. */
export type StateCount = Pick<DesiredStateModel, 'assignmentId' | 'state' | 'reason'> & { readonly devices: number };

const stateColumns = {
  deviceId: 'text',
  assignmentId: 'text',
  version: 'text',
  state: 'text',
  reason: 'text',
  detail: 'text?',
  loadId: 'text?',
  attempts: 'integer',
  nextAttemptAt: 'time?',
} as const;

const upsertState = new RowStatement(stateColumns, (sql, state) =>
  sql
    .insertInto('DesiredState')
    .values(state)
    .onConflict((conflict) =>
      conflict.columns(['deviceId', 'assignmentId']).doUpdateSet(({ ref }) => ({
        version: ref('excluded.version'),
        state: ref('excluded.state'),
        reason: ref('excluded.reason'),
        detail: ref('excluded.detail'),
        loadId: ref('excluded.loadId'),
        attempts: ref('excluded.attempts'),
        nextAttemptAt: ref('excluded.nextAttemptAt'),
      })),
    ),
);

const removeState = new RowStatement({ deviceId: 'text', assignmentId: 'text' }, (sql, { deviceId, assignmentId }) =>
  sql.deleteFrom('DesiredState').where('deviceId', '=', deviceId).where('assignmentId', '=', assignmentId),
);

const statesOfDevices = new PreparedQuery({ ids: 'list' }, (sql, { ids }) =>
  sql
    .selectFrom('DesiredState')
    .selectAll()
    .where(({ ref }) => ids.includes(ref('deviceId'))),
);

const openLoadsOfDevices = new PreparedQuery({ ids: 'list' }, (sql, { ids }) =>
  sql
    .selectFrom('Load')
    .select(['id', 'deviceId', 'kind', 'module'])
    .where(({ ref }) => ids.includes(ref('deviceId')))
    .where('outcome', 'is', null),
);

const endedLoadsOfDevices = new PreparedQuery({ ids: 'list', assignments: 'list', since: 'time' }, (sql, { ids, assignments, since }) =>
  sql
    .selectFrom('Load')
    .select(['id', 'deviceId', 'requestedBy', 'kind', 'module', 'version', 'outcome', 'completedAt'])
    .where(({ ref }) => ids.includes(ref('deviceId')))
    .where('requestedAt', '>=', since)
    .where(({ ref }) => assignments.includes(ref('requestedBy')))
    .where('outcome', 'is not', null),
);

const outcomesOfLoads = new PreparedQuery({ ids: 'list' }, (sql, { ids }) =>
  sql
    .selectFrom('Load')
    .select(['id', 'outcome', 'reason'])
    .where(({ ref }) => ids.includes(ref('id'))),
);

const openRolloutsOfDevices = new PreparedQuery({ ids: 'list' }, (sql, { ids }) =>
  sql
    .selectFrom('RolloutDevice')
    .innerJoin('Rollout', 'Rollout.id', 'RolloutDevice.rolloutId')
    .select(['RolloutDevice.deviceId', 'Rollout.id', 'Rollout.module', 'Rollout.patchSetId'])
    .where(({ ref }) => ids.includes(ref('RolloutDevice.deviceId')))
    .where('RolloutDevice.state', 'in', ['waiting', 'loading', 'failed'])
    .where('Rollout.endedAt', 'is', null),
);

export class AssignmentRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create({ rollout, ...assignment }: NewAssignment): Promise<void> {
    await this.#connection.sql
      .insertInto('Assignment')
      .values({ ...assignment, rollout: Json.of(rollout) })
      .execute();
  }

  async replace({ id, rollout, ...assignment }: NewAssignment): Promise<void> {
    await this.#connection.sql
      .updateTable('Assignment')
      .set({ ...assignment, rollout: Json.of(rollout) })
      .where('id', '=', id)
      .execute();
  }

  async remove(id: string): Promise<void> {
    await this.forgetRollouts(id);
    await this.#connection.sql.deleteFrom('Assignment').where('id', '=', id).execute();
  }

  /** Returns the assignment with an identifier or a name. A text in the form of an identifier is an identifier. */
  async find(reference: string): Promise<AssignmentRow | null> {
    const column = isAssignmentId(reference) ? 'id' : 'name';
    const assignment = await this.#connection.sql.selectFrom('Assignment').selectAll().where(column, '=', reference).executeTakeFirst();
    return assignment ?? null;
  }

  /** Returns the assignments that are not off. */
  async listActive(): Promise<AssignmentRow[]> {
    return this.#connection.sql.selectFrom('Assignment').selectAll().where('mode', '<>', 'off').execute();
  }

  /** Returns the names of the assignments of a group or a channel, oldest first. */
  async namesOf(column: 'groupId' | 'channelId', id: string): Promise<string[]> {
    const assignments = this.#connection.sql.selectFrom('Assignment').select('name').where(column, '=', id);
    return (await assignments.orderBy('id').execute()).map(({ name }) => name);
  }

  async count(): Promise<number> {
    const { count } = await this.#connection.sql
      .selectFrom('Assignment')
      .select(({ fn }) => fn.countAll<number | bigint>().as('count'))
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  /** Sets when an assignment may request its next load. */
  async setNextLoad(id: string, nextLoadAt: Date | null): Promise<void> {
    await this.#connection.sql.updateTable('Assignment').set({ nextLoadAt }).where('id', '=', id).execute();
  }

  /** Returns the promoted versions of the contents of the assignments that are not off. */
  async promotedVersions(): Promise<PromotedVersion[]> {
    return this.#connection.sql
      .selectFrom('Assignment')
      .innerJoin('ChannelPromotion', (join) =>
        join
          .onRef('ChannelPromotion.channelId', '=', 'Assignment.channelId')
          .onRef('ChannelPromotion.kind', '=', 'Assignment.kind')
          .onRef('ChannelPromotion.name', '=', 'Assignment.content'),
      )
      .leftJoin('AssignmentRollout', (join) =>
        join
          .onRef('AssignmentRollout.assignmentId', '=', 'Assignment.id')
          .onRef('AssignmentRollout.version', '=', 'ChannelPromotion.version'),
      )
      .leftJoin('Rollout', 'Rollout.id', 'AssignmentRollout.rolloutId')
      .select([
        'Assignment.id as assignmentId',
        'ChannelPromotion.version',
        'ChannelPromotion.contentId',
        'Rollout.id as rolloutId',
        'Rollout.state as rolloutState',
      ])
      .where('Assignment.mode', '<>', 'off')
      .execute();
  }

  /** Returns the builds of promoted builds and patch sets. */
  async buildsOf(contentIds: readonly string[]): Promise<PromotedBuild[]> {
    const { sql } = this.#connection;
    const builds = await readInChunks(contentIds, (some) =>
      sql
        .selectFrom('Build')
        .select(({ and, eb }) => [
          'id as contentId',
          'module',
          'version',
          and([eb('yankReason', 'is', null), eb('imagePrunedAt', 'is', null)]).as('isUsable'),
        ])
        .where('id', 'in', some)
        .execute(),
    );
    const members = await readInChunks(contentIds, (some) =>
      sql
        .selectFrom('PatchSetMember')
        .innerJoin('Build', 'Build.id', 'PatchSetMember.buildId')
        .select(({ and, eb }) => [
          'PatchSetMember.patchSetId as contentId',
          'PatchSetMember.module',
          'PatchSetMember.version',
          and([eb('Build.yankReason', 'is', null), eb('Build.imagePrunedAt', 'is', null)]).as('isUsable'),
        ])
        .where('PatchSetMember.patchSetId', 'in', some)
        .orderBy('PatchSetMember.module')
        .execute(),
    );
    return [...builds, ...members].map((build) => ({ ...build, isUsable: Boolean(build.isUsable) }));
  }

  /** Records the rollout that brings a version to the devices of an assignment, in place of an earlier one. */
  async setRollout(assignmentId: string, version: string, rolloutId: string): Promise<void> {
    await this.#connection.sql
      .insertInto('AssignmentRollout')
      .values({ assignmentId, version, rolloutId })
      .onConflict((conflict) => conflict.columns(['assignmentId', 'version']).doUpdateSet({ rolloutId }))
      .execute();
  }

  /** Returns the rollouts that brought a promoted version to the devices of assignments. */
  async rolloutsOf(
    channelId: string,
    { kind, name }: ContentName,
    version: string,
  ): Promise<{ assignmentId: string; rolloutId: string }[]> {
    return this.#connection.sql
      .selectFrom('AssignmentRollout')
      .innerJoin('Assignment', 'Assignment.id', 'AssignmentRollout.assignmentId')
      .select(['AssignmentRollout.assignmentId', 'AssignmentRollout.rolloutId'])
      .where('Assignment.channelId', '=', channelId)
      .where('Assignment.kind', '=', kind)
      .where('Assignment.content', '=', name)
      .where('AssignmentRollout.version', '=', version)
      .execute();
  }

  /** Forgets the rollouts of an assignment; with a version, only its rollout. */
  async forgetRollouts(assignmentId: string, version?: string): Promise<void> {
    await this.#connection.sql
      .deleteFrom('AssignmentRollout')
      .where('assignmentId', '=', assignmentId)
      .$if(version !== undefined, (query) => query.where('version', '=', version ?? ''))
      .execute();
  }
}

export class DesiredStateRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async save(states: readonly DesiredStateRow[]): Promise<void> {
    if (states.length > 0) await this.#connection.executeForRows(upsertState, states);
  }

  async remove(states: readonly Pick<DesiredStateRow, 'deviceId' | 'assignmentId'>[]): Promise<void> {
    if (states.length > 0) await this.#connection.executeForRows(removeState, states);
  }

  /** Removes the states of all devices of an assignment. */
  async removeOf(assignmentId: string): Promise<void> {
    await this.#connection.sql.deleteFrom('DesiredState').where('assignmentId', '=', assignmentId).execute();
  }

  /** Returns whether there are states of any device. */
  async hasAny(): Promise<boolean> {
    return (await this.#connection.sql.selectFrom('DesiredState').select('deviceId').limit(1).execute()).length > 0;
  }

  async ofDevices(ids: readonly string[]): Promise<DesiredStateRow[]> {
    return ids.length === 0 ? [] : this.#connection.query(statesOfDevices, { ids });
  }

  /** Returns the next devices after an identifier, decommissioned ones too, sorted by identifier. */
  async devicesAfter(id: string, limit: number): Promise<ExaminedDevice[]> {
    return this.#toExamined(await this.#devices().where('Device.id', '>', id).orderBy('Device.id').limit(limit).execute());
  }

  async devices(ids: readonly string[]): Promise<ExaminedDevice[]> {
    return this.#toExamined(await readInChunks(ids, (some) => this.#devices().where('Device.id', 'in', some).execute()));
  }

  /** Compared in SQL, so that an undecodable time does not block the examination of the others. */
  #devices() {
    return this.#connection.sql
      .selectFrom('Device')
      .innerJoin('Host', 'Host.id', 'Device.hostId')
      .select(({ and, eb }) => [
        'Device.id',
        'Device.name',
        'Device.hostId',
        and([eb('Host.unreachableSince', 'is', null), eb('Device.attachedBootId', 'is not', null)]).as('isConnected'),
        eb('Device.decommissionedAt', 'is not', null).as('isDecommissioned'),
      ]);
  }

  #toExamined(rows: readonly { id: string; name: string; hostId: string; isConnected: unknown; isDecommissioned: unknown }[]) {
    return rows.map((row) => ({ ...row, isConnected: Boolean(row.isConnected), isDecommissioned: Boolean(row.isDecommissioned) }));
  }

  /** Returns the first devices of an assignment for which a load may be requested now. */
  async listDue(assignmentId: string, now: Date, limit: number): Promise<string[]> {
    const { sql } = this.#connection;
    const waiting = await sql
      .selectFrom('DesiredState')
      .select('deviceId')
      .where('assignmentId', '=', assignmentId)
      .where('state', '=', 'pending')
      .where('reason', '=', 'waiting')
      .orderBy('deviceId')
      .limit(limit)
      .execute();
    const retried = await sql
      .selectFrom('DesiredState')
      .select('deviceId')
      .where('assignmentId', '=', assignmentId)
      .where('nextAttemptAt', '<=', now)
      .orderBy('nextAttemptAt')
      .limit(limit)
      .execute();
    return [...new Set([...waiting, ...retried].map(({ deviceId }) => deviceId))].slice(0, limit);
  }

  /** Returns the loads of these devices that have not ended. */
  async openLoads(ids: readonly string[]): Promise<{ id: string; deviceId: string; kind: string; module: string }[]> {
    return ids.length === 0 ? [] : this.#connection.query(openLoadsOfDevices, { ids });
  }

  /** Returns the ended loads that assignments requested for these devices since a time. */
  async endedLoads(ids: readonly string[], assignments: readonly string[], since: Date): Promise<EndedLoad[]> {
    return ids.length === 0 ? [] : this.#connection.query(endedLoadsOfDevices, { ids, assignments, since });
  }

  /** Returns the outcomes of loads, by load identifier. Null: the load has not ended. */
  async outcomesOf(ids: readonly string[]): Promise<Map<string, { readonly outcome: string | null; readonly reason: string | null }>> {
    const loads = ids.length === 0 ? [] : await this.#connection.query(outcomesOfLoads, { ids });
    return new Map(loads.map(({ id, ...end }) => [id, end]));
  }

  /** Returns the open rollouts in which these devices do not have the version yet. */
  async openRollouts(ids: readonly string[]): Promise<{ deviceId: string; id: string; module: string; patchSetId: string | null }[]> {
    return ids.length === 0 ? [] : this.#connection.query(openRolloutsOfDevices, { ids });
  }

  /** Returns the modules of patch sets, by patch set identifier. */
  async modulesOfSets(ids: readonly string[]): Promise<Map<string, string[]>> {
    const members = await readInChunks(ids, (some) =>
      this.#connection.sql.selectFrom('PatchSetMember').select(['patchSetId', 'module']).where('patchSetId', 'in', some).execute(),
    );
    return new Map(ids.map((id) => [id, members.filter(({ patchSetId }) => patchSetId === id).map(({ module }) => module)]));
  }

  /** Counts the devices of assignments in each state. @param only Only devices in this state, or that match this scope; null: all. */
  async count(
    assignmentIds: readonly string[],
    { state, scope = null }: { readonly state?: string; readonly scope?: LabelSelector | null } = {},
  ): Promise<StateCount[]> {
    const counts = await readInChunks(assignmentIds, (some) =>
      this.#connection.sql
        .selectFrom('DesiredState')
        .select(({ fn }) => ['assignmentId', 'state', 'reason', fn.countAll<number | bigint>().as('devices')])
        .where('assignmentId', 'in', some)
        .$if(state !== undefined, (query) => query.where('state', '=', state ?? ''))
        .$if(scope !== null, (query) => query.where(({ ref }) => deviceMatches(ref('DesiredState.deviceId'), scope ?? [])))
        .groupBy(['assignmentId', 'state', 'reason'])
        .orderBy('assignmentId')
        .orderBy('state')
        .orderBy('reason')
        .execute(),
    );
    return counts.map(({ devices, ...count }) => ({ ...count, devices: Number(devices) }));
  }

  /** Returns the first devices of an assignment in a state, for a reason, with their names. @param scope Only devices that match it; null: all. */
  async first(
    { assignmentId, state, reason }: Omit<StateCount, 'devices'>,
    limit: number,
    scope: LabelSelector | null = null,
  ): Promise<(DesiredStateRow & { name: string })[]> {
    return this.#connection.sql
      .selectFrom('DesiredState')
      .innerJoin('Device', 'Device.id', 'DesiredState.deviceId')
      .selectAll('DesiredState')
      .select('Device.name')
      .where('assignmentId', '=', assignmentId)
      .where('DesiredState.state', '=', state)
      .where('reason', '=', reason)
      .$if(scope !== null, (query) => query.where(({ ref }) => deviceMatches(ref('DesiredState.deviceId'), scope ?? [])))
      .orderBy('deviceId')
      .limit(limit)
      .execute();
  }
}
