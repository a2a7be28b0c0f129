// Webhooks: creates, lists, changes, tests and replays them. `deliveries.ts` sends the events.

import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { newIdentifier } from '../../protocol/identifiers.ts';
import { checkNotPruned } from '../audit/audit-trail.ts';
import { type AuditEntry, audit } from '../audit-events/entry.ts';
import { AuditRecords } from '../audit-events/repository.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import { DamagedItem, readOrMark } from '../database/damaged-rows.ts';
import type { ParkedEventModel } from '../database/generated/models.ts';
import type { PageByNumber, PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { resolveGroup } from '../groups/groups.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { invalidValue, notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { findUrlFault } from './address-policy.ts';
import type { Deliveries } from './deliveries.ts';
import type { WebhookFormat } from './messages.ts';
import { WebhookQueries } from './queries.ts';
import { noFailures, ParkedEventRecords, toWebhookRecord, type WebhookRecord, WebhookRecords } from './repository.ts';
import type { SecretStorage } from './secret-storage.ts';
import type { Attempt } from './sender.ts';
import { newWebhookSecret } from './signature.ts';

const webhookLimits = {
  /** Each enabled webhook has a request in flight at most. */
  webhooks: 50,
  /** Tests that wait for their receivers at once, in one replica. */
  tests: 5,
  /** How long the previous secret signs after a rotation, in milliseconds. */
  secretOverlap: 24 * 3_600_000,
} as const;

/** The content of a webhook. */
export type WebhookRequest = {
  readonly name: string;
  readonly url: string;
  readonly eventTypes: readonly string[];
  /** A label selector; null: events about any object. */
  readonly selector: string | null;
  /** Identifier or name of a group; null: none. */
  readonly group: string | null;
  readonly format: WebhookFormat;
  readonly isEnabled: boolean;
};

/** A webhook with the number of its parked events. */
export type WebhookView = WebhookRecord & { readonly parked: number };
/** A webhook with its new secret, which is shown once. */
export type WebhookWithSecret = { readonly webhook: WebhookView; readonly secret: string };

/** What is sent again: parked events, or all events after a number. */
export type Replay = { readonly parked: 'all' | readonly number[] } | { readonly after: number };

type IsExpected = (current: WebhookRecord) => boolean;

type Uses = {
  readonly store: Store;
  readonly clock: Clock;
  readonly secrets: SecretStorage;
  readonly deliveries: Deliveries;
  readonly allowPrivate: boolean;
};

export class Webhooks {
  readonly #uses: Uses;
  #tests = 0;

  constructor(uses: Uses) {
    this.#uses = uses;
  }

  /** @throws {Problem} `invalid-value`, `name-taken`, `too-many-webhooks`. */
  async create(request: WebhookRequest, requester: Requester, toResponse: ToResponse<WebhookWithSecret>): Promise<WebhookWithSecret> {
    this.#checkUrl(request.url);
    return this.#uses.store.transaction(async (connection) => {
      const records = new WebhookRecords(connection);
      if ((await records.count()) >= webhookLimits.webhooks)
        throw new Problem('too-many-webhooks', `limit reached: ${webhookLimits.webhooks} webhooks. Delete one first`);
      await checkName(connection, request.name, null);
      const content = await toContent(connection, request);
      const [secret, createdAt, id] = [newWebhookSecret(), this.#uses.clock.now(), newIdentifier('webhook')];
      await audit(connection, requester, createdAt, [toAuditEntry('created', id, describeWebhook(content))]);
      const webhook: WebhookRecord = {
        id,
        ...content,
        ...noFailures,
        disabledReason: null,
        sealedSecret: this.#uses.secrets.seal(secret),
        previousSecret: null,
        previousSecretUntil: null,
        createdAt,
        createdBy: requester.actor,
        revision: 0,
        cursor: await new AuditRecords(connection).lastNumber(),
        lastDeliveredAt: null,
        skippedAfter: null,
        skippedThrough: null,
        skippedAt: null,
      };
      await records.create(webhook);
      const created = { webhook: { ...webhook, parked: 0 }, secret };
      await storeResponse(connection, requester, toResponse, created);
      return created;
    });
  }

  /** @throws {Problem} `not-found`. */
  find(id: string): Promise<WebhookView> {
    return readView(this.#uses.store.readConnection, id);
  }

  async list(page: PageByTime): Promise<PageResult<WebhookView | DamagedItem, PageByTime>> {
    const { store } = this.#uses;
    const found = await readMarkedPage(page, {
      read: (wanted) => new WebhookQueries(store.reader).list(wanted),
      positionOf: ({ createdAt, id }) => ({ time: createdAt, key: id }),
      positionOfUndecodable: undecodablePosition.byTime,
    });
    const parked = await new ParkedEventRecords(store.readConnection).countByWebhook();
    const toView = (webhook: Parameters<typeof toWebhookRecord>[0]) => ({
      ...toWebhookRecord(webhook),
      parked: parked.get(webhook.id) ?? 0,
    });
    return {
      ...found,
      items: found.items.map((webhook) => (webhook instanceof DamagedItem ? webhook : readOrMark(webhook, webhook.id, toView))),
    };
  }

  /**
   * Replaces the content of a webhook atomically. Undelivered events remain; the next attempt is due at once.
   * @throws {Problem} `not-found`, `precondition-failed`, `invalid-value`, `name-taken`.
   */
  async replace(id: string, request: WebhookRequest, isExpected: IsExpected, requester: Requester): Promise<WebhookView> {
    this.#checkUrl(request.url);
    return this.#uses.store.transaction(async (connection) => {
      const current = await findExpected(connection, id, isExpected);
      await checkName(connection, request.name, id);
      const content = await toContent(connection, request);
      const { name, url, eventTypes, selector, groupId, format, isEnabled } = current;
      if (isDeepStrictEqual(content, { name, url, eventTypes, selector, groupId, format, isEnabled })) return readView(connection, id);
      await new WebhookRecords(connection).change(id, { ...content, ...noFailures, disabledReason: null });
      const detail = { before: describeWebhook(current), after: describeWebhook(content) };
      await audit(connection, requester, this.#uses.clock.now(), [toAuditEntry('replaced', id, detail)]);
      return readView(connection, id);
    });
  }

  /** Deletes a webhook with its parked events. @throws {Problem} `not-found`, `precondition-failed`. */
  async remove(id: string, isExpected: IsExpected, requester: Requester): Promise<void> {
    await this.#uses.store.transaction(async (connection) => {
      const current = await findExpected(connection, id, isExpected);
      await new WebhookRecords(connection).remove(id);
      await audit(connection, requester, this.#uses.clock.now(), [toAuditEntry('deleted', id, describeWebhook(current))]);
    });
  }

  /** Replaces the secret. The previous one signs too for `secretOverlap`. @throws {Problem} `not-found`. */
  async rotateSecret(id: string, requester: Requester, toResponse: ToResponse<WebhookWithSecret>): Promise<WebhookWithSecret> {
    return this.#uses.store.transaction(async (connection) => {
      const { name, sealedSecret } = await findWebhook(connection, id);
      const now = this.#uses.clock.now();
      const secret = newWebhookSecret();
      const previousSecretUntil = new Date(now.getTime() + webhookLimits.secretOverlap);
      const change = { sealedSecret: this.#uses.secrets.seal(secret), previousSecret: sealedSecret, previousSecretUntil };
      await new WebhookRecords(connection).change(id, { ...change, nextAttemptAt: null });
      const detail = { name, previousSecretUntil: previousSecretUntil.toISOString() };
      await audit(connection, requester, now, [toAuditEntry('secret-rotated', id, detail)]);
      const rotated = { webhook: await readView(connection, id), secret };
      await storeResponse(connection, requester, toResponse, rotated);
      return rotated;
    });
  }

  /** Sends a test event now, once, even if the webhook is disabled. @throws {Problem} `not-found`, `busy`. */
  async test(id: string, requester: Requester): Promise<Attempt & { readonly event: string; readonly milliseconds: number }> {
    const { store, clock, deliveries } = this.#uses;
    const webhook = await findWebhook(store.readConnection, id);
    if (this.#tests >= webhookLimits.tests)
      throw new Problem('busy', `limit reached: ${webhookLimits.tests} tests of webhooks at once. Repeat the test later`);
    this.#tests += 1;
    try {
      const started = clock.monotonic();
      const event = testEvent(webhook, requester, clock.now());
      const attempt = await deliveries.attempt(webhook, event);
      return { ...attempt, event: event.id, milliseconds: Math.round(clock.monotonic() - started) };
    } finally {
      this.#tests -= 1;
    }
  }

  /**
   * Sends events again: parked ones once each, or all events after a number, in order.
   * @returns The webhook, and how many parked events will be sent.
   * @throws {Problem} `not-found`, `invalid-value`, `pruned`.
   */
  async replay(
    id: string,
    replay: Replay,
    requester: Requester,
  ): Promise<{ readonly webhook: WebhookView; readonly parkedEvents: number }> {
    return this.#uses.store.transaction(async (connection) => {
      const { name } = await findWebhook(connection, id);
      const now = this.#uses.clock.now();
      const parkedEvents = 'parked' in replay ? await requestParked(connection, id, replay.parked, now) : 0;
      if ('after' in replay) await moveCursor(connection, id, replay.after);
      const detail = 'after' in replay ? { name, after: replay.after } : { name, parkedEvents };
      await audit(connection, requester, now, [toAuditEntry('replay-requested', id, detail)]);
      return { webhook: await readView(connection, id), parkedEvents };
    });
  }

  /** @throws {Problem} `not-found`. */
  async parkedEvents(id: string, page: PageByNumber): Promise<PageResult<ParkedEventModel | DamagedItem, PageByNumber>> {
    const { store } = this.#uses;
    await findWebhook(store.readConnection, id);
    return readMarkedPage(page, {
      read: (wanted) => new WebhookQueries(store.reader).listParked(id, wanted),
      positionOf: ({ number }) => ({ number }),
      positionOfUndecodable: undecodablePosition.byNumber,
    });
  }

  /** @throws {Problem} `invalid-value`. */
  #checkUrl(url: string): void {
    const fault = findUrlFault(url, this.#uses);
    if (fault !== null) throw invalidValue('/url', fault);
  }
}

function toAuditEntry(
  change: 'created' | 'replaced' | 'deleted' | 'secret-rotated' | 'replay-requested',
  object: string,
  detail: AuditEntry['detail'],
): AuditEntry {
  return { action: `webhook.${change}`, object, detail };
}

/** A request with the identifier of its group. */
type WebhookContent = Omit<WebhookRequest, 'group'> & { readonly groupId: string | null };

/** @throws {Problem} `invalid-value` if the group does not exist. */
async function toContent(connection: Connection, { group, ...request }: WebhookRequest): Promise<WebhookContent> {
  return { ...request, groupId: group && (await resolveGroup(connection, group)).id };
}

/** Returns the webhooks that send the events of a group, as text. */
export async function webhooksOfGroup(connection: Connection, groupId: string): Promise<string[]> {
  return (await new WebhookRecords(connection).namesOfGroup(groupId)).map((name) => `the webhook ${name}`);
}

/** Returns the content of a webhook for the audit trail. The path of a URL is left out: those of Slack and Teams contain a secret. */
function describeWebhook({
  name,
  url,
  eventTypes,
  selector,
  groupId,
  format,
  isEnabled,
}: WebhookContent | WebhookRecord): Record<string, string> {
  const receiver = new URL(url).origin;
  const types = eventTypes.join(',');
  const selection = { ...(selector === null ? {} : { selector }), ...(groupId === null ? {} : { group: groupId }) };
  return { name, receiver, eventTypes: types, ...selection, format, enabled: String(isEnabled) };
}

function testEvent({ id, name }: WebhookRecord, { actor, requestId }: Requester, now: Date) {
  const facts = { number: 0, at: now.toISOString(), actor, action: 'webhook.test', object: id, outcome: 'succeeded' };
  return { id: `evt_test_${randomUUID().replaceAll('-', '')}`, data: { ...facts, request: requestId || null, detail: { name } } };
}

async function findWebhook(connection: Connection, id: string): Promise<WebhookRecord> {
  const webhook = await new WebhookRecords(connection).find(id);
  if (webhook === null) throw notFound('webhook', id);
  return webhook;
}

async function readView(connection: Connection, id: string): Promise<WebhookView> {
  const webhook = await findWebhook(connection, id);
  return { ...webhook, parked: await new ParkedEventRecords(connection).count(id) };
}

async function findExpected(connection: Connection, id: string, isExpected: IsExpected): Promise<WebhookRecord> {
  const webhook = await findWebhook(connection, id);
  if (isExpected(webhook)) return webhook;
  throw new Problem('precondition-failed', `the webhook ${webhook.name} has changed since it was read: read it again before you change it`);
}

/** @param id Identifier of the webhook that may have the name; null for a new one. @throws {Problem} `name-taken`. */
async function checkName(connection: Connection, name: string, id: string | null): Promise<void> {
  const taken = await new WebhookRecords(connection).findByName(name);
  if (taken !== null && taken.id !== id)
    throw new Problem('name-taken', `the name "${name}" is used by the webhook ${taken.id}: choose another name`);
}

/** @throws {Problem} `invalid-value` if an event is not parked. */
async function requestParked(connection: Connection, id: string, numbers: 'all' | readonly number[], at: Date): Promise<number> {
  const count = await new ParkedEventRecords(connection).requestReplay(id, numbers, at);
  if (numbers !== 'all' && count < numbers.length)
    throw invalidValue('/events', `expected events that are parked, received ${numbers.length - count} others: list the parked events`);
  return count;
}

/** @throws {Problem} `invalid-value`, `pruned`. */
async function moveCursor(connection: Connection, id: string, after: number): Promise<void> {
  const { number, prunedThrough } = await new AuditRecords(connection).head();
  if (after > number) throw invalidValue('/after', `expected ${number} or less (the number of the last event), received ${after}`);
  checkNotPruned(after, prunedThrough);
  await new WebhookRecords(connection).change(id, { cursor: after, ...noFailures });
}
