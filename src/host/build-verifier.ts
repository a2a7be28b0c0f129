// Whether a build is what its order says: the service states it, by a key that the host trusts, and whoever the device demands has signed it too.

import { readIfKey } from '../proof/ed25519.ts';
import { type Envelope, readEnvelope, signersOf } from '../proof/envelope.ts';
import { isOf, type ReadStatement, readStatement, type StatedBuild } from '../proof/statement.ts';
import type { SignatureDemand } from '../protocol/agent.ts';
import { Rereadable } from './rereadable.ts';
import type { TrustedKeys } from './trusted-keys.ts';

/** Statements kept; the least recently used goes first. */
const statementsKept = 1_000;

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
  readonly envelope: Envelope;
  readonly statement: ReadStatement;
  /** Identifiers of the trusted keys that have signed it. */
  readonly signedBy: readonly string[];
  /** Of publishers' keys that were asked about, in PEM: the identifier of each that has signed it, null of each that has not. */
  readonly publishers: Map<string, string | null>;
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
    checkStates(stated, build);
    if (demands.every((demand) => isMet(stated, demand))) return signersOfAll(stated, demands);
    // Publishers may have signed it since it was downloaded.
    const renewed = await kept.again();
    checkStates(renewed, build);
    for (const demand of demands) if (!isMet(renewed, demand)) throw unmet(renewed, demand, build);
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
    const statement = envelope && readStatement(envelope);
    if (envelope === null || statement === null)
      throw new ProvenanceError(
        `what the service states of the image ${digest} cannot be read: restore its database, or push the source anew`,
      );
    const signers = await this.#trustedSignersOf(envelope);
    if (signers.length === 0) {
      const named = envelope.signatures.map(({ keyid }) => keyid).join(', ') || 'nobody';
      throw new ProvenanceError(
        `no key that this host trusts has signed the statement of ${statement.module}@${statement.version} as it is (it names ${named}): if somebody has changed it, restore the database of the service; if the service has lost its key, have the host trust the new one (--trusted-keys)`,
      );
    }
    return { envelope, statement, signedBy: signers.map(({ keyId }) => keyId), publishers: new Map() };
  }

  async #trustedSignersOf(envelope: Envelope) {
    const isKnown = envelope.signatures.some(({ keyid }) => this.#trusted.keys.some(({ keyId }) => keyId === keyid));
    // The service may sign with another key since the host was told.
    if (!isKnown) await this.#keys.again();
    return signersOf(envelope, this.#trusted.keys);
  }
}

function checkStates({ statement }: Stated, build: StatedBuild): void {
  if (isOf(statement, build)) return;
  const { module, version, imageDigest } = build;
  throw new ProvenanceError(
    `the service states that the image is ${statement.module}@${statement.version} (${statement.imageDigest}), and not ${module}@${version} (${imageDigest}) as ordered: restore the database of the service`,
  );
}

/** Identifiers of the publishers' keys of a demand that have signed; one that is named twice counts once. */
function signersOfDemand({ envelope, publishers }: Stated, { publicKeys }: SignatureDemand): ReadonlySet<string> {
  const signers = publicKeys.map((pem) => {
    const known = publishers.get(pem);
    if (known !== undefined) return known;
    const key = readIfKey(pem);
    const [signer] = key === null ? [] : signersOf(envelope, [key]);
    publishers.set(pem, signer?.keyId ?? null);
    return signer?.keyId ?? null;
  });
  return new Set(signers.filter((signer) => signer !== null));
}

function isMet(stated: Stated, demand: SignatureDemand): boolean {
  return signersOfDemand(stated, demand).size >= demand.threshold;
}

function signersOfAll(stated: Stated, demands: readonly SignatureDemand[]): string[] {
  return [...new Set([...stated.signedBy, ...demands.flatMap((demand) => [...signersOfDemand(stated, demand)])])];
}

function unmet(stated: Stated, demand: SignatureDemand, { module, version }: StatedBuild): ProvenanceError {
  const { name, policy, threshold, publicKeys } = demand;
  return new ProvenanceError(
    `the signature policy ${name} (${policy}) demands that ${threshold} of ${publicKeys.length} publisher keys have signed ${module}@${version}, and ${signersOfDemand(stated, demand).size} have: have it signed (patchbay build sign ${module} ${version}), and load it again`,
  );
}
