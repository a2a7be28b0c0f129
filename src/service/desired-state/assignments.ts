// Assignments: the version of a module or a patch set that the devices of a group should have.

import { isDeepStrictEqual } from 'node:util';
import { validRange } from 'semver';
import { isAssignmentId, newIdentifier } from '../../protocol/identifiers.ts';
import { type AuditEntry, audit } from '../audit-events/entry.ts';
import { ChannelRecords } from '../channels/repository.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import { DamagedItem, readOrMark } from '../database/damaged-rows.ts';
import type { PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { resolveGroup } from '../groups/groups.ts';
import { GroupRecords } from '../groups/repository.ts';
import { checkTimeZone } from '../groups/schedule-window.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { invalidValue, notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { AssignmentQueries } from './queries.ts';
import { AssignmentRecords, type AssignmentRow, DesiredStateRecords } from './repository.ts';
import { RolloutSettings } from './rollout-settings.ts';

/** Maximum number of assignments: each pass of the reconciler reads all of them. */
const assignmentLimit = 200;

export const assignmentModes = ['off', 'report', 'enforce'] as const;
type AssignmentMode = (typeof assignmentModes)[number];

export type AssignmentRecord = Omit<AssignmentRow, 'rollout'> & { readonly rollout: RolloutSettings };

/** An assignment with the names of its group and its channel. */
export type AssignmentView = AssignmentRecord & { readonly groupName: string; readonly channelName: string };

/** The content of an assignment. */
export type AssignmentRequest = Pick<AssignmentRecord, 'name' | 'range' | 'priority' | 'devicesPerMinute' | 'rollout'> & {
  /** Identifier or name. */
  readonly group: string;
  /** Identifier or name. */
  readonly channel: string;
  readonly kind: 'build' | 'patch-set';
  readonly content: string;
  readonly mode: AssignmentMode;
};

type IsExpected = (current: AssignmentRecord) => boolean;

type Uses = {
  readonly store: Store;
  readonly clock: Clock;
  /** Called after an assignment has changed. */
  readonly onChange: () => void;
};

export class Assignments {
  readonly #uses: Uses;

  constructor(uses: Uses) {
    this.#uses = uses;
  }

  /** @throws {Problem} `invalid-value`, `name-taken`, `too-many-assignments`. */
  async create(request: AssignmentRequest, requester: Requester, toResponse: ToResponse<AssignmentView>): Promise<AssignmentView> {
    const created = await this.#uses.store.transaction(async (connection) => {
      const records = new AssignmentRecords(connection);
      if ((await records.count()) >= assignmentLimit)
        throw new Problem('too-many-assignments', `limit reached: ${assignmentLimit} assignments. Delete one first`);
      const assignment: AssignmentRecord = {
        id: newIdentifier('assignment'),
        createdAt: this.#uses.clock.now(),
        nextLoadAt: null,
        ...(await validate(connection, request, null)),
      };
      await records.create(assignment);
      await audit(connection, requester, assignment.createdAt, [toAuditEntry('created', assignment.id, describeAssignment(assignment))]);
      const view = await withNames(connection, assignment);
      await storeResponse(connection, requester, toResponse, view);
      return view;
    });
    this.#uses.onChange();
    return created;
  }

  /** @param reference Identifier or name. @throws {Problem} `not-found`. */
  async find(reference: string): Promise<AssignmentView> {
    return findAssignment(this.#uses.store.readConnection, reference);
  }

  async list(page: PageByTime): Promise<PageResult<AssignmentView | DamagedItem, PageByTime>> {
    const found = await readMarkedPage(page, {
      read: (wanted) => new AssignmentQueries(this.#uses.store.reader).list(wanted),
      positionOf: ({ createdAt, id }) => ({ time: createdAt, key: id }),
      positionOfUndecodable: undecodablePosition.byTime,
    });
    const { readConnection } = this.#uses.store;
    const toView = await readNames(
      readConnection,
      found.items.flatMap((row) => (row instanceof DamagedItem ? [] : [row])),
    );
    const items = found.items.map((row) =>
      row instanceof DamagedItem ? row : readOrMark(row, row.id, () => toView(toAssignmentRecord(row))),
    );
    return { ...found, items };
  }

  /**
   * Replaces an assignment atomically. Rollouts that were started for another content no longer count.
   * @param isExpected Returns whether the current assignment is the one that the client has seen (`If-Match`).
   * @throws {Problem} `not-found`, `precondition-failed`, `invalid-value`, `name-taken`.
   */
  async replace(reference: string, request: AssignmentRequest, isExpected: IsExpected, requester: Requester): Promise<AssignmentView> {
    const replaced = await this.#uses.store.transaction(async (connection) => {
      const current = await findExpected(connection, reference, isExpected);
      const assignment = { ...current, ...(await validate(connection, request, current.id)) };
      const [before, after] = [describeAssignment(current), describeAssignment(assignment)];
      if (isDeepStrictEqual(before, after)) return withNames(connection, current);
      const records = new AssignmentRecords(connection);
      const isSameContent = current.kind === assignment.kind && current.content === assignment.content;
      if (!isSameContent || current.channelId !== assignment.channelId) await records.forgetRollouts(current.id);
      // Attempts and delays are those of the content.
      if (!isSameContent) await new DesiredStateRecords(connection).removeOf(current.id);
      await records.replace(assignment);
      await audit(connection, requester, this.#uses.clock.now(), [toAuditEntry('replaced', assignment.id, { before, after })]);
      return withNames(connection, assignment);
    });
    this.#uses.onChange();
    return replaced;
  }

  /** Removes an assignment. Devices and open rollouts are not changed. @throws {Problem} `not-found`, `precondition-failed`. */
  async remove(reference: string, isExpected: IsExpected, requester: Requester): Promise<void> {
    await this.#uses.store.transaction(async (connection) => {
      const current = await findExpected(connection, reference, isExpected);
      await new AssignmentRecords(connection).remove(current.id);
      await audit(connection, requester, this.#uses.clock.now(), [toAuditEntry('removed', current.id, describeAssignment(current))]);
    });
    this.#uses.onChange();
  }
}

/** Returns the assignments of a group, as text. */
export async function assignmentsOfGroup(connection: Connection, groupId: string): Promise<string[]> {
  return (await new AssignmentRecords(connection).namesOf('groupId', groupId)).map((name) => `the assignment ${name}`);
}

/** Returns the assignments that follow a channel, as text. */
export async function assignmentsOfChannel(connection: Connection, channelId: string): Promise<string[]> {
  return (await new AssignmentRecords(connection).namesOf('channelId', channelId)).map((name) => `the assignment ${name}`);
}

/** Returns an assignment by its identifier or name. @throws {Problem} `not-found`. */
export async function findAssignment(connection: Connection, reference: string): Promise<AssignmentView> {
  return withNames(connection, await findRecord(connection, reference));
}

async function findRecord(connection: Connection, reference: string): Promise<AssignmentRecord> {
  const row = await new AssignmentRecords(connection).find(reference);
  if (row === null) throw notFound('assignment', reference);
  return toAssignmentRecord(row);
}

async function withNames(connection: Connection, assignment: AssignmentRecord): Promise<AssignmentView> {
  return (await readNames(connection, [assignment]))(assignment);
}

type Named = Pick<AssignmentRecord, 'groupId' | 'channelId'>;

/** Returns a function that adds the names of the group and the channel to one of the assignments. */
async function readNames(connection: Connection, assignments: readonly Named[]): Promise<(assignment: AssignmentRecord) => AssignmentView> {
  const groups = await new GroupRecords(connection).namesOf(assignments.map(({ groupId }) => groupId));
  const channels = await new ChannelRecords(connection).namesOf(assignments.map(({ channelId }) => channelId));
  return (assignment) => ({
    ...assignment,
    groupName: groups.get(assignment.groupId) ?? '',
    channelName: channels.get(assignment.channelId) ?? '',
  });
}

/** Parses a stored assignment. @throws {z.ZodError} if it is invalid. */
function toAssignmentRecord({ rollout, ...assignment }: AssignmentRow): AssignmentRecord {
  return { ...assignment, rollout: RolloutSettings.parse(rollout) };
}

async function findExpected(connection: Connection, reference: string, isExpected: IsExpected): Promise<AssignmentRecord> {
  const assignment = await findRecord(connection, reference);
  if (isExpected(assignment)) return assignment;
  throw new Problem(
    'precondition-failed',
    `the assignment ${assignment.name} has changed since it was read: read it again before you change it`,
  );
}

function toAuditEntry(change: 'created' | 'replaced' | 'removed', object: string, detail: AuditEntry['detail']): AuditEntry {
  return { action: `assignment.${change}`, object, detail };
}

/** Returns the content of an assignment for the audit trail. All values are strings, because the details of a change nest two of these records. */
function describeAssignment(assignment: AssignmentRecord): Record<string, string> {
  const { name, groupId, channelId, kind, content, range, mode, priority, devicesPerMinute, rollout } = assignment;
  return {
    name,
    group: groupId,
    channel: channelId,
    [kind === 'build' ? 'module' : 'patchSet']: content,
    range,
    mode,
    priority: String(priority),
    devicesPerMinute: String(devicesPerMinute),
    rollout: JSON.stringify(rollout).slice(0, 5_000),
  };
}

/**
 * Returns the columns of an assignment.
 * @param ownId Identifier of the assignment to replace; null for a new one.
 * @throws {Problem} `invalid-value`, `name-taken`.
 */
async function validate(
  connection: Connection,
  { group, channel, ...request }: AssignmentRequest,
  ownId: string | null,
): Promise<Omit<AssignmentRecord, 'id' | 'createdAt' | 'nextLoadAt'>> {
  const { name, range, rollout } = request;
  if (isAssignmentId(name)) throw invalidValue('/name', 'has the form of an identifier: choose another name');
  const holder = await new AssignmentRecords(connection).find(name);
  if (holder !== null && holder.id !== ownId) {
    const detail = `the name "${name}" is taken by the assignment ${holder.id}: choose another name`;
    throw new Problem('name-taken', detail, { invalidValues: [{ pointer: '/name', detail }] });
  }
  if (validRange(range) === null) throw invalidValue('/range', `"${range}" is not a semver range, expected for example "^2.1"`);
  if (rollout.window !== null) checkTimeZone(rollout.window, '/window');
  const groupId = (await resolveGroup(connection, group)).id;
  const followed = await new ChannelRecords(connection).find(channel);
  if (followed === null) throw invalidValue('/channel', `the channel ${channel} does not exist: list the channels to see their names`);
  return { ...request, groupId, channelId: followed.id };
}
