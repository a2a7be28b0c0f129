// Whether a program's driver is what its order says: a trusted key has stated exactly this image, and that it calls what the order names.

import { type DriverTarget, readDriverStatement, type StatedDriver } from './driver-statement.ts';
import { isSignedBy, type PublicKey, type SignatureCheck } from './ed25519.ts';
import { type Envelope, findSigners } from './envelope.ts';

/** The driver that an order names. */
export type OrderedDriver = DriverTarget & { readonly imageDigest: string };

export class DriverProof {
  readonly statement: StatedDriver;
  readonly #envelope: Envelope;
  readonly #isSigned: SignatureCheck;

  private constructor(envelope: Envelope, statement: StatedDriver, isSigned: SignatureCheck) {
    this.#envelope = envelope;
    this.statement = statement;
    this.#isSigned = isSigned;
  }

  /** Null where the envelope states no driver. */
  static parse(envelope: Envelope, isSigned: SignatureCheck = isSignedBy): DriverProof | null {
    const statement = readDriverStatement(envelope);
    return statement && new DriverProof(envelope, statement, isSigned);
  }

  /** Whether a signature of it names one of these keys, right or wrong. */
  namesAnyOf(keys: readonly PublicKey[]): boolean {
    return this.#envelope.signatures.some(({ keyid }) => keys.some(({ keyId }) => keyId === keyid));
  }

  /** Identifiers of those of these keys that have signed it. */
  signersAmong(keys: readonly PublicKey[]): string[] {
    return findSigners(this.#envelope, keys, this.#isSigned).map(({ keyId }) => keyId);
  }

  /** What a host says that trusts none of its signers. */
  untrustedMessage(): string {
    const { module, export: name } = this.statement;
    const named = this.#envelope.signatures.map(({ keyid }) => keyid).join(', ') || 'no key';
    return `no key that this host trusts has signed the statement of the driver of ${module}.${name} (it names ${named}): start the program again; if the service has lost its key, have the host trust the new one (--trusted-keys)`;
  }

  /** Why it is the proof of another driver; null where it is of this one. */
  mismatchMessage({ imageDigest, module, export: name, addressing }: OrderedDriver): string | null {
    const stated = this.statement;
    if (stated.imageDigest !== imageDigest)
      return `the service states that the driver of ${stated.module}.${stated.export} is ${stated.imageDigest}, not ${imageDigest} as ordered: start the program again`;
    if (stated.module !== module || stated.export !== name)
      return `the service states that the driver ${imageDigest} calls ${stated.module}.${stated.export}, not ${module}.${name} as ordered: start the program again`;
    if (stated.addressing !== addressing)
      return `the service states that the driver ${imageDigest} has the addressing ${stated.addressing}, not ${addressing} as ordered: start the program again`;
    return null;
  }
}

/** The message for an envelope without a driver statement. */
export function unreadableDriverStatementMessage(imageDigest: string): string {
  return `the service has no readable statement of the driver ${imageDigest}: start the program again`;
}
