// Verifies the provenance of a program's driver: a trusted key has signed a statement of this image, and the image calls the ordered export.

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

  /** Returns the proof in an envelope; null if the envelope contains no driver statement. */
  static parse(envelope: Envelope, isSigned: SignatureCheck = isSignedBy): DriverProof | null {
    const statement = readDriverStatement(envelope);
    return statement && new DriverProof(envelope, statement, isSigned);
  }

  /** Returns whether a signature names one of the keys. Does not check the signature. */
  namesAnyOf(keys: readonly PublicKey[]): boolean {
    return this.#envelope.signatures.some(({ keyid }) => keys.some(({ keyId }) => keyId === keyid));
  }

  /** Returns the identifiers of the keys that have signed the driver. */
  signersAmong(keys: readonly PublicKey[]): string[] {
    return findSigners(this.#envelope, keys, this.#isSigned).map(({ keyId }) => keyId);
  }

  /** Returns the message for a driver that no trusted key has signed. */
  untrustedMessage(): string {
    const { module, export: name } = this.statement;
    const named = this.#envelope.signatures.map(({ keyid }) => keyid).join(', ') || 'no key';
    return `no key that this host trusts has signed the statement of the driver of ${module}.${name} (it names ${named}): start the program again; if the service has lost its key, make the host trust the new key (--trusted-keys)`;
  }

  /** Returns why the statement describes another driver; null if it describes the ordered one. */
  mismatchMessage({ imageDigest, module, export: name, addressing }: OrderedDriver): string | null {
    const stated = this.statement;
    if (stated.imageDigest !== imageDigest)
      return `the statement is of another driver image: expected ${imageDigest}, received ${stated.imageDigest} (driver of ${stated.module}.${stated.export}); start the program again`;
    if (stated.module !== module || stated.export !== name)
      return `the driver ${imageDigest} calls another export: expected ${module}.${name}, received ${stated.module}.${stated.export}; start the program again`;
    if (stated.addressing !== addressing)
      return `the driver ${imageDigest} has another addressing: expected ${addressing}, received ${stated.addressing}; start the program again`;
    return null;
  }
}

/** Returns the message for an envelope without a driver statement. */
export function unreadableDriverStatementMessage(imageDigest: string): string {
  return `the service has no readable statement of the driver ${imageDigest}: start the program again`;
}
