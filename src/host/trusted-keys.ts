// The keys whose signatures of builds the host trusts: those that the service tells it, or those that its operator has pinned and what they vouch for.

import { type PublicKey, tryReadPublicKey } from '../proof/ed25519.ts';
import { resolveTrustedKeys } from '../proof/endorsement.ts';
import type { ServiceKey } from '../protocol/signed-statement.ts';

export class TrustedKeys {
  readonly #pinned: readonly PublicKey[] | null;
  #keys: readonly PublicKey[];

  /** @param pinned Null: whatever keys the service says that it signs with. */
  constructor(pinned: readonly PublicKey[] | null) {
    this.#pinned = pinned;
    this.#keys = pinned ?? [];
  }

  get keys(): readonly PublicKey[] {
    return this.#keys;
  }

  /** Takes in what the service says that it signs or has signed with. Of that, pinned keys let in only what they vouch for, or what that vouches for. */
  update(told: readonly ServiceKey[]): void {
    this.#keys =
      this.#pinned === null
        ? told.flatMap(({ publicKey }) => tryReadPublicKey(publicKey) ?? [])
        : resolveTrustedKeys(
            this.#pinned,
            told.flatMap(({ endorsement }) => endorsement ?? []),
          );
  }
}
