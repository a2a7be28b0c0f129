// Verifies the provenance of a build: a trusted key has signed its statement, and the signature policies are met. The host that loads the build and
// the service that forecasts the load use the same check.

import { isSignedBy, type PublicKey, type SignatureCheck, tryReadPublicKey } from './ed25519.ts';
import { type Envelope, findSigners } from './envelope.ts';
import { type BuildIdentity, isSameBuild, type ParsedStatement, readStatement } from './statement.ts';

/** The signatures of a build that one signature policy requires. */
export type SignatureRequirement = {
  readonly policy: string;
  readonly name: string;
  /** Keys of the publishers whose signatures count, in PEM. */
  readonly publicKeys: readonly string[];
  /** Minimum number of these keys that have signed. */
  readonly threshold: number;
};

export class BuildProof {
  readonly #envelope: Envelope;
  readonly #statement: ParsedStatement;
  readonly #isSigned: SignatureCheck;
  /** Checked publisher keys in PEM: the key identifier if the key has signed the build, null otherwise. */
  readonly #publishers = new Map<string, string | null>();

  private constructor(envelope: Envelope, statement: ParsedStatement, isSigned: SignatureCheck) {
    this.#envelope = envelope;
    this.#statement = statement;
    this.#isSigned = isSigned;
  }

  /** Returns the proof in an envelope; null if the envelope contains no build statement. */
  static parse(envelope: Envelope, isSigned: SignatureCheck = isSignedBy): BuildProof | null {
    const statement = readStatement(envelope);
    return statement && new BuildProof(envelope, statement, isSigned);
  }

  /** Returns whether a signature names one of the keys. Does not check the signature. */
  namesAnyOf(keys: readonly PublicKey[]): boolean {
    return this.#envelope.signatures.some(({ keyid }) => keys.some(({ keyId }) => keyId === keyid));
  }

  /** Returns the identifiers of the keys that have signed the build. */
  signersAmong(keys: readonly PublicKey[]): string[] {
    return findSigners(this.#envelope, keys, this.#isSigned).map(({ keyId }) => keyId);
  }

  /** Returns the identifiers of a requirement's publisher keys that have signed the build. Duplicate keys count once. */
  signersOf({ publicKeys }: SignatureRequirement): ReadonlySet<string> {
    return new Set(publicKeys.map((pem) => this.#signerOf(pem)).filter((signer) => signer !== null));
  }

  /** Returns the message for a build that no trusted key has signed. */
  untrustedMessage(): string {
    const { module, version } = this.#statement;
    const named = this.#envelope.signatures.map(({ keyid }) => keyid).join(', ') || 'no key';
    return `no key that this host trusts has signed the statement of ${module}@${version} (it names ${named}): if the statement was changed, restore the database of the service; if the service has lost its key, make the host trust the new key (--trusted-keys)`;
  }

  /** Returns why the statement describes another build; null if it describes this build. */
  mismatchMessage(build: BuildIdentity): string | null {
    const stated = this.#statement;
    if (isSameBuild(stated, build)) return null;
    const { module, version, imageDigest } = build;
    return `the statement is of another image: expected ${module}@${version} (${imageDigest}), received ${stated.module}@${stated.version} (${stated.imageDigest}); restore the database of the service`;
  }

  /** Returns why the first unmet requirement is not met; null if all are met. */
  unmetRequirement(requirements: readonly SignatureRequirement[]): string | null {
    for (const requirement of requirements) {
      const signers = this.signersOf(requirement).size;
      if (signers >= requirement.threshold) continue;
      const { name, policy, threshold, publicKeys } = requirement;
      const { module, version } = this.#statement;
      return `the signature policy ${name} (${policy}) requires signatures of ${threshold} of ${publicKeys.length} publisher keys for ${module}@${version}, which has ${signers}: sign the build (patchbay build sign ${module} ${version}), and load it again`;
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

/** Returns the message for an envelope without a build statement. */
export function unreadableStatementMessage(imageDigest: string): string {
  return `the statement of the image ${imageDigest} cannot be read: restore the database of the service, or push the source again`;
}
