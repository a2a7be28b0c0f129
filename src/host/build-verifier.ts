// Whether a build is what its order says: the service states it, by a key that the host trusts, and whoever the device demands has signed it too.

import { BuildProof, type SignatureDemand, unreadableStatement } from '../proof/build-proof.ts';
import { readEnvelope } from '../proof/envelope.ts';
import type { StatedBuild } from '../proof/statement.ts';
import { Rereadable } from './rereadable.ts';
import type { TrustedKeys } from './trusted-keys.ts';

/** Statements kept; the least recently used goes first. */
const statementsKept = 256;

/** A build is not proven to be what it is to be; the message says what to do. */
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

/** A statement that a trusted key has signed. */
type Stated = {
  readonly proof: BuildProof;
  /** Identifiers of the trusted keys that have signed it. */
  readonly signedBy: readonly string[];
};

export class BuildVerifier {
  readonly #source: ProvenanceSource;
  readonly #trusted: TrustedKeys;
  readonly #keys: Rereadable<void>;
  /** By the digests of their images, the least recently used first. */
  readonly #statements = new Map<string, Rereadable<Stated>>();

  constructor(source: ProvenanceSource, trusted: TrustedKeys) {
    this.#source = source;
    this.#trusted = trusted;
    this.#keys = new Rereadable(source.renewKeys);
  }

  /**
   * Verifies the statement and signatures of a build.
   * @returns Identifiers of the keys whose signatures were verified: the service's, and publishers' as far as they are demanded.
   * @throws {ProvenanceError} or what the source throws.
   */
  async verify(build: StatedBuild, demands: readonly SignatureDemand[] = []): Promise<string[]> {
    const kept = this.#statementOf(build.imageDigest);
    const stated = await kept.latest();
    refuseIf(stated.proof.misstatementOf(build));
    if (stated.proof.unmet(demands) === null) return signersOfAll(stated, demands);
    // Publishers may have signed it since it was downloaded.
    const renewed = await kept.again();
    refuseIf(renewed.proof.misstatementOf(build));
    refuseIf(renewed.proof.unmet(demands));
    return signersOfAll(renewed, demands);
  }

  #statementOf(digest: string): Rereadable<Stated> {
    const statement = this.#statements.get(digest) ?? new Rereadable(() => this.#read(digest));
    this.#statements.delete(digest);
    this.#statements.set(digest, statement);
    const [oldest] = this.#statements.keys();
    if (this.#statements.size > statementsKept && oldest !== undefined) this.#statements.delete(oldest);
    return statement;
  }

  async #read(digest: string): Promise<Stated> {
    const envelope = readEnvelope(await this.#source.provenance(digest));
    const proof = envelope && BuildProof.of(envelope);
    if (proof === null) throw new ProvenanceError(unreadableStatement(digest));
    // The service may sign with another key since the host was told.
    if (!proof.names(this.#trusted.keys)) await this.#keys.again();
    const signedBy = proof.signersAmong(this.#trusted.keys);
    if (signedBy.length === 0) throw new ProvenanceError(proof.untrusted());
    return { proof, signedBy };
  }
}

function refuseIf(reason: string | null): void {
  if (reason !== null) throw new ProvenanceError(reason);
}

function signersOfAll({ proof, signedBy }: Stated, demands: readonly SignatureDemand[]): string[] {
  return [...new Set([...signedBy, ...demands.flatMap((demand) => [...proof.signersOf(demand)])])];
}
