// The keys whose signatures the host trusts: the signing keys of the service, or pinned keys and the keys that they endorse.

import { type PublicKey, tryReadPublicKey } from '../proof/ed25519.ts';
import { resolveTrustedKeys } from '../proof/endorsement.ts';
import type { ServiceKey } from '../protocol/signed-statement.ts';

export class TrustedKeys {
  readonly #pinned: readonly PublicKey[] | null;
  #keys: readonly PublicKey[];

  /** @param pinned Keys pinned by the operator of the host; null: trust every signing key of the service. */
  constructor(pinned: readonly PublicKey[] | null) {
    this.#pinned = pinned;
    this.#keys = pinned ?? [];
  }

  get keys(): readonly PublicKey[] {
    return this.#keys;
  }

  /** Updates the trusted keys from the signing keys of the service. With pinned keys, trusts only keys that they endorse, directly or through other keys. */
  update(serviceKeys: readonly ServiceKey[]): void {
    this.#keys =
      this.#pinned === null
        ? serviceKeys.flatMap(({ publicKey }) => tryReadPublicKey(publicKey) ?? [])
        : resolveTrustedKeys(
            this.#pinned,
            serviceKeys.flatMap(({ endorsement }) => endorsement ?? []),
          );
  }
}
