// Groups: named label selectors. A group contains the devices that match its selector now.

import { isDeepStrictEqual } from 'node:util';
import { isGroupId, newIdentifier } from '../../protocol/identifiers.ts';
import { type LabelSelector, parseLabelSelector } from '../../protocol/label-selector.ts';
import { type AuditEntry, audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { DamagedItem } from '../database/damaged-rows.ts';
import type { PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { invalidValue, notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { formatWindows, maintenanceLimits, readWindows } from './maintenance-windows.ts';
import { GroupQueries } from './queries.ts';
import { type GroupRecord, GroupRecords } from './repository.ts';
import { checkTimeZone, type ScheduleWindow } from './schedule-window.ts';

/** Maximum number of groups. */
const groupLimit = 1_000;

/** The content of a group. */
export type GroupRequest = Pick<GroupRecord, 'name' | 'selector' | 'description'> & {
  readonly maintenanceWindows: readonly ScheduleWindow[];
};

/** Returns the objects that depend on a group, as text such as "the signature policy released"; empty if there are none. */
type FindUsers = (connection: Connection, groupId: string) => Promise<readonly string[]>;
type IsExpected = (current: GroupRecord) => boolean;

export class Groups {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #findUsers: FindUsers;

  /** @param findUsers Called in the transaction that removes a group. */
  constructor({ store, clock }: { readonly store: Store; readonly clock: Clock }, findUsers: FindUsers) {
    this.#store = store;
    this.#clock = clock;
    this.#findUsers = findUsers;
  }

  /** @throws {Problem} `invalid-value`, `name-taken`, `too-many-groups`. */
  async create(request: GroupRequest, requester: Requester, toResponse: ToResponse<GroupRecord>): Promise<GroupRecord> {
    return this.#store.transaction(async (connection) => {
      if ((await new GroupRecords(connection).count()) >= groupLimit)
        throw new Problem('too-many-groups', `limit reached: ${groupLimit} groups. Delete one first`);
      await checkName(connection, request.name, null);
      await checkWindows(connection, request, null);
      const group: GroupRecord = { id: newIdentifier('group'), createdAt: this.#clock.now(), ...toContent(request) };
      await new GroupRecords(connection).create(group);
      await audit(connection, requester, group.createdAt, [toAuditEntry('created', group.id, describeGroup(group))]);
      await storeResponse(connection, requester, toResponse, group);
      return group;
    });
  }

  /** @param reference Identifier or name. @throws {Problem} `not-found`. */
  async find(reference: string): Promise<GroupRecord> {
    return findGroup(this.#store.readConnection, reference);
  }

  /** Counts the devices of a group now. @param scope Only those that match it; null: all. */
  async countDevices({ selector }: GroupRecord, scope: LabelSelector | null): Promise<number> {
    return new GroupRecords(this.#store.readConnection).countDevices([...parseLabelSelector(selector), ...(scope ?? [])]);
  }

  async list(page: PageByTime): Promise<PageResult<GroupRecord | DamagedItem, PageByTime>> {
    return readMarkedPage(page, {
      read: (wanted) => new GroupQueries(this.#store.reader).list(wanted),
      positionOf: ({ createdAt, id }) => ({ time: createdAt, key: id }),
      positionOfUndecodable: undecodablePosition.byTime,
    });
  }

  /**
   * Replaces a group. Does nothing if the content is the same.
   * @param isExpected Returns whether the current group is the one that the client has seen (`If-Match`).
   * @throws {Problem} `not-found`, `precondition-failed`, `invalid-value`, `name-taken`.
   */
  async replace(reference: string, request: GroupRequest, isExpected: IsExpected, requester: Requester): Promise<GroupRecord> {
    return this.#store.transaction(async (connection) => {
      const current = await findExpected(connection, reference, isExpected);
      await checkName(connection, request.name, current.id);
      await checkWindows(connection, request, current);
      const group = { ...current, ...toContent(request) };
      const [before, after] = [describeGroup(current), describeGroup(group)];
      if (isDeepStrictEqual(before, after)) return current;
      await new GroupRecords(connection).replace(group);
      await audit(connection, requester, this.#clock.now(), [toAuditEntry('replaced', group.id, { before, after })]);
      return group;
    });
  }

  /** Removes a group that no other object depends on. @throws {Problem} `not-found`, `precondition-failed`, `group-in-use`. */
  async remove(reference: string, isExpected: IsExpected, requester: Requester): Promise<void> {
    await this.#store.transaction(async (connection) => {
      const group = await findExpected(connection, reference, isExpected);
      const users = await this.#findUsers(connection, group.id);
      if (users.length > 0)
        throw new Problem(
          'group-in-use',
          `${users.join(', ')} ${users.length === 1 ? 'uses' : 'use'} the group ${group.name}: change that first`,
        );
      await new GroupRecords(connection).remove(group.id);
      await audit(connection, requester, this.#clock.now(), [toAuditEntry('removed', group.id, describeGroup(group))]);
    });
  }
}

/**
 * Returns the group that a request names to select devices.
 * @param pointer JSON pointer of the name, or `query:` and the parameter.
 * @throws {Problem} `invalid-value`.
 */
export async function resolveGroup(connection: Connection, reference: string, pointer = '/group'): Promise<GroupRecord> {
  const group = await new GroupRecords(connection).find(reference);
  if (group === null) throw invalidValue(pointer, `the group ${reference} does not exist: list the groups to see their names`);
  return group;
}

function toAuditEntry(change: 'created' | 'replaced' | 'removed', object: string, detail: AuditEntry['detail']): AuditEntry {
  return { action: `group.${change}`, object, detail };
}

/** Returns the content of a group for the audit trail. All values are strings, because the details of a change nest two of these records. */
function describeGroup({ name, selector, description, maintenanceWindows }: GroupRecord): Record<string, string> {
  return {
    name,
    selector,
    ...(description === null ? {} : { description }),
    ...(maintenanceWindows === null ? {} : { maintenanceWindows: describeWindows(maintenanceWindows) }),
  };
}

/** A group with damaged windows can still be replaced or deleted. */
function describeWindows(stored: unknown): string {
  const windows = readWindows(stored);
  return windows === null ? 'damaged' : formatWindows(windows);
}

/** Returns the stored form of a request: without windows, the column is null. */
function toContent({ maintenanceWindows, ...content }: GroupRequest): Omit<GroupRecord, 'id' | 'createdAt'> {
  const windows = maintenanceWindows.map(({ days, ...window }) => ({ ...window, days: [...days] }));
  return { ...content, maintenanceWindows: windows.length === 0 ? null : windows };
}

/** @param current The group that gets the windows; null for a new group. @throws {Problem} `invalid-value`, `too-many-groups`. */
async function checkWindows(connection: Connection, { maintenanceWindows }: GroupRequest, current: GroupRecord | null): Promise<void> {
  for (const [index, window] of maintenanceWindows.entries()) checkTimeZone(window, `/maintenanceWindows/${index}`);
  const hadWindows = current !== null && current.maintenanceWindows !== null;
  if (maintenanceWindows.length === 0 || hadWindows) return;
  const { groups } = maintenanceLimits;
  if ((await new GroupRecords(connection).listWithWindows()).length >= groups)
    throw new Problem('too-many-groups', `limit reached: ${groups} groups with maintenance windows. Remove those of another group first`);
}

async function findGroup(connection: Connection, reference: string): Promise<GroupRecord> {
  const group = await new GroupRecords(connection).find(reference);
  if (group === null) throw notFound('group', reference);
  return group;
}

async function findExpected(connection: Connection, reference: string, isExpected: IsExpected): Promise<GroupRecord> {
  const group = await findGroup(connection, reference);
  if (isExpected(group)) return group;
  throw new Problem('precondition-failed', `the group ${group.name} has changed since it was read: read it again before you change it`);
}

/** @param ownId Identifier of the group that gets the name; null for a new group. @throws {Problem} `invalid-value`, `name-taken`. */
async function checkName(connection: Connection, name: string, ownId: string | null): Promise<void> {
  if (isGroupId(name)) throw invalidValue('/name', 'has the form of an identifier: choose another name');
  const holder = await new GroupRecords(connection).find(name);
  if (holder === null || holder.id === ownId) return;
  const detail = `the name "${name}" is taken by the group ${holder.id}: choose another name`;
  throw new Problem('name-taken', detail, { invalidValues: [{ pointer: '/name', detail }] });
}
