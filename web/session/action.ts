// Something that a user has the service do: once, however often they try because no answer came.

import { useRef, useState } from 'preact/hooks';
import { type Failure, failureOf } from '../live/failure.ts';
import { newIdempotencyKey } from './once.ts';

export type Action = {
  readonly isUnderWay: boolean;
  readonly failure: Failure | null;
  readonly run: () => void;
};

/** @param act Does it, with the headers that have it done once. @param onDone What is to come then. */
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
      // It is done: what is asked for next is another thing.
      key.current = newIdempotencyKey();
      setUnderWay(false);
      onDone(done);
    } catch (error) {
      const failed = failureOf(error);
      // The service has answered that it did not do it: what is tried next may be another thing.
      if (failed.status !== null && failed.status < 500) key.current = newIdempotencyKey();
      setUnderWay(false);
      setFailure(failed);
    }
  };
  return { isUnderWay, failure, run };
}
