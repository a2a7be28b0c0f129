// Signature policies: which publishers must sign a build before a device, or every device with some labels, loads it.

import { isDeepStrictEqual } from 'node:util';
import { newIdentifier } from '../../protocol/identifiers.ts';
import { type AuditEntry, audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import { DamagedItem, readOrMark } from '../database/damaged-rows.ts';
import type { PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { readNamed } from '../devices/selection.ts';
import { resolveGroup } from '../groups/groups.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { invalidValue, notFound, Problem } from '../problem.ts';
import { PublisherKeyRecords } from '../publisher-keys/repository.ts';
import type { Requester } from '../requester.ts';
import { SignaturePolicyQueries } from './queries.ts';
import { type SignaturePolicyRecord, SignaturePolicyRecords, toPolicyRecord } from './repository.ts';

/** Maximum number of policies: the order of a load contains all policies of its device. */
const policyLimit = 100;

/** The content of a policy. */
export type SignaturePolicyRequest = {
  readonly name: string;
  /** One device, or the devices that match all other members. At least one member is not null. */
  readonly scope: Pick<SignaturePolicyRecord, 'labels' | 'selector'> & {
    /** Identifier or name. */
    readonly device: string | null;
    /** Identifier or name. */
    readonly group: string | null;
  };
  /** Null: every module. */
  readonly module: string | null;
  /** Identifiers of publisher keys. */
  readonly publisherKeys: readonly string[];
  /** Number of keys that must have signed; null: all. */
  readonly threshold: number | null;
};

type IsExpected = (current: SignaturePolicyRecord) => boolean;

export class SignaturePolicies {
  readonly #store: Store;
  readonly #clock: Clock;

  constructor({ store, clock }: { readonly store: Store; readonly clock: Clock }) {
    this.#store = store;
    this.#clock = clock;
  }

  /** @throws {Problem} `invalid-value`, `name-taken`, `too-many-policies`. */
  async create(
    request: SignaturePolicyRequest,
    requester: Requester,
    toResponse: ToResponse<SignaturePolicyRecord>,
  ): Promise<SignaturePolicyRecord> {
    return this.#store.transaction(async (connection) => {
      if ((await new SignaturePolicyRecords(connection).count()) >= policyLimit)
        throw new Problem('too-many-policies', `limit reached: ${policyLimit} signature policies. Remove one first`);
      const policy: SignaturePolicyRecord = {
        id: newIdentifier('signature policy'),
        createdAt: this.#clock.now(),
        ...(await validate(connection, request, null)),
      };
      await new SignaturePolicyRecords(connection).create(policy);
      await audit(connection, requester, policy.createdAt, [toAuditEntry('created', policy.id, describePolicy(policy))]);
      await storeResponse(connection, requester, toResponse, policy);
      return policy;
    });
  }

  /** @throws {Problem} `not-found`. */
  async find(id: string): Promise<SignaturePolicyRecord> {
    return findPolicy(this.#store.readConnection, id);
  }

  async list(page: PageByTime): Promise<PageResult<SignaturePolicyRecord | DamagedItem, PageByTime>> {
    const found = await readMarkedPage(page, {
      read: (wanted) => new SignaturePolicyQueries(this.#store.reader).list(wanted),
      positionOf: ({ createdAt, id }) => ({ time: createdAt, key: id }),
      positionOfUndecodable: undecodablePosition.byTime,
    });
    return {
      ...found,
      items: found.items.map((policy) => (policy instanceof DamagedItem ? policy : readOrMark(policy, policy.id, toPolicyRecord))),
    };
  }

  /**
   * Replaces a policy atomically.
   * @param isExpected Returns whether the current policy is the one that the client has seen (`If-Match`).
   * @throws {Problem} `not-found`, `precondition-failed`, `invalid-value`, `name-taken`.
   */
  async replace(id: string, request: SignaturePolicyRequest, isExpected: IsExpected, requester: Requester): Promise<SignaturePolicyRecord> {
    return this.#store.transaction(async (connection) => {
      const current = await findExpected(connection, id, isExpected);
      const policy = { ...current, ...(await validate(connection, request, id)) };
      const [before, after] = [describePolicy(current), describePolicy(policy)];
      if (isDeepStrictEqual(before, after)) return current;
      await new SignaturePolicyRecords(connection).replace(policy);
      await audit(connection, requester, this.#clock.now(), [toAuditEntry('replaced', id, { before, after })]);
      return policy;
    });
  }

  /** Removes a policy; it does not apply to loads requested from now on. @throws {Problem} `not-found`, `precondition-failed`. */
  async remove(id: string, isExpected: IsExpected, requester: Requester): Promise<void> {
    await this.#store.transaction(async (connection) => {
      const current = await findExpected(connection, id, isExpected);
      await new SignaturePolicyRecords(connection).remove(id);
      await audit(connection, requester, this.#clock.now(), [toAuditEntry('removed', id, describePolicy(current))]);
    });
  }
}

function toAuditEntry(change: 'created' | 'replaced' | 'removed', object: string, detail: AuditEntry['detail']): AuditEntry {
  return { action: `signature-policy.${change}`, object, detail };
}

/** Returns the content of a policy for the audit trail. All values are strings, because the details of a change nest two of these records. */
function describePolicy({
  name,
  deviceId,
  labels,
  selector,
  groupId,
  module,
  publisherKeys,
  threshold,
}: SignaturePolicyRecord): Record<string, string> {
  return {
    name,
    ...(deviceId === null ? {} : { device: deviceId }),
    ...(labels === null ? {} : { labels: formatLabels(labels) }),
    ...(selector === null ? {} : { selector }),
    ...(groupId === null ? {} : { group: groupId }),
    ...(module === null ? {} : { module }),
    publisherKeys: publisherKeys.join(','),
    threshold: String(threshold),
  };
}

/** Sorts labels by key, so that the same labels give the same string. */
function formatLabels(labels: Readonly<Record<string, string>>): string {
  const texts = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return texts.toSorted().join(',');
}

async function findPolicy(connection: Connection, id: string): Promise<SignaturePolicyRecord> {
  const policy = await new SignaturePolicyRecords(connection).find(id);
  if (policy === null) throw notFound('signature policy', id);
  return policy;
}

async function findExpected(connection: Connection, id: string, isExpected: IsExpected): Promise<SignaturePolicyRecord> {
  const policy = await findPolicy(connection, id);
  if (isExpected(policy)) return policy;
  throw new Problem(
    'precondition-failed',
    `the signature policy ${policy.name} has changed since it was read: read it again before you change it`,
  );
}

/**
 * Returns the columns of a policy.
 * @param id Identifier of the policy to replace; null for a new policy.
 * @throws {Problem} `invalid-value`, `name-taken`.
 */
async function validate(
  connection: Connection,
  { name, scope, module, publisherKeys, threshold }: SignaturePolicyRequest,
  id: string | null,
): Promise<Omit<SignaturePolicyRecord, 'id' | 'createdAt'>> {
  const taken = await new SignaturePolicyRecords(connection).findByName(name);
  if (taken !== null && taken.id !== id)
    throw new Problem('name-taken', `the name "${name}" is used by the signature policy ${taken.id}: choose another name`);
  const { device, group, ...criteria } = scope;
  const deviceId = device && (await findDevice(connection, device));
  const groupId = group && (await resolveGroup(connection, group)).id;
  const keys = new Map((await new PublisherKeyRecords(connection).findMany(publisherKeys)).map((key) => [key.id, key]));
  for (const [index, keyId] of publisherKeys.entries()) {
    const key = keys.get(keyId);
    if (key === undefined) throw invalidValue(`/publisherKeys/${index}`, `publisher key ${keyId} does not exist`);
    if (key.revokedAt !== null)
      throw invalidValue(`/publisherKeys/${index}`, `the publisher key ${key.name} was revoked: remove it, or name another key`);
  }
  return { name, deviceId, ...criteria, groupId, module, publisherKeys, threshold: threshold ?? publisherKeys.length };
}

/** Returns the identifier of the device with an identifier or a name. @throws {Problem} `invalid-value`. */
async function findDevice(connection: Connection, reference: string): Promise<string> {
  const device = (await readNamed(connection, [reference])).get(reference);
  if (device === undefined) throw invalidValue('/device', `the device ${reference} does not exist`);
  return device.id;
}

/** Returns the policies that apply to a group, as text. */
export async function policiesOfGroup(connection: Connection, groupId: string): Promise<string[]> {
  return (await new SignaturePolicyRecords(connection).namesOfGroup(groupId)).map((name) => `the signature policy ${name}`);
}
