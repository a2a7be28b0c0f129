// An action that changes something, executed once even if the user retries after a lost response.

import { useRef, useState } from 'preact/hooks';
import { type Failure, failureOf } from '../live/failure.ts';
import { newIdempotencyKey } from './idempotency-key.ts';

export type Action = {
  readonly isUnderWay: boolean;
  readonly failure: Failure | null;
  readonly run: () => void;
};

/** @param act Sends the request with the given idempotency header. @param onDone Called after success. */
export function useAction<Done>(
  act: (headers: { readonly 'Idempotency-Key': string }) => Promise<Done>,
  onDone: (done: Done) => void,
): Action {
  const [isUnderWay, setUnderWay] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);
  const key = useRef(newIdempotencyKey());
  const run = async () => {
    if (isUnderWay) return;
    setUnderWay(true);
    setFailure(null);
    try {
      const done = await act({ 'Idempotency-Key': key.current });
      // Done: the next action needs a new key.
      key.current = newIdempotencyKey();
      setUnderWay(false);
      onDone(done);
    } catch (error) {
      const failed = failureOf(error);
      // The service rejected the request: the next attempt may differ.
      if (failed.status !== null && failed.status < 500) key.current = newIdempotencyKey();
      setUnderWay(false);
      setFailure(failed);
    }
  };
  return { isUnderWay, failure, run };
}
