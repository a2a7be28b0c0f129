// The Ed25519 key with which the service signs checkpoints and builds. It is created at the first start; at a rotation it endorses its successor.

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

/** Storage of private keys outside the database, so that write access to the database does not suffice to sign. */
export type PrivateKeys = {
  /** Returns a key in PEM; null if it does not exist. */
  read(id: string): string | null;
  write(id: string, pem: string): void;
  remove(id: string): void;
};

export type SigningKeySettings = {
  readonly privateKeys: PrivateKeys;
  /** Whether the operator declares the private key lost. */
  readonly isLost: boolean;
  /** Called in the transaction that stores a new key at the start. */
  readonly beforeFirst?: (connection: Connection) => Promise<void>;
};

/** Maximum number of keys, retired ones included. */
const keyLimit = 1_000;

/** The private key of the active signing key is missing, or belongs to another key. */
export class SigningKeyError extends Error {
  override readonly name = 'SigningKeyError';
}

/** Another replica created a key at the same time. */
class ConcurrentKeyCreation extends Error {}

type ActiveKey = PublicKey & { readonly id: string; readonly privateKey: string };

export class SigningKeys {
  /** Identifies the audit trail of this installation in its checkpoints; derived from the first key. */
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
   * Opens the active key, or creates the first one.
   * @param settings With `isLost`, a missing private key is replaced by a new key without an endorsement.
   * @throws {SigningKeyError} if the private key is missing and not declared lost.
   */
  static async open(store: Store, { privateKeys, isLost, beforeFirst = async () => {} }: SigningKeySettings): Promise<SigningKeys> {
    const current = await new SigningKeyRecords(store.readConnection).current();
    const privateKey = current === null ? null : privateKeys.read(current.active.id);
    if (current === null || (privateKey === null && isLost)) {
      const created = generateKey();
      // A lost key is known only from the database.
      const predecessor = current === null ? null : { keyId: current.active.keyId, pem: current.active.publicKey };
      const isUnchanged = async (connection: Connection) =>
        (await new SigningKeyRecords(connection).current())?.active.id === current?.active.id;
      const isStored = await storeNewKey(store, privateKeys, created, async (connection) => {
        if (!(await isUnchanged(connection))) throw new ConcurrentKeyCreation();
        // In the transaction: replicas that start together see each other's private keys only once the database has the first key.
        await beforeFirst(connection);
        return { predecessor, endorser: null, requester: systemActor };
      }).then(
        () => true,
        (error: unknown) => {
          if (error instanceof ConcurrentKeyCreation) return false;
          throw error;
        },
      );
      // Another replica that started at the same time has created a key.
      if (!isStored) return SigningKeys.open(store, { privateKeys, isLost: false });
      return new SigningKeys(store, privateKeys, current?.first.keyId ?? created.keyId, created);
    }
    const { active, first } = current;
    if (privateKey === null) throw new SigningKeyError(`the private key of the active signing key ${active.id} is missing`);
    return new SigningKeys(store, privateKeys, first.keyId, toActiveKey(active, privateKey));
  }

  /**
   * Switches to the active key in the database, which another replica may have rotated. Call it in a transaction before signing.
   * @throws {SigningKeyError} if the private key belongs to another key.
   */
  async refresh(connection: Connection): Promise<void> {
    const current = await new SigningKeyRecords(connection).current();
    if (current === null || current.active.id === this.#active.id) return;
    // A key without a private key is not trusted: anyone with write access to the database can insert one.
    const privateKey = this.#privateKeys.read(current.active.id);
    if (privateKey !== null) this.#active = toActiveKey(current.active, privateKey);
  }

  /** The public key of the active signing key. */
  get active(): PublicKey & { readonly id: string } {
    const { id, keyId, pem } = this.#active;
    return { id, keyId, pem };
  }

  /** Signs a payload and returns its DSSE envelope. */
  seal(payloadType: string, payload: string): Envelope {
    return createSignedEnvelope(this.#active.privateKey, payloadType, payload);
  }

  /** Returns the signature of a message, 64 bytes. */
  sign(message: Uint8Array): Uint8Array {
    return signMessage(this.#active.privateKey, message);
  }

  /** Replaces the active key by a new one, which the old key endorses, and removes the old private key. @throws {Problem} `too-many-keys`. */
  async rotate(requester: Requester, toResponse: ToResponse<SigningKeyRecord>): Promise<SigningKeyRecord> {
    const created = generateKey();
    let replaced = this.#active;
    try {
      const record = await storeNewKey(this.#store, this.#privateKeys, created, async (connection) => {
        if ((await new SigningKeyRecords(connection).count()) >= keyLimit)
          throw new Problem('too-many-keys', `limit reached: ${keyLimit} signing keys, including retired ones`);
        await this.refresh(connection);
        replaced = this.#active;
        // The old key signs nothing after the audit event of the new key.
        this.#active = created;
        return { predecessor: replaced, endorser: replaced, requester, toResponse };
      });
      this.#privateKeys.remove(replaced.id);
      return record;
    } catch (error) {
      if (this.#active === created) this.#active = replaced;
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
   * Returns the trusted keys, oldest first: the active key and its predecessors, each endorsed by its successor. Other keys in the database are not
   * trusted: anyone with write access to it can insert them.
   * @param connection Connection of a transaction, so that the active key does not change in the meantime.
   */
  async listTrusted(connection: Connection): Promise<SigningKeyRecord[]> {
    const keys = await new SigningKeyRecords(connection).all();
    const endorsements = keys
      .toReversed()
      .flatMap(({ predecessorEndorsement }) => (predecessorEndorsement === null ? [] : (readEnvelope(predecessorEndorsement) ?? [])));
    const trusted = new Map(resolveTrustedKeys([this.#active], endorsements).map((key) => [key.keyId, key]));
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
  /** The key that the new key replaces. */
  readonly predecessor: PublicKey | null;
  /** The predecessor, if its private key is available to endorse the new key. */
  readonly endorser: ActiveKey | null;
  readonly requester: Requester;
  readonly toResponse?: ToResponse<SigningKeyRecord>;
};

/** Writes the private key before the key is committed, and removes it if the transaction fails. */
async function storeNewKey(
  store: Store,
  privateKeys: PrivateKeys,
  { id, keyId, pem, privateKey }: ActiveKey,
  introduce: (connection: Connection) => Promise<Introduction>,
): Promise<SigningKeyRecord> {
  let isWritten = false;
  try {
    return await store.transaction(async (connection) => {
      const { predecessor, endorser, requester, toResponse } = await introduce(connection);
      privateKeys.write(id, privateKey);
      isWritten = true;
      const createdAt = new Date();
      const endorsement = endorser === null ? null : createEndorsement(endorser.privateKey, { keyId, pem }, createdAt);
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
      const signedEndorsement = endorsement === null || signature === undefined ? null : { payload: endorsement.payload, ...signature };
      await audit(connection, requester, createdAt, [
        { action: 'signing-key.created', object: id, detail: { keyId, publicKey: pem, endorsement: signedEndorsement } },
      ]);
      if (toResponse !== undefined) await storeResponse(connection, requester, toResponse, record);
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
    throw new SigningKeyError(
      `the private key stored for the signing key ${id} belongs to another key: expected ${keyId}, found ${publicPart.keyId}`,
    );
  return { ...publicPart, id, privateKey };
}

function generateKey(): ActiveKey {
  const privateKey = generatePrivateKey();
  return { ...derivePublicKey(privateKey), id: newIdentifier('signing key'), privateKey };
}
