// The Ed25519 key that the service signs checkpoints and builds with: made at the first start, and replaced by one for which it vouches.

import type { PublicKey } from '../../proof/ed25519.ts';
import { resolveTrustedKeys } from '../../proof/endorsement.ts';
import { type Envelope, readEnvelope } from '../../proof/envelope.ts';
import { newIdentifier } from '../../protocol/identifiers.ts';
import { createEndorsement, createSignedEnvelope } from '../../signing/envelope-signing.ts';
import { derivePublicKey, generatePrivateKey, signMessage } from '../../signing/private-key.ts';
import { audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import type { DamagedItem } from '../database/damaged-rows.ts';
import type { PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { notFound, Problem } from '../problem.ts';
import { type Requester, systemActor } from '../requester.ts';
import { SigningKeyQueries } from './queries.ts';
import type { SigningKeyRecord } from './repository.ts';
import { SigningKeyRecords } from './repository.ts';

/** Where the private parts are kept, which the database never has: whoever changes it cannot sign what they made of it. */
export type PrivateKeys = {
  /** The key in PEM; null where it is not there. */
  read(id: string): string | null;
  write(id: string, pem: string): void;
  remove(id: string): void;
};

export type SigningKeySettings = {
  readonly privateKeys: PrivateKeys;
  /** Whether the operator says that the private part of the key is lost. */
  readonly isLost: boolean;
  /** Called in the transaction that keeps a key where there was none, or another. */
  readonly beforeFirst?: (connection: Connection) => Promise<void>;
};

/** Keys that there ever were. */
const keyLimit = 1_000;

/** The private part of the key that the service signs with is not there. */
export class SigningKeyError extends Error {
  override readonly name = 'SigningKeyError';
}

/** Another replica of the service has made a key meanwhile. */
class ConcurrentKeyCreation extends Error {}

type ActiveKey = PublicKey & { readonly id: string; readonly privateKey: string };

export class SigningKeys {
  /** Names the audit trail of this installation, wherever a checkpoint of it is read: after the first key. */
  readonly origin: string;
  readonly #store: Store;
  readonly #privateKeys: PrivateKeys;
  #active: ActiveKey;

  private constructor(store: Store, privateKeys: PrivateKeys, first: string, active: ActiveKey) {
    this.origin = `patchbay/${first.slice('sha256:'.length, 'sha256:'.length + 16)}`;
    this.#store = store;
    this.#privateKeys = privateKeys;
    this.#active = active;
  }

  /**
   * Takes the key up that the service signed with, or makes its first.
   * @param settings With `isLost`, another is made where the private part of that one is gone; nobody vouches for it.
   * @throws {SigningKeyError} where it is gone, and not said to be lost.
   */
  static async open(store: Store, { privateKeys, isLost, beforeFirst = async () => {} }: SigningKeySettings): Promise<SigningKeys> {
    const current = await new SigningKeyRecords(store.readConnection).current();
    const privateKey = current === null ? null : privateKeys.read(current.active.id);
    if (current === null || (privateKey === null && isLost)) {
      const made = generateKey();
      // Of a key that is lost there is but the database's word.
      const predecessor = current === null ? null : { keyId: current.active.keyId, pem: current.active.publicKey };
      const isStillSo = async (connection: Connection) =>
        (await new SigningKeyRecords(connection).current())?.active.id === current?.active.id;
      const isMade = await storeNewKey(store, privateKeys, made, async (connection) => {
        if (!(await isStillSo(connection))) throw new ConcurrentKeyCreation();
        // In the transaction: replicas that start together see each other's private keys, but only once the database has the first key.
        await beforeFirst(connection);
        return { predecessor, vouching: null, requester: systemActor };
      }).then(
        () => true,
        (error: unknown) => {
          if (error instanceof ConcurrentKeyCreation) return false;
          throw error;
        },
      );
      // Another replica, which was started at the same time, has made one.
      if (!isMade) return SigningKeys.open(store, { privateKeys, isLost: false });
      return new SigningKeys(store, privateKeys, current?.first.keyId ?? made.keyId, made);
    }
    const { active, first } = current;
    if (privateKey === null) throw new SigningKeyError(`the key ${active.id}, with which the service signs, is not where it was kept`);
    return new SigningKeys(store, privateKeys, first.keyId, toActiveKey(active, privateKey));
  }

  /**
   * Takes up the key by which another replica of the service may have replaced this one's; to be called in a transaction before anything is signed there.
   * @throws {SigningKeyError} where its private part is another key's.
   */
  async refresh(connection: Connection): Promise<void> {
    const current = await new SigningKeyRecords(connection).current();
    if (current === null || current.active.id === this.#active.id) return;
    // A key in the database without a private part is whoever's who can write to it.
    const privateKey = this.#privateKeys.read(current.active.id);
    if (privateKey !== null) this.#active = toActiveKey(current.active, privateKey);
  }

  /** The public part of the key that is signed with now. */
  get active(): PublicKey & { readonly id: string } {
    const { id, keyId, pem } = this.#active;
    return { id, keyId, pem };
  }

  /** Signs a payload of a type, as a DSSE envelope. */
  seal(payloadType: string, payload: string): Envelope {
    return createSignedEnvelope(this.#active.privateKey, payloadType, payload);
  }

  /** The 64 bytes of a message's signature. */
  sign(message: Uint8Array): Uint8Array {
    return signMessage(this.#active.privateKey, message);
  }

  /** Replaces the key by a new one, for which it vouches; its private part is gone then. @throws {Problem} `too-many-keys`. */
  async rotate(requester: Requester, answerOf: ToResponse<SigningKeyRecord>): Promise<SigningKeyRecord> {
    const made = generateKey();
    let replaced = this.#active;
    try {
      const record = await storeNewKey(this.#store, this.#privateKeys, made, async (connection) => {
        if ((await new SigningKeyRecords(connection).count()) >= keyLimit)
          throw new Problem('too-many-keys', `there were ${keyLimit} signing keys, as many as may be`);
        await this.refresh(connection);
        replaced = this.#active;
        // Nothing is signed by the old key after the event that tells of the new one.
        this.#active = made;
        return { predecessor: replaced, vouching: replaced, requester, answerOf };
      });
      this.#privateKeys.remove(replaced.id);
      return record;
    } catch (error) {
      if (this.#active === made) this.#active = replaced;
      throw error;
    }
  }

  /** @throws {Problem} `not-found`. */
  async find(id: string): Promise<SigningKeyRecord> {
    const key = await new SigningKeyRecords(this.#store.readConnection).find(id);
    if (key === null) throw notFound('signing key', id);
    return key;
  }

  /**
   * The keys that the service signs or has signed with, the oldest first: the one whose private part it has, and those for which that vouches,
   * each for the one before it. Others in the database are whoever's who can write to it.
   * @param connection Of a transaction, so that no other key takes the place of that one meanwhile.
   */
  async listTrusted(connection: Connection): Promise<SigningKeyRecord[]> {
    const keys = await new SigningKeyRecords(connection).all();
    const vouching = keys
      .toReversed()
      .flatMap(({ predecessorEndorsement }) => (predecessorEndorsement === null ? [] : (readEnvelope(predecessorEndorsement) ?? [])));
    const trusted = new Map(resolveTrustedKeys([this.#active], vouching).map((key) => [key.keyId, key]));
    return keys.flatMap((key) => {
      const { pem } = trusted.get(key.keyId) ?? {};
      return pem === undefined ? [] : [{ ...key, publicKey: pem }];
    });
  }

  list(page: PageByTime): Promise<PageResult<SigningKeyRecord | DamagedItem, PageByTime>> {
    return readMarkedPage(page, {
      read: (wanted) => new SigningKeyQueries(this.#store.reader).list(wanted),
      positionOf: ({ createdAt, id }) => ({ time: createdAt, key: id }),
      positionOfUndecodable: undecodablePosition.byTime,
    });
  }
}

type Introduction = {
  /** The key that it takes the place of. */
  readonly predecessor: PublicKey | null;
  /** That key where it can vouch for the new one. */
  readonly vouching: ActiveKey | null;
  readonly requester: Requester;
  readonly answerOf?: ToResponse<SigningKeyRecord>;
};

/** Keeps the private part before anybody knows of the key, and takes it away again where that fails. */
async function storeNewKey(
  store: Store,
  privateKeys: PrivateKeys,
  { id, keyId, pem, privateKey }: ActiveKey,
  introduce: (connection: Connection) => Promise<Introduction>,
): Promise<SigningKeyRecord> {
  let isWritten = false;
  try {
    return await store.transaction(async (connection) => {
      const { predecessor, vouching, requester, answerOf } = await introduce(connection);
      privateKeys.write(id, privateKey);
      isWritten = true;
      const createdAt = new Date();
      const endorsement = vouching === null ? null : createEndorsement(vouching.privateKey, { keyId, pem }, createdAt);
      await new SigningKeyRecords(connection).retireAll(createdAt);
      const forPredecessor = predecessor && JSON.stringify(createEndorsement(privateKey, predecessor, createdAt));
      const record = await new SigningKeyRecords(connection).create({
        id,
        keyId,
        publicKey: pem,
        createdAt,
        endorsement,
        predecessorEndorsement: forPredecessor,
      });
      const [signature] = endorsement?.signatures ?? [];
      const vouched = endorsement === null || signature === undefined ? null : { payload: endorsement.payload, ...signature };
      await audit(connection, requester, createdAt, [
        { action: 'signing-key.created', object: id, detail: { keyId, publicKey: pem, endorsement: vouched } },
      ]);
      if (answerOf !== undefined) await storeResponse(connection, requester, answerOf, record);
      return record;
    });
  } catch (error) {
    if (isWritten) privateKeys.remove(id);
    throw error;
  }
}

/** @throws {SigningKeyError} */
function toActiveKey({ id, keyId }: Pick<SigningKeyRecord, 'id' | 'keyId'>, privateKey: string): ActiveKey {
  const publicPart = derivePublicKey(privateKey);
  if (publicPart.keyId !== keyId)
    throw new SigningKeyError(`what is kept as the key ${id}, with which the service signs, is another key (${publicPart.keyId})`);
  return { ...publicPart, id, privateKey };
}

function generateKey(): ActiveKey {
  const privateKey = generatePrivateKey();
  return { ...derivePublicKey(privateKey), id: newIdentifier('signing key'), privateKey };
}
