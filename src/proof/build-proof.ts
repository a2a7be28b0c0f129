// Whether a build is what it is to be: a trusted key has stated it, and whoever is demanded has signed it too. One decision, made by the host that
// loads it and by whoever forecasts that.

import { isSignedBy, type PublicKey, type SignatureCheck, tryReadPublicKey } from './ed25519.ts';
import { type Envelope, findSigners } from './envelope.ts';
import { type BuildIdentity, isSameBuild, type ParsedStatement, readStatement } from './statement.ts';

/** Whose signatures of a build are demanded, by one signature policy. */
export type SignatureRequirement = {
  readonly policy: string;
  readonly name: string;
  /** Of the publishers whose signatures count, in PEM. */
  readonly publicKeys: readonly string[];
  /** How many of them are to have signed. */
  readonly threshold: number;
};

export class BuildProof {
  readonly #envelope: Envelope;
  readonly #statement: ParsedStatement;
  readonly #isSigned: SignatureCheck;
  /** Of publishers' keys that were asked about, in PEM: the identifier of each that has signed it, null of each that has not. */
  readonly #publishers = new Map<string, string | null>();

  private constructor(envelope: Envelope, statement: ParsedStatement, isSigned: SignatureCheck) {
    this.#envelope = envelope;
    this.#statement = statement;
    this.#isSigned = isSigned;
  }

  /** Null where the envelope states no build. */
  static parse(envelope: Envelope, isSigned: SignatureCheck = isSignedBy): BuildProof | null {
    const statement = readStatement(envelope);
    return statement && new BuildProof(envelope, statement, isSigned);
  }

  /** Whether a signature of it names one of these keys, right or wrong. */
  namesAnyOf(keys: readonly PublicKey[]): boolean {
    return this.#envelope.signatures.some(({ keyid }) => keys.some(({ keyId }) => keyId === keyid));
  }

  /** Identifiers of those of these keys that have signed it. */
  signersAmong(keys: readonly PublicKey[]): string[] {
    return findSigners(this.#envelope, keys, this.#isSigned).map(({ keyId }) => keyId);
  }

  /** Identifiers of the publishers' keys of a demand that have signed it; one that is named twice counts once. */
  signersOf({ publicKeys }: SignatureRequirement): ReadonlySet<string> {
    return new Set(publicKeys.map((pem) => this.#signerOf(pem)).filter((signer) => signer !== null));
  }

  /** What a host says that trusts none of its signers. */
  untrustedMessage(): string {
    const { module, version } = this.#statement;
    const named = this.#envelope.signatures.map(({ keyid }) => keyid).join(', ') || 'nobody';
    return `no key that this host trusts has signed the statement of ${module}@${version} as it is (it names ${named}): if somebody has changed it, restore the database of the service; if the service has lost its key, have the host trust the new one (--trusted-keys)`;
  }

  /** Why it is the proof of another build; null where it is of this one. */
  mismatchMessage(build: BuildIdentity): string | null {
    const stated = this.#statement;
    if (isSameBuild(stated, build)) return null;
    const { module, version, imageDigest } = build;
    return `the service states that the image is ${stated.module}@${stated.version} (${stated.imageDigest}), and not ${module}@${version} (${imageDigest}) as ordered: restore the database of the service`;
  }

  /** Why the first of these demands that is not met is not; null where all are. */
  unmetRequirement(demands: readonly SignatureRequirement[]): string | null {
    for (const demand of demands) {
      const signers = this.signersOf(demand).size;
      if (signers >= demand.threshold) continue;
      const { name, policy, threshold, publicKeys } = demand;
      const { module, version } = this.#statement;
      return `the signature policy ${name} (${policy}) demands that ${threshold} of ${publicKeys.length} publisher keys have signed ${module}@${version}, and ${signers} have: have it signed (patchbay build sign ${module} ${version}), and load it again`;
    }
    return null;
  }

  #signerOf(pem: string): string | null {
    const known = this.#publishers.get(pem);
    if (known !== undefined) return known;
    const key = tryReadPublicKey(pem);
    const [signer = null] = key === null ? [] : this.signersAmong([key]);
    this.#publishers.set(pem, signer);
    return signer;
  }
}

/** What is said of an envelope that states no build. */
export function unreadableStatementMessage(imageDigest: string): string {
  return `what the service states of the image ${imageDigest} cannot be read: restore its database, or push the source anew`;
}
