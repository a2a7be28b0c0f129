// Sends events to webhooks: at least once and in order per webhook. One replica sends at a time, with one request in flight per webhook.

import { z } from 'zod';
import { matchesLabelSelector } from '../../protocol/label-selector.ts';
import { AuditQueries, numberOf } from '../audit/queries.ts';
import { audit } from '../audit-events/entry.ts';
import { type AuditRecord, AuditRecords } from '../audit-events/repository.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { MarkedRows } from '../database/readable-rows.ts';
import type { RecurringJob } from '../database/recurring-job.ts';
import type { Store } from '../database/store.ts';
import { UndecodableRow } from '../database/undecodable-row.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { toLabelSelector } from '../devices/selection.ts';
import { GroupRecords } from '../groups/repository.ts';
import { systemActor } from '../requester.ts';
import { findDeviceOf, matchesEventTypes } from './event-filter.ts';
import { formatMessage, type MessageSource, toWebhookEvent, type WebhookEvent, webhookFormats } from './messages.ts';
import { noFailures, ParkedEventRecords, type WebhookRecord, WebhookRecords } from './repository.ts';
import { nextAttempt, retryLimits } from './retry-policy.ts';
import type { SecretStorage } from './secret-storage.ts';
import type { Attempt, Sender } from './sender.ts';

const deliveryLimits = {
  /** Parked events per webhook. At the limit, the next event is attempted for longer instead. */
  parked: 1_000,
} as const;

const text = z.string();
/** A parked event, as `WebhookEvent`. */
const StoredEvent = z.object({
  id: text,
  data: z.looseObject({ number: z.int(), at: text, actor: text, action: text, object: text, outcome: text }),
});

/** How long one replica sends before any replica may take over, in milliseconds. */
const term = 300_000;
/** Interval at which replicas try to take over, in milliseconds. */
const takeoverInterval = 5_000;
/** Maximum wait between two checks for due attempts, in milliseconds. Notifications of new events end it earlier. */
const checkInterval = 1_000;
/** Minimum wait between two checks, in milliseconds: notifications within it are combined. */
const minCheckInterval = 20;
/** Events read at once. */
const batchSize = 100;
/** How often the cursor of a webhook without matching events is saved, in milliseconds. */
const saveInterval = 10_000;

/** Events up to `through` were examined since the cursor was saved; none of them is for the webhook as it was read. */
type Examined = Pick<WebhookRecord, 'cursor' | 'revision'> & { readonly through: number; readonly savedAt: number };

type Uses = {
  readonly store: Store;
  readonly clock: Clock;
  readonly secrets: SecretStorage;
  readonly sender: Sender;
  readonly source: MessageSource;
  /** Called with the result of each attempt. */
  readonly onAttempt: (attempt: Attempt) => void;
};

export class Deliveries {
  readonly #uses: Uses;
  readonly #job: RecurringJob;
  readonly #stopped = new AbortController();
  /** The webhooks that events are being sent to. */
  readonly #active = new Map<string, Promise<void>>();
  readonly #examined = new Map<string, Examined>();
  #isEnding = false;
  #wake: () => void = () => {};

  constructor(uses: Uses) {
    this.#uses = uses;
    this.#job = uses.store.scheduleJob('webhooks', takeoverInterval, () => this.#lead());
    this.#job.trigger();
  }

  /** Checks for due attempts soon, because there are new events. Has no effect in a replica that does not send. */
  wake(): void {
    this.#wake();
  }

  /** Stops sending. Attempts in flight are abandoned; another replica, or the next start, repeats them. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#wake();
    await this.#job.stop();
    this.#uses.sender.close();
  }

  /** Sends an event once. Never rejects. */
  async attempt(webhook: WebhookRecord, event: WebhookEvent): Promise<Attempt> {
    const { clock, sender, source, onAttempt } = this.#uses;
    const now = clock.now();
    const secrets = this.#secretsOf(webhook, now);
    const format = webhookFormats.find((one) => one === webhook.format);
    const attempt: Attempt =
      secrets === null || format === undefined
        ? { result: 'failed', status: null, reason: unreadableSecret, retryAfter: null }
        : await sender.send(
            { ...formatMessage(format, event, source), url: webhook.url, id: event.id, secrets },
            now,
            this.#stopped.signal,
          );
    onAttempt(attempt);
    return attempt;
  }

  /** Returns the secrets that sign, the newest first; null if the newest cannot be decrypted. */
  #secretsOf({ sealedSecret, previousSecret, previousSecretUntil }: WebhookRecord, now: Date): string[] | null {
    const current = this.#uses.secrets.open(sealedSecret);
    if (current === null) return null;
    const isValid = previousSecret !== null && previousSecretUntil !== null && previousSecretUntil > now;
    const previous = isValid ? this.#uses.secrets.open(previousSecret) : null;
    return previous === null ? [current] : [current, previous];
  }

  /** Sends events for a term, in one replica at a time. */
  async #lead(): Promise<void> {
    this.#isEnding = false;
    this.#examined.clear();
    const end = performance.now() + term;
    try {
      while (!this.#stopped.signal.aborted && performance.now() < end) {
        // Created before the check, so that a notification during the check is not lost.
        const news = new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        await this.#startDue();
        await Promise.race([news, pause(checkInterval)]);
        await pause(minCheckInterval);
      }
    } finally {
      this.#isEnding = true;
      this.#wake = () => {};
      await Promise.all(this.#active.values());
    }
    this.#job.trigger();
  }

  /** Starts sending to each webhook that has due events and that nothing is being sent to. */
  async #startDue(): Promise<void> {
    const { readConnection } = this.#uses.store;
    const webhooks = await new WebhookRecords(readConnection).listEnabled();
    if (webhooks.length === 0) return;
    const toReplay = new Set(await new ParkedEventRecords(readConnection).webhooksToReplay());
    const newest = await new AuditRecords(readConnection).lastNumber();
    const now = this.#uses.clock.now();
    for (const webhook of webhooks) {
      if (this.#active.has(webhook.id)) continue;
      const isDue = isAttemptDue(webhook, now) && this.#examinedThrough(webhook) < newest;
      if (isDue || toReplay.has(webhook.id)) this.#start(webhook, isDue);
    }
    await this.#saveExamined(webhooks);
  }

  #start(webhook: WebhookRecord, isDue: boolean): void {
    const sending = this.#sendDue(webhook, isDue).then(
      () => this.#wake(),
      // The database is unavailable, or a row is damaged: the next check tries again, and health reports it.
      () => {},
    );
    const ended = sending.finally(() => this.#active.delete(webhook.id));
    this.#active.set(webhook.id, ended);
  }

  get #mustStop(): boolean {
    return this.#isEnding || this.#stopped.signal.aborted;
  }

  async #sendDue(webhook: WebhookRecord, isDue: boolean): Promise<void> {
    const isUnchanged = await this.#replayParked(webhook);
    let current: WebhookRecord | null = isDue && isUnchanged ? webhook : null;
    while (current !== null && !this.#mustStop) current = await this.#sendBatch(current);
  }

  /** Sends parked events whose replay is requested, once each. Returns false if the webhook was changed meanwhile: the next check continues. */
  async #replayParked(webhook: WebhookRecord): Promise<boolean> {
    const { store, clock } = this.#uses;
    const { readConnection } = store;
    while (!this.#mustStop) {
      const number = await new ParkedEventRecords(readConnection).firstToReplay(webhook.id);
      if (number === null) return true;
      const parked = await new ParkedEventRecords(readConnection).find(webhook.id, number);
      const event = StoredEvent.safeParse(parked?.event);
      if (parked === null || !event.success) {
        await store.transaction((connection) =>
          new ParkedEventRecords(connection).withdrawReplay(webhook.id, number, 'the stored event cannot be read'),
        );
        continue;
      }
      const attempt = await this.attempt(webhook, event.data);
      if (this.#stopped.signal.aborted) return false;
      const isUnchanged = await store.transaction(async (connection) => {
        const records = new ParkedEventRecords(connection);
        if (attempt.result === 'delivered') await records.remove(webhook.id, number);
        else await records.recordFailure(parked, attempt.reason);
        const current = await new WebhookRecords(connection).find(webhook.id);
        if (current === null || current.revision !== webhook.revision) return false;
        return attempt.status === 410 ? !(await disable(connection, current, clock.now())) : true;
      });
      if (!isUnchanged) return false;
    }
    return false;
  }

  /** Sends the next events. Returns the webhook with its new cursor if there may be more events to send; null if there are none, or one failed. */
  async #sendBatch(given: WebhookRecord): Promise<WebhookRecord | null> {
    const { store } = this.#uses;
    const { number: newest, prunedThrough } = await new AuditRecords(store.readConnection).head();
    let webhook = given;
    if (this.#examinedThrough(webhook) < prunedThrough) {
      const skipped = await this.#skipPruned(webhook, prunedThrough);
      if (skipped === null) return null;
      webhook = skipped;
    }
    const after = this.#examinedThrough(webhook);
    if (after >= newest) return null;
    const found = await this.#readEvents(webhook, after);
    const events = await this.#selectEvents(webhook, found);
    for (const event of events) {
      if (this.#mustStop) return null;
      const attempt = await this.attempt(webhook, toWebhookEvent(event));
      if (this.#stopped.signal.aborted) return null;
      const advanced =
        attempt.result === 'delivered' ? await this.#recordDelivery(webhook, event) : await this.#recordFailure(webhook, event, attempt);
      if (advanced === null) return null;
      webhook = advanced;
    }
    const last = found.at(-1);
    // Every event up to `newest` was read, or is of another kind.
    const through = found.length < batchSize || last === undefined ? newest : numberOf(last);
    const { savedAt } = this.#examined.get(webhook.id) ?? { savedAt: performance.now() };
    this.#examined.set(webhook.id, { cursor: webhook.cursor, revision: webhook.revision, through, savedAt });
    return webhook;
  }

  /** Reads the next events of the kinds that a webhook may get. */
  #readEvents({ eventTypes }: WebhookRecord, after: number): Promise<MarkedRows<AuditRecord>> {
    const queries = new AuditQueries(this.#uses.store.reader);
    if (eventTypes.includes('*')) return queries.after(after, batchSize);
    const kinds = new Set(eventTypes.map((type) => type.slice(0, type.indexOf('.'))));
    return queries.listAfter(after, [...kinds], batchSize);
  }

  /** Returns the events that a webhook gets. An event that cannot be decoded is left out, as in the event stream; health names it. */
  async #selectEvents({ eventTypes, selector, groupId }: WebhookRecord, found: MarkedRows<AuditRecord>): Promise<AuditRecord[]> {
    const events = found.flatMap((event) =>
      event instanceof UndecodableRow || !matchesEventTypes(eventTypes, event.action) ? [] : [{ event, device: findDeviceOf(event) }],
    );
    if (selector === null && groupId === null) return events.map(({ event }) => event);
    const devices = [...new Set(events.flatMap(({ device }) => device ?? []))];
    const { readConnection } = this.#uses.store;
    const labels = await new DeviceRecords(readConnection).labelsOf(devices);
    const groups = await new GroupRecords(readConnection).selectorsOf(groupId === null ? [] : [groupId]);
    const requirements = toLabelSelector({ selector, groupSelector: groupId && groups.get(groupId) });
    return events.flatMap(({ event, device }) =>
      device !== null && matchesLabelSelector(requirements, new Map(Object.entries(labels.get(device) ?? {}))) ? [event] : [],
    );
  }

  /** Returns the webhook after a delivery; null if it was changed meanwhile. */
  async #recordDelivery(webhook: WebhookRecord, { number }: AuditRecord): Promise<WebhookRecord | null> {
    const { store, clock } = this.#uses;
    const state = { cursor: number, lastDeliveredAt: clock.now(), ...noFailures };
    const isCurrent = await store.transaction((connection) => new WebhookRecords(connection).advance(webhook, state));
    return isCurrent ? { ...webhook, ...state } : null;
  }

  /** Records a failed attempt. Returns the webhook if the event was parked and the next one follows; otherwise null. */
  async #recordFailure(
    webhook: WebhookRecord,
    event: AuditRecord,
    attempt: Extract<Attempt, { result: 'failed' }>,
  ): Promise<WebhookRecord | null> {
    const { store, clock } = this.#uses;
    const now = clock.now();
    if (attempt.status === 410) {
      await store.transaction((connection) => disable(connection, webhook, now));
      return null;
    }
    const attempts = webhook.attempts + 1;
    const firstAttemptAt = webhook.firstAttemptAt ?? now;
    const failure = { failingSince: webhook.failingSince ?? now, lastError: attempt.reason };
    const due = nextAttempt({ attempts, firstAttemptAt, retryAfter: attempt.retryAfter }, now);
    return store.transaction(async (connection) => {
      const records = new WebhookRecords(connection);
      if (due !== null || (await new ParkedEventRecords(connection).count(webhook.id)) >= deliveryLimits.parked) {
        const nextAttemptAt = due ?? new Date(now.getTime() + retryLimits.backOff.max);
        await records.advance(webhook, { ...failure, attempts, firstAttemptAt, nextAttemptAt });
        return null;
      }
      const state = { ...failure, cursor: event.number, attempts: 0, firstAttemptAt: null, nextAttemptAt: null };
      if (!(await records.advance(webhook, state))) return null;
      const { id, data } = toWebhookEvent(event);
      await new ParkedEventRecords(connection).park({
        webhookId: webhook.id,
        number: event.number,
        event: { id, data },
        attempts,
        firstAttemptAt,
        parkedAt: now,
        lastError: attempt.reason,
      });
      const detail = { name: webhook.name, event: event.number, eventAction: event.action, attempts, error: attempt.reason };
      await audit(connection, systemActor, now, [{ action: 'webhook.event-parked', object: webhook.id, outcome: 'failed', detail }]);
      return { ...webhook, ...state };
    });
  }

  /** Continues after events that were pruned before they were sent, and records the gap. */
  async #skipPruned(webhook: WebhookRecord, through: number): Promise<WebhookRecord | null> {
    const { store, clock } = this.#uses;
    const now = clock.now();
    const after = this.#examinedThrough(webhook);
    const state = { cursor: through, attempts: 0, firstAttemptAt: null, nextAttemptAt: null };
    const gap = { skippedAfter: after, skippedThrough: through, skippedAt: now };
    return store.transaction(async (connection) => {
      if (!(await new WebhookRecords(connection).advance(webhook, { ...state, ...gap }))) return null;
      const detail = { name: webhook.name, after, through };
      await audit(connection, systemActor, now, [{ action: 'webhook.events-skipped', object: webhook.id, outcome: 'failed', detail }]);
      return { ...webhook, ...state, ...gap };
    });
  }

  /** Returns the number of the last event that was sent, parked or examined. */
  #examinedThrough(webhook: WebhookRecord): number {
    const examined = this.#examined.get(webhook.id);
    return examined !== undefined && isOf(examined, webhook) ? Math.max(examined.through, webhook.cursor) : webhook.cursor;
  }

  /** Saves how far events were examined, from time to time: a write per event that no webhook gets would slow down others. */
  async #saveExamined(webhooks: readonly WebhookRecord[]): Promise<void> {
    const now = performance.now();
    const due = webhooks.flatMap((webhook) => {
      const examined = this.#examined.get(webhook.id);
      if (examined === undefined || this.#active.has(webhook.id) || now - examined.savedAt < saveInterval) return [];
      return isOf(examined, webhook) && examined.through > webhook.cursor ? [{ id: webhook.id, ...examined }] : [];
    });
    if (due.length === 0) return;
    await this.#uses.store.transaction(async (connection) => {
      for (const { through, ...position } of due) await new WebhookRecords(connection).advance(position, { cursor: through });
    });
    for (const { id, revision, through } of due) this.#examined.set(id, { cursor: through, revision, through, savedAt: now });
  }
}

const isOf = (examined: Examined, { cursor, revision }: WebhookRecord) => examined.cursor === cursor && examined.revision === revision;

/** Disables a webhook whose receiver responded with 410. Returns false if it was changed since it was read. */
async function disable(connection: Connection, webhook: WebhookRecord, now: Date): Promise<boolean> {
  const disabledReason = 'the receiver responded with 410 (Gone)';
  if (!(await new WebhookRecords(connection).advance(webhook, { ...noFailures, isEnabled: false, disabledReason }))) return false;
  const detail = { name: webhook.name, reason: disabledReason };
  await audit(connection, systemActor, now, [{ action: 'webhook.disabled', object: webhook.id, detail }]);
  return true;
}

const unreadableSecret =
  'the secret cannot be decrypted: restore the file seal_1.pem beside the signing keys from a backup, or rotate the secret';

/** Returns whether the next attempt is due. One that is due later than any back-off was scheduled by a wrong clock. */
function isAttemptDue({ nextAttemptAt }: WebhookRecord, now: Date): boolean {
  if (nextAttemptAt === null || nextAttemptAt <= now) return true;
  return nextAttemptAt.getTime() - now.getTime() > Math.max(retryLimits.backOff.max, retryLimits.retryAfter);
}

/** Resolves after some milliseconds. Does not keep the process alive. */
const pause = (milliseconds: number) =>
  new Promise<void>((resolve) => {
    setTimeout(resolve, milliseconds).unref();
  });
