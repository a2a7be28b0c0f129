// Whether an image is what its order says: the service states it, by a key that the host trusts. Of a build, the publishers whom the device demands have
// signed the statement too; of a program's driver, the statement says what the driver calls.

import { LRUCache } from 'lru-cache';
import { BuildProof, type SignatureRequirement, unreadableStatementMessage } from '../proof/build-proof.ts';
import { DriverProof, type OrderedDriver, unreadableDriverStatementMessage } from '../proof/driver-proof.ts';
import type { StatedDriver } from '../proof/driver-statement.ts';
import type { PublicKey } from '../proof/ed25519.ts';
import { type Envelope, readEnvelope } from '../proof/envelope.ts';
import type { BuildIdentity } from '../proof/statement.ts';
import { verifySignature } from './openssl-signature.ts';
import { Refreshable } from './refreshable.ts';
import type { TrustedKeys } from './trusted-keys.ts';

/** Statements kept; the least recently used goes first. */
const maxCachedStatements = 256;

/** An image is not proven to be what its order says; the message says what to do. */
export class ProvenanceError extends Error {
  override readonly name = 'ProvenanceError';
}

/** What the service is asked for. */
export type ProvenanceSource = {
  /** The envelope of the statement about an image, JSON. */
  readonly provenance: (digest: string) => Promise<string>;
  /** Has the trusted keys learn what the service signs with now. */
  readonly renewKeys: () => Promise<void>;
};

/** What proves one image, as far as every kind of proof has it. */
type Proof = {
  namesAnyOf(keys: readonly PublicKey[]): boolean;
  signersAmong(keys: readonly PublicKey[]): string[];
  untrustedMessage(): string;
};

/** A statement that a trusted key has signed. */
type Stated<Kind extends Proof> = {
  readonly proof: Kind;
  /** Identifiers of the trusted keys that have signed it. */
  readonly signedBy: readonly string[];
};

export class BuildVerifier {
  readonly #source: ProvenanceSource;
  readonly #trusted: TrustedKeys;
  readonly #keys: Refreshable<void>;
  /** Statements about modules by the digests of their images. */
  readonly #statements = new LRUCache<string, Refreshable<Stated<BuildProof>>>({
    max: maxCachedStatements,
    memoMethod: (digest) =>
      new Refreshable(() => this.#read(digest, (envelope) => BuildProof.parse(envelope, verifySignature), unreadableStatementMessage)),
  });
  /** Statements about drivers by the digests of their images. */
  readonly #drivers = new LRUCache<string, Refreshable<Stated<DriverProof>>>({
    max: maxCachedStatements,
    memoMethod: (digest) =>
      new Refreshable(() =>
        this.#read(digest, (envelope) => DriverProof.parse(envelope, verifySignature), unreadableDriverStatementMessage),
      ),
  });

  constructor(source: ProvenanceSource, trusted: TrustedKeys) {
    this.#source = source;
    this.#trusted = trusted;
    this.#keys = new Refreshable(source.renewKeys);
  }

  /**
   * Verifies the statement and signatures of a build.
   * @returns Identifiers of the keys whose signatures were verified: the service's, and publishers' as far as they are demanded.
   * @throws {ProvenanceError} or what the source throws.
   */
  async verify(build: BuildIdentity, demands: readonly SignatureRequirement[] = []): Promise<string[]> {
    const kept = this.#statements.memo(build.imageDigest);
    const stated = await kept.get();
    throwIf(stated.proof.mismatchMessage(build));
    if (stated.proof.unmetRequirement(demands) === null) return allSigners(stated, demands);
    // Publishers may have signed it since it was downloaded.
    const renewed = await kept.refresh();
    throwIf(renewed.proof.mismatchMessage(build));
    throwIf(renewed.proof.unmetRequirement(demands));
    return allSigners(renewed, demands);
  }

  /**
   * Verifies the statement of a program's driver.
   * @returns What the statement says.
   * @throws {ProvenanceError} when no trusted key has signed it, or it is of another image or target; or what the source throws.
   */
  async verifyDriver(driver: OrderedDriver): Promise<StatedDriver> {
    const { proof } = await this.#drivers.memo(driver.imageDigest).get();
    throwIf(proof.mismatchMessage(driver));
    return proof.statement;
  }

  async #read<Kind extends Proof>(
    digest: string,
    proofOf: (envelope: Envelope) => Kind | null,
    unreadable: (digest: string) => string,
  ): Promise<Stated<Kind>> {
    const envelope = readEnvelope(await this.#source.provenance(digest));
    const proof = envelope && proofOf(envelope);
    if (proof === null) throw new ProvenanceError(unreadable(digest));
    // The service may sign with another key since the host was told.
    if (!proof.namesAnyOf(this.#trusted.keys)) await this.#keys.refresh();
    const signedBy = proof.signersAmong(this.#trusted.keys);
    if (signedBy.length === 0) throw new ProvenanceError(proof.untrustedMessage());
    return { proof, signedBy };
  }
}

function throwIf(reason: string | null): void {
  if (reason !== null) throw new ProvenanceError(reason);
}

function allSigners({ proof, signedBy }: Stated<BuildProof>, demands: readonly SignatureRequirement[]): string[] {
  return [...new Set([...signedBy, ...demands.flatMap((demand) => [...proof.signersOf(demand)])])];
}
