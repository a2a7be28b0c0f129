// The reaction to a failed wave.

import type { Schemas } from '../../src/client/client.ts';
import { failureReactions } from '../../src/client/enum-values.ts';
import { Choice } from './fields.tsx';

type Parts = { readonly onFailure: Schemas['OnFailure']; readonly onChange: (onFailure: Schemas['OnFailure']) => void };

export function ReactionField({ onFailure, onChange }: Parts) {
  return (
    <Choice
      label="If a wave fails"
      pointer="/onFailure"
      value={onFailure}
      options={failureReactions}
      meanings={reactionMeanings}
      onChange={onChange}
    />
  );
}

const reactionMeanings = {
  pause: 'the rollout waits for an operator',
  rollback: 'every device that got the build is rolled back',
  continue: 'the failure is recorded, and the rollout continues',
};
