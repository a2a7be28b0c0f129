// Users: people and other clients whom the identity provider knows. They sign in to the dashboard, or send tokens of the provider.

import { LRUCache } from 'lru-cache';
import { digestOf } from '../../machine/digest.ts';
import { newIdentifier } from '../../protocol/identifiers.ts';
import { formatLabelSelector, parseScope } from '../../protocol/label-selector.ts';
import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { DamagedItem } from '../database/damaged-rows.ts';
import type { PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import type { UserHolder } from '../roles.ts';
import { equalsInConstantTime, newSecret } from '../secrets.ts';
import type { Identity, IdentityProvider } from './identity-provider.ts';
import { UserQueries } from './queries.ts';
import { SessionRecords, type UserRecord, UserRecords } from './repository.ts';
import { type PersonRole, personRoles } from './role-rules.ts';
import { isEmptyScope } from './scope-rules.ts';

/** Maximum number of users, so that a provider cannot fill the database. */
const userLimit = 10_000;
/** Number of users from which only people with a role are recorded, so that strangers whom the provider knows cannot lock them out. */
const strangerLimit = 5_000;
/** Maximum sessions of a user; the oldest ends when another begins. */
const sessionLimit = 20;
/** Maximum expired sessions that are deleted when one begins. */
const cleanUpLimit = 100;

const secretPattern = /^ses_([0-9a-f]{32})_[A-Za-z0-9_-]{43}$/;

/** A session with its secret, which only the browser keeps. */
export type OpenedSession = { readonly secret: string; readonly expiresAt: Date; readonly user: UserRecord };

export class Users {
  readonly #store: Store;
  readonly #clock: Clock;
  /** Null: only API keys are accepted. */
  readonly provider: IdentityProvider | null;
  /** Known users by issuer and subject, so that requests with tokens need no query. */
  readonly #known = new LRUCache<string, UserRecord>({ max: userLimit });

  constructor({ store, clock }: { readonly store: Store; readonly clock: Clock }, provider: IdentityProvider | null) {
    this.#store = store;
    this.#clock = clock;
    this.provider = provider;
  }

  /** @throws {Problem} `not-found`. */
  async find(id: string): Promise<UserRecord> {
    return findUser(this.#store.readConnection, id);
  }

  list(page: PageByTime): Promise<PageResult<UserRecord | DamagedItem, PageByTime>> {
    return readMarkedPage(page, {
      read: (wanted) => new UserQueries(this.#store.reader).list(wanted),
      positionOfUndecodable: undecodablePosition.byTime,
      positionOf: ({ createdAt, id }) => ({ time: createdAt, key: id }),
    });
  }

  /** Begins a session of a person who signed in. @throws {Problem} `forbidden` without a role; `out-of-scope` without devices; `too-many-users`. */
  async openSession(identity: Identity, requestId: string): Promise<OpenedSession> {
    const provider = this.provider;
    if (provider === null) throw new Problem('forbidden', 'the service has no identity provider: sign in with an API key');
    const createdAt = this.#clock.now();
    const expiresAt = new Date(createdAt.getTime() + provider.settings.sessionDuration);
    const opened = await this.#store.transaction(async (connection) => {
      const user = await recordUser(connection, identity, requestId, createdAt);
      if (identity.roles.length === 0 || isEmptyScope(identity.scope)) {
        await audit(connection, { actor: user.id, requestId }, createdAt, [
          { action: 'user.refused', object: user.id, outcome: 'refused', detail: describe(user) },
        ]);
        return null;
      }
      const id = newIdentifier('session');
      const secret = `${id}_${newSecret()}`;
      const sessions = new SessionRecords(connection);
      await sessions.deleteExpired(createdAt, cleanUpLimit);
      await sessions.delete((await sessions.idsOf(user.id)).slice(sessionLimit - 1));
      const { roles, scope } = user;
      await sessions.create({ id, secretDigest: digestOf(secret), userId: user.id, roles, scope, createdAt, expiresAt });
      const detail = { ...describe(user), roles: [...identity.roles], scope, expiresAt: expiresAt.toISOString() };
      await audit(connection, { actor: user.id, requestId }, createdAt, [{ action: 'user.signed-in', object: user.id, detail }]);
      return { secret, expiresAt, user };
    });
    // After the commit: the trail names the person.
    if (opened !== null) return opened;
    throw identity.roles.length === 0
      ? new Problem('forbidden', `no rule gives ${nameOf(identity)} a role: ask an administrator`)
      : withoutDevices(identity);
  }

  /** Returns the holder of a session. @throws {Problem} `unauthenticated`. */
  async authenticateSession(secret: string): Promise<UserHolder> {
    const id = sessionIdOf(secret);
    const session = id === null ? null : await new SessionRecords(this.#store.readConnection).find(id);
    if (session === null || !equalsInConstantTime(digestOf(secret), session.secretDigest) || session.expiresAt <= this.#clock.now())
      throw new Problem('unauthenticated', 'the session has ended: sign in again');
    const { userId, roles, scope, expiresAt } = session;
    return { id: userId, roles: rolesFrom(roles), expiresAt, scope: scope === null ? null : parseScope(scope) };
  }

  /** Returns the holder of a token of the provider; a new user is recorded. @throws {Problem} `unauthenticated`, `provider-unavailable`, `out-of-scope` without devices, `too-many-users`. */
  async authenticateToken(token: string, requestId: string): Promise<UserHolder> {
    if (this.provider === null)
      throw new Problem(
        'unauthenticated',
        'unknown API key: check that it is complete. The service has no identity provider, so it accepts API keys only',
      );
    const { expiresAt, ...identity } = await this.provider.verify(token);
    const name = JSON.stringify([identity.issuer, identity.subject]);
    const known = this.#known.get(name);
    const user = known !== undefined && isUnchanged(known, identity) ? known : await this.#record(identity, requestId);
    this.#known.set(name, user);
    const { roles, scope } = identity;
    if (isEmptyScope(scope)) throw withoutDevices(identity);
    return { id: user.id, roles, expiresAt, scope };
  }

  /** Ends one session of its user. Ending it again changes nothing. */
  async endSession(secret: string, requester: Requester): Promise<void> {
    const id = sessionIdOf(secret);
    if (id === null) return;
    await this.#store.transaction(async (connection) => {
      const session = await new SessionRecords(connection).find(id);
      if (session === null || !equalsInConstantTime(digestOf(secret), session.secretDigest)) return;
      await new SessionRecords(connection).delete([id]);
      const detail = { sessions: 1 };
      await audit(connection, requester, this.#clock.now(), [{ action: 'user.signed-out', object: session.userId, detail }]);
    });
  }

  /** Ends all sessions of a user. Returns how many. @throws {Problem} `not-found`. */
  async signOut(id: string, requester: Requester): Promise<number> {
    return this.#store.transaction(async (connection) => {
      await findUser(connection, id);
      const sessions = await new SessionRecords(connection).idsOf(id);
      if (sessions.length === 0) return 0;
      await new SessionRecords(connection).delete(sessions);
      const detail = { sessions: sessions.length };
      await audit(connection, requester, this.#clock.now(), [{ action: 'user.signed-out', object: id, detail }]);
      return sessions.length;
    });
  }

  #record(identity: Identity, requestId: string): Promise<UserRecord> {
    return this.#store.transaction((connection) => recordUser(connection, identity, requestId, this.#clock.now()));
  }
}

/** Creates a user, or updates the names, roles and scope of a known one. */
async function recordUser(connection: Connection, identity: Identity, requestId: string, at: Date): Promise<UserRecord> {
  const users = new UserRecords(connection);
  const { issuer, subject, name, email } = identity;
  const changes = { name, email, ...grantsOf(identity) };
  const known = await users.findBySubject(issuer, subject);
  if (known !== null && isUnchanged(known, identity)) return known;
  const user = known === null ? { id: newIdentifier('user'), issuer, subject, ...changes, createdAt: at } : { ...known, ...changes };
  if (known === null) {
    const limit = identity.roles.length === 0 ? strangerLimit : userLimit;
    if ((await users.count()) >= limit)
      throw new Problem(
        'too-many-users',
        `limit reached: ${limit} users of the identity provider${identity.roles.length === 0 ? ', and no rule gives this one a role' : ''}`,
      );
    await users.create(user);
  } else await users.update(user.id, changes);
  // Roles and scopes are in the event of each sign-in.
  if (known !== null && hasSameNames(known, identity)) return user;
  const action = known === null ? 'user.created' : 'user.renamed';
  await audit(connection, { actor: user.id, requestId }, at, [{ action, object: user.id, detail: describe(user) }]);
  return user;
}

async function findUser(connection: Connection, id: string): Promise<UserRecord> {
  const user = await new UserRecords(connection).find(id);
  if (user === null) throw notFound('user', id);
  return user;
}

const hasSameNames = (user: UserRecord, { name, email }: Identity) => user.name === name && user.email === email;

function isUnchanged(user: UserRecord, identity: Identity): boolean {
  const { roles, scope } = grantsOf(identity);
  return hasSameNames(user, identity) && user.roles === roles && user.scope === scope;
}

/** Returns the roles and the scope as they are stored. Without devices, the roles grant nothing. */
function grantsOf({ roles, scope }: Identity): Pick<UserRecord, 'roles' | 'scope'> {
  if (isEmptyScope(scope)) return { roles: '', scope: null };
  return { roles: roles.join(' '), scope: scope === null || roles.length === 0 ? null : formatLabelSelector(scope) };
}

function withoutDevices(identity: Identity): Problem {
  return new Problem('out-of-scope', `no rule gives ${nameOf(identity)} devices: ask an administrator`);
}

const describe = ({ issuer, subject, name, email }: UserRecord) => ({ issuer, subject, name, email });

const nameOf = ({ name, email, subject }: Identity) => name ?? email ?? subject;

function sessionIdOf(secret: string): string | null {
  const [, digits] = secretPattern.exec(secret) ?? [];
  return digits === undefined ? null : `ses_${digits}`;
}

/** Parses stored roles. */
export function rolesFrom(text: string): PersonRole[] {
  if (text === '') return [];
  return text.split(' ').map((role) => {
    const known = personRoles.find((one) => one === role);
    if (known === undefined) throw new Error(`unknown role "${role}" of a session or user: the database may be from a newer version`);
    return known;
  });
}
