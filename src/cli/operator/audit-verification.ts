// Formats the result of a verification of the audit trail.

import type { Verification } from '../../proof/audit-export.ts';

/** Returns the result in lines. @param isPinned Whether the user gave the public keys, so that the service cannot vouch for itself. */
export function formatVerification(verification: Verification, isPinned: boolean): string[] {
  switch (verification.kind) {
    case 'corrupt': {
      const { first, last, reason } = verification;
      const events = first === last ? `event ${first} is invalid` : `one of the events ${first} to ${last} is invalid`;
      return [`the audit trail was altered: ${events}: ${reason}`, ...(first > 1 ? [`the ${first - 1} events before are valid`] : [])];
    }
    case 'unverifiable':
      return [`not verified: ${verification.reason}`];
    case 'intact':
      return [...formatIntact(verification), ...(isPinned || verification.checkpoint === null ? [] : [ownKeyWarning])];
  }
}

const ownKeyWarning =
  'warning: the service supplied its own public key; save the key outside the reach of database administrators (patchbay signing-key list --pem), and give it with --public-key';

function formatIntact({ first, last, checkpoint }: Extract<Verification, { kind: 'intact' }>): string[] {
  const intact = `the audit trail is intact: events ${first} to ${last} are linked by their hashes`;
  if (checkpoint === null)
    return [intact, 'no checkpoint proves these events: the service signs a checkpoint every minute (patchbay audit checkpoint --create)'];
  const { size, at, keyId } = checkpoint;
  const proven = `the checkpoint of ${at}, signed by ${keyId}, proves ${size} events`;
  return last === size ? [intact, proven] : [intact, `${proven}; the ${last - size} events after it are linked, but not yet proven`];
}
