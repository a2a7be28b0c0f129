// Whether an audit trail is as it was written, said to people.

import type { Verification } from '../../proof/audit-export.ts';

/** @param isPinned Whether the keys are those that somebody has kept, and not what the service says of itself. */
export function formatVerification(verification: Verification, isPinned: boolean): string[] {
  switch (verification.kind) {
    case 'corrupt': {
      const { first, last, reason } = verification;
      const which = first === last ? `event ${first}` : `one of the events ${first} to ${last}`;
      return [`the trail is not as it was written: ${which} is bad: ${reason}`, ...(first > 1 ? [`the ${first - 1} before are good`] : [])];
    }
    case 'unverifiable':
      return [`nothing is proven: ${verification.reason}`];
    case 'intact':
      return [...wholeLines(verification), ...(isPinned || verification.checkpoint === null ? [] : [ownWord])];
  }
}

const ownWord =
  'the key is what the service says it is: keep it where nobody who may change the database can (patchbay signing-key list --pem), and give it with --public-key';

function wholeLines({ first, last, checkpoint }: Extract<Verification, { kind: 'intact' }>): string[] {
  const whole = `the trail is whole: events ${first} to ${last}, each linked to the one before`;
  if (checkpoint === null)
    return [whole, 'no checkpoint was there to prove them: the service signs one every minute (patchbay audit checkpoint --make)'];
  const { size, at, keyId } = checkpoint;
  const proven = `the checkpoint of ${at} over ${size} events, signed by ${keyId}, is of these`;
  return last === size ? [whole, proven] : [whole, `${proven}; the ${last - size} after it are linked, and not yet proven`];
}
