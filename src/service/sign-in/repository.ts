// Rows of users and their sessions.

import type { Connection } from '../database/connection.ts';
import type { SessionModel, UserModel } from '../database/generated/models.ts';
import { PreparedQuery } from '../database/prepared-statements.ts';

export type UserRecord = UserModel;
export type SessionRecord = SessionModel;

const sessionColumns = ['id', 'secretDigest', 'userId', 'roles', 'scope', 'createdAt', 'expiresAt'] as const;
/** Each request of the dashboard asks for its session. */
const sessionById = new PreparedQuery({ id: 'text' }, (sql, { id }) =>
  sql.selectFrom('Session').select(sessionColumns).where('id', '=', id),
);

export class UserRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create(user: UserRecord): Promise<void> {
    await this.#connection.sql.insertInto('User').values(user).execute();
  }

  async find(id: string): Promise<UserRecord | null> {
    return (await this.#users().where('id', '=', id).executeTakeFirst()) ?? null;
  }

  async findBySubject(issuer: string, subject: string): Promise<UserRecord | null> {
    return (await this.#users().where('issuer', '=', issuer).where('subject', '=', subject).executeTakeFirst()) ?? null;
  }

  async count(): Promise<number> {
    const { count } = await this.#connection.sql
      .selectFrom('User')
      .select(({ fn }) => fn.countAll<number | bigint>().as('count'))
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  async update(id: string, changes: Pick<UserRecord, 'name' | 'email' | 'roles' | 'scope'>): Promise<void> {
    await this.#connection.sql.updateTable('User').set(changes).where('id', '=', id).execute();
  }

  #users() {
    return this.#connection.sql.selectFrom('User').selectAll();
  }
}

export class SessionRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create(session: SessionRecord): Promise<void> {
    await this.#connection.sql.insertInto('Session').values(session).execute();
  }

  async find(id: string): Promise<SessionRecord | null> {
    const [session] = await this.#connection.query(sessionById, { id });
    return session ?? null;
  }

  /** Returns the identifiers of the sessions of a user, newest first. */
  async idsOf(userId: string): Promise<string[]> {
    const { sql } = this.#connection;
    const sessions = await sql.selectFrom('Session').select('id').where('userId', '=', userId).orderBy('createdAt', 'desc').execute();
    return sessions.map(({ id }) => id);
  }

  async delete(ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.#connection.sql.deleteFrom('Session').where('id', 'in', ids).execute();
  }

  /** Deletes some of the sessions that ended before a time. */
  async deleteExpired(before: Date, limit: number): Promise<void> {
    const { sql } = this.#connection;
    const expired = await sql.selectFrom('Session').select('id').where('expiresAt', '<=', before).limit(limit).execute();
    await this.delete(expired.map(({ id }) => id));
  }
}
