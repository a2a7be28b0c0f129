// Channels: named lists of promoted versions, which assignments follow.

import { isDeepStrictEqual } from 'node:util';
import { isChannelId, newIdentifier } from '../../protocol/identifiers.ts';
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
import { ChannelQueries } from './queries.ts';
import { type ChannelRecord, ChannelRecords, type PromotionRecord, PromotionRecords } from './repository.ts';

/** Maximum number of channels. */
const channelLimit = 100;

/** The content of a channel. */
export type ChannelRequest = Pick<ChannelRecord, 'name' | 'description'>;
/** A channel and its promotions, newest first. */
export type ChannelView = ChannelRecord & { readonly promotions: readonly PromotionRecord[] };

/** Returns the assignments that follow a channel, as text such as "the assignment edge-net"; empty if there are none. */
type FindUsers = (connection: Connection, channelId: string) => Promise<readonly string[]>;
type IsExpected = (current: ChannelRecord) => boolean;

export class Channels {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #findUsers: FindUsers;

  /** @param findUsers Called in the transaction that removes a channel. */
  constructor({ store, clock }: { readonly store: Store; readonly clock: Clock }, findUsers: FindUsers) {
    this.#store = store;
    this.#clock = clock;
    this.#findUsers = findUsers;
  }

  /** @throws {Problem} `invalid-value`, `name-taken`, `too-many-channels`. */
  async create(request: ChannelRequest, requester: Requester, toResponse: ToResponse<ChannelRecord>): Promise<ChannelRecord> {
    return this.#store.transaction(async (connection) => {
      if ((await new ChannelRecords(connection).count()) >= channelLimit)
        throw new Problem('too-many-channels', `limit reached: ${channelLimit} channels. Delete one first`);
      await checkName(connection, request.name, null);
      const channel: ChannelRecord = { id: newIdentifier('channel'), createdAt: this.#clock.now(), ...request };
      await new ChannelRecords(connection).create(channel);
      await audit(connection, requester, channel.createdAt, [toAuditEntry('created', channel.id, describeChannel(channel))]);
      await storeResponse(connection, requester, toResponse, channel);
      return channel;
    });
  }

  /** @param reference Identifier or name. @throws {Problem} `not-found`. */
  async view(reference: string): Promise<ChannelView> {
    const { readConnection } = this.#store;
    const channel = await findChannel(readConnection, reference);
    return { ...channel, promotions: await new PromotionRecords(readConnection).list(channel.id) };
  }

  async list(page: PageByTime): Promise<PageResult<ChannelRecord | DamagedItem, PageByTime>> {
    return readMarkedPage(page, {
      read: (wanted) => new ChannelQueries(this.#store.reader).list(wanted),
      positionOf: ({ createdAt, id }) => ({ time: createdAt, key: id }),
      positionOfUndecodable: undecodablePosition.byTime,
    });
  }

  /**
   * Renames a channel or changes its description. Does nothing if the content is the same.
   * @param isExpected Returns whether the current channel is the one that the client has seen (`If-Match`).
   * @throws {Problem} `not-found`, `precondition-failed`, `invalid-value`, `name-taken`.
   */
  async replace(reference: string, request: ChannelRequest, isExpected: IsExpected, requester: Requester): Promise<ChannelRecord> {
    return this.#store.transaction(async (connection) => {
      const current = await findExpected(connection, reference, isExpected);
      await checkName(connection, request.name, current.id);
      const channel = { ...current, ...request };
      const [before, after] = [describeChannel(current), describeChannel(channel)];
      if (isDeepStrictEqual(before, after)) return current;
      await new ChannelRecords(connection).replace(channel);
      await audit(connection, requester, this.#clock.now(), [toAuditEntry('replaced', channel.id, { before, after })]);
      return channel;
    });
  }

  /** Removes a channel that no assignment follows. @throws {Problem} `not-found`, `precondition-failed`, `channel-in-use`. */
  async remove(reference: string, isExpected: IsExpected, requester: Requester): Promise<void> {
    await this.#store.transaction(async (connection) => {
      const channel = await findExpected(connection, reference, isExpected);
      const users = await this.#findUsers(connection, channel.id);
      if (users.length > 0)
        throw new Problem(
          'channel-in-use',
          `${users.join(', ')} ${users.length === 1 ? 'follows' : 'follow'} the channel ${channel.name}: change that first`,
        );
      await new ChannelRecords(connection).remove(channel.id);
      await audit(connection, requester, this.#clock.now(), [toAuditEntry('removed', channel.id, describeChannel(channel))]);
    });
  }
}

/** Returns a channel by its identifier or name. @throws {Problem} `not-found`. */
export async function findChannel(connection: Connection, reference: string): Promise<ChannelRecord> {
  const channel = await new ChannelRecords(connection).find(reference);
  if (channel === null) throw notFound('channel', reference);
  return channel;
}

function toAuditEntry(change: 'created' | 'replaced' | 'removed', object: string, detail: AuditEntry['detail']): AuditEntry {
  return { action: `channel.${change}`, object, detail };
}

/** Returns the content of a channel for the audit trail. */
function describeChannel({ name, description }: ChannelRecord): Record<string, string> {
  return { name, ...(description === null ? {} : { description }) };
}

async function findExpected(connection: Connection, reference: string, isExpected: IsExpected): Promise<ChannelRecord> {
  const channel = await findChannel(connection, reference);
  if (isExpected(channel)) return channel;
  throw new Problem('precondition-failed', `the channel ${channel.name} has changed since it was read: read it again before you change it`);
}

/** @param ownId Identifier of the channel that gets the name; null for a new channel. @throws {Problem} `invalid-value`, `name-taken`. */
async function checkName(connection: Connection, name: string, ownId: string | null): Promise<void> {
  if (isChannelId(name)) throw invalidValue('/name', 'has the form of an identifier: choose another name');
  const holder = await new ChannelRecords(connection).find(name);
  if (holder === null || holder.id === ownId) return;
  const detail = `the name "${name}" is taken by the channel ${holder.id}: choose another name`;
  throw new Problem('name-taken', detail, { invalidValues: [{ pointer: '/name', detail }] });
}
