// Signature policies: administrators say whose signatures of a build a device demands, or every device that has some labels.

import { isDeepStrictEqual } from 'node:util';
import { newIdentifier } from '../../protocol/identifiers.ts';
import { type AuditEntry, audit } from '../audit-entry.ts';
import { DamagedItem, readOrMark } from '../database/damaged-rows.ts';
import type { PageByTime } from '../database/page.ts';
import { type PageOf, readMarkedPage } from '../database/page-reader.ts';
import { unreadablePosition } from '../database/readable-rows.ts';
import type { Records } from '../database/records.ts';
import type { Store } from '../database/store.ts';
import { type AnswerOf, keepAnswer } from '../idempotency/answers.ts';
import { invalidValue, notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { type SignaturePolicyRecord, toPolicyRecord } from './repository.ts';

/** Each load's order names all that its device is under. */
const policyLimit = 100;

/** What a policy says. */
export type SignaturePolicyRequest = {
  readonly name: string;
  /** Either one device, or all that have these labels. */
  readonly scope: { readonly device: string } | { readonly labels: Readonly<Record<string, string>> };
  /** Null: builds of every module. */
  readonly module: string | null;
  /** Identifiers. */
  readonly publisherKeys: readonly string[];
  /** How many of them are to have signed; null: all. */
  readonly threshold: number | null;
};

type IsExpected = (current: SignaturePolicyRecord) => boolean;

export class SignaturePolicies {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** @throws {Problem} `invalid-value`, `name-taken`, `too-many-policies`. */
  async create(
    request: SignaturePolicyRequest,
    requester: Requester,
    answerOf: AnswerOf<SignaturePolicyRecord>,
  ): Promise<SignaturePolicyRecord> {
    return this.#store.transaction(async (records) => {
      if ((await records.signaturePolicies.count()) >= policyLimit)
        throw new Problem('too-many-policies', `there are ${policyLimit} signature policies, as many as may be: remove one first`);
      const policy: SignaturePolicyRecord = {
        id: newIdentifier('signature policy'),
        createdAt: new Date(),
        ...(await checked(records, request, null)),
      };
      await records.signaturePolicies.create(policy);
      await audit(records, requester, policy.createdAt, [entry('created', policy.id, factsOf(policy))]);
      await keepAnswer(records, requester, answerOf, policy);
      return policy;
    });
  }

  /** @throws {Problem} `not-found`. */
  async find(id: string): Promise<SignaturePolicyRecord> {
    return findPolicy(this.#store.records, id);
  }

  async list(page: PageByTime): Promise<PageOf<SignaturePolicyRecord | DamagedItem, PageByTime>> {
    const found = await readMarkedPage(page, {
      read: (wanted) => this.#store.records.signaturePolicies.list(wanted),
      positionOf: ({ createdAt, id }) => ({ time: createdAt, key: id }),
      positionOfUnreadable: unreadablePosition.byTime,
    });
    return {
      ...found,
      items: found.items.map((policy) => (policy instanceof DamagedItem ? policy : readOrMark(policy, policy.id, toPolicyRecord))),
    };
  }

  /**
   * Has a policy say something else, without a moment in which it says nothing.
   * @param isExpected Whether what it says is what whoever asks has seen.
   * @throws {Problem} `not-found`, `changed-since`, `invalid-value`, `name-taken`.
   */
  async replace(id: string, request: SignaturePolicyRequest, isExpected: IsExpected, requester: Requester): Promise<SignaturePolicyRecord> {
    return this.#store.transaction(async (records) => {
      const current = await findExpected(records, id, isExpected);
      const policy = { ...current, ...(await checked(records, request, id)) };
      const [before, after] = [factsOf(current), factsOf(policy)];
      if (isDeepStrictEqual(before, after)) return current;
      await records.signaturePolicies.replace(policy);
      await audit(records, requester, new Date(), [entry('replaced', id, { before, after })]);
      return policy;
    });
  }

  /** Nothing is demanded by it any more. @throws {Problem} `not-found`, `changed-since`. */
  async remove(id: string, isExpected: IsExpected, requester: Requester): Promise<void> {
    await this.#store.transaction(async (records) => {
      const current = await findExpected(records, id, isExpected);
      await records.signaturePolicies.remove(id);
      await audit(records, requester, new Date(), [entry('removed', id, factsOf(current))]);
    });
  }
}

function entry(what: 'created' | 'replaced' | 'removed', object: string, detail: AuditEntry['detail']): AuditEntry {
  return { action: `signature-policy.${what}`, object, detail };
}

/** What a policy says, as the audit trail has it: before and after a change beside each other, so that all of it is texts. */
function factsOf({ name, deviceId, labels, module, publisherKeys, threshold }: SignaturePolicyRecord): Record<string, string> {
  return {
    name,
    ...(deviceId === null ? {} : { device: deviceId }),
    ...(labels === null ? {} : { labels: labelsText(labels) }),
    ...(module === null ? {} : { module }),
    publisherKeys: publisherKeys.join(','),
    threshold: String(threshold),
  };
}

/** In the order of their keys, so that the same labels are the same text. */
function labelsText(labels: Readonly<Record<string, string>>): string {
  const texts = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return texts.toSorted().join(',');
}

async function findPolicy(records: Records, id: string): Promise<SignaturePolicyRecord> {
  const policy = await records.signaturePolicies.find(id);
  if (policy === null) throw notFound('signature policy', id);
  return policy;
}

async function findExpected(records: Records, id: string, isExpected: IsExpected): Promise<SignaturePolicyRecord> {
  const policy = await findPolicy(records, id);
  if (isExpected(policy)) return policy;
  throw new Problem('changed-since', `the signature policy ${policy.name} has changed since it was read: read it again, and decide anew`);
}

/** @param id Of the policy that is to say so; null where it is a new one. */
async function checked(
  records: Records,
  { name, scope, module, publisherKeys, threshold }: SignaturePolicyRequest,
  id: string | null,
): Promise<Omit<SignaturePolicyRecord, 'id' | 'createdAt'>> {
  const taken = await records.signaturePolicies.findByName(name);
  if (taken !== null && taken.id !== id)
    throw new Problem('name-taken', `the signature policy ${taken.id} has the name "${name}": choose another`);
  if ('device' in scope && (await records.devices.find(scope.device)) === null)
    throw invalidValue('/device', `there is no device ${scope.device}`);
  const keys = new Map((await records.publisherKeys.findMany(publisherKeys)).map((key) => [key.id, key]));
  for (const [index, one] of publisherKeys.entries()) {
    const key = keys.get(one);
    if (key === undefined) throw invalidValue(`/publisherKeys/${index}`, `there is no publisher key ${one}`);
    if (key.revokedAt !== null)
      throw invalidValue(`/publisherKeys/${index}`, `the publisher key ${key.name} was revoked: leave it out, or name another`);
  }
  const [deviceId, labels] = 'device' in scope ? [scope.device, null] : [null, scope.labels];
  return { name, deviceId, labels, module, publisherKeys, threshold: threshold ?? publisherKeys.length };
}
