// Verifies that an image is the one that an order names: a statement about the image must have the signature of a trusted key of the service. The
// statement about a build must also have the required publisher signatures; the statement about a driver must name the export that the driver calls.

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

/** Maximum number of cached statements. */
const maxCachedStatements = 256;

/** The image could not be verified. The message says what to do. */
export class ProvenanceError extends Error {
  override readonly name = 'ProvenanceError';
}

/** Reads from the service. */
export type ProvenanceSource = {
  /** Returns the envelope of the statement about an image, as JSON. */
  readonly provenance: (digest: string) => Promise<string>;
  /** Updates the trusted keys with the current signing keys of the service. */
  readonly renewKeys: () => Promise<void>;
};

/** The methods that proofs of builds and of drivers share. */
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
   * @returns Identifiers of the keys whose signatures were verified: keys of the service, and keys of the required publishers.
   * @throws {ProvenanceError} or what the source throws.
   */
  async verify(build: BuildIdentity, demands: readonly SignatureRequirement[] = []): Promise<string[]> {
    const cached = this.#statements.memo(build.imageDigest);
    const stated = await cached.get();
    throwIf(stated.proof.mismatchMessage(build));
    if (stated.proof.unmetRequirement(demands) === null) return allSigners(stated, demands);
    // A publisher may have signed the statement after it was cached.
    const renewed = await cached.refresh();
    throwIf(renewed.proof.mismatchMessage(build));
    throwIf(renewed.proof.unmetRequirement(demands));
    return allSigners(renewed, demands);
  }

  /**
   * Verifies the statement of a program's driver.
   * @returns The content of the statement.
   * @throws {ProvenanceError} if no trusted key has signed it, or it names another image or target; or what the source throws.
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
    // The service may have a new signing key.
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
