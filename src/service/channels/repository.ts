// Rows of channels and of the versions that are promoted to them.

import { isChannelId } from '../../protocol/identifiers.ts';
import { readInChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { ChannelModel, ChannelPromotionModel } from '../database/generated/models.ts';

export type ChannelRecord = ChannelModel;
export type PromotionRecord = ChannelPromotionModel;

/** A module (`build`) or a patch set (`patch-set`), by name. */
export type ContentName = { readonly kind: string; readonly name: string };

export class ChannelRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create(channel: ChannelRecord): Promise<void> {
    await this.#connection.sql.insertInto('Channel').values(channel).execute();
  }

  async replace({ id, ...channel }: ChannelRecord): Promise<void> {
    await this.#connection.sql.updateTable('Channel').set(channel).where('id', '=', id).execute();
  }

  /** Removes a channel and its promotions. */
  async remove(id: string): Promise<void> {
    await this.#connection.sql.deleteFrom('ChannelPromotion').where('channelId', '=', id).execute();
    await this.#connection.sql.deleteFrom('Channel').where('id', '=', id).execute();
  }

  /** Returns the channel with an identifier or a name. A text in the form of an identifier is an identifier. */
  async find(reference: string): Promise<ChannelRecord | null> {
    const column = isChannelId(reference) ? 'id' : 'name';
    const channel = await this.#connection.sql.selectFrom('Channel').selectAll().where(column, '=', reference).executeTakeFirst();
    return channel ?? null;
  }

  /** Returns the names of channels, by identifier. */
  async namesOf(ids: readonly string[]): Promise<Map<string, string>> {
    const channels = await readInChunks([...new Set(ids)], (some) =>
      this.#connection.sql.selectFrom('Channel').select(['id', 'name']).where('id', 'in', some).execute(),
    );
    return new Map(channels.map(({ id, name }) => [id, name]));
  }

  async count(): Promise<number> {
    const { count } = await this.#connection.sql
      .selectFrom('Channel')
      .select(({ fn }) => fn.countAll<number | bigint>().as('count'))
      .executeTakeFirstOrThrow();
    return Number(count);
  }
}

export class PromotionRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create(promotion: PromotionRecord): Promise<void> {
    await this.#connection.sql.insertInto('ChannelPromotion').values(promotion).execute();
  }

  async remove(id: string): Promise<void> {
    await this.#connection.sql.deleteFrom('ChannelPromotion').where('id', '=', id).execute();
  }

  /** Returns a promotion of a channel. */
  async find(channelId: string, id: string): Promise<PromotionRecord | null> {
    const promotion = await this.#promotions(channelId).where('id', '=', id).executeTakeFirst();
    return promotion ?? null;
  }

  /** Returns the promotions of a channel, newest first. */
  async list(channelId: string): Promise<PromotionRecord[]> {
    return this.#promotions(channelId).orderBy('promotedAt', 'desc').orderBy('id', 'desc').execute();
  }

  /** Returns the promoted versions of a module or a patch set. */
  async ofContent(channelId: string, { kind, name }: ContentName): Promise<PromotionRecord[]> {
    return this.#promotions(channelId).where('kind', '=', kind).where('name', '=', name).execute();
  }

  /** Returns the modules and patch sets of which a channel has versions. */
  async contentsOf(channelId: string): Promise<ContentName[]> {
    const promotions = this.#connection.sql.selectFrom('ChannelPromotion').select(['kind', 'name']).distinct();
    return promotions.where('channelId', '=', channelId).execute();
  }

  #promotions(channelId: string) {
    return this.#connection.sql.selectFrom('ChannelPromotion').selectAll().where('channelId', '=', channelId);
  }
}
