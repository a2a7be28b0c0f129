// What a page shows of the service: asked for, asked for again when an event touches it or time has passed, and kept while the service is away.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { LiveEvent } from './event-stream.ts';
import { useEvents } from './events.tsx';
import { type Failure, failureOf, wasGivenUp } from './failure.ts';
import { backOff, useIsVisible } from './waiting.ts';

/** Milliseconds between two requests that events ask for. */
const leastPause = 500;

export type Resource<Data> = {
  /** What was last answered; null until then. */
  readonly data: Data | null;
  /** Why the last request was not answered; null where it was. It is made again by itself where that may help. */
  readonly failure: Failure | null;
  /** Whether what is asked for now is another thing than the data is of. */
  readonly isChanging: boolean;
  readonly refresh: () => void;
};

type Ways = {
  /** Milliseconds between two requests while the page is looked at; null: only when something asks for it. */
  readonly every?: number | null;
  /** Whether what an event tells is of interest here. */
  readonly when?: (event: LiveEvent) => boolean;
};

type Known<Data> = { readonly of: string; readonly data: Data | null; readonly failure: Failure | null };

/**
 * Asks the service, and keeps what it answered.
 * @param identity What is asked for, in a text: where it is another, it is asked for at once, and the old answer is kept meanwhile.
 */
export function useResource<Data>(
  identity: string,
  ask: (signal: AbortSignal) => Promise<Data>,
  { every = null, when = () => false }: Ways = {},
): Resource<Data> {
  const [known, setKnown] = useState<Known<Data>>({ of: identity, data: null, failure: null });
  const latest = useRef({ ask, every });
  latest.current = { ask, every };
  const isVisible = useIsVisible();
  const wants = useMemo(() => ({ now: () => {} }), []);
  useEffect(() => {
    const asking = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isUnderWay = false;
    let isWantedAgain = false;
    let failures = 0;
    let mayPass = true;
    let askedAt = Number.NEGATIVE_INFINITY;
    const after = (milliseconds: number) => {
      clearTimeout(timer);
      timer = setTimeout(run, milliseconds);
    };
    const run = async () => {
      if (isUnderWay) {
        isWantedAgain = true;
        return;
      }
      isUnderWay = true;
      isWantedAgain = false;
      askedAt = performance.now();
      try {
        const data = await latest.current.ask(asking.signal);
        failures = 0;
        if (!asking.signal.aborted) setKnown({ of: identity, data, failure: null });
      } catch (error) {
        if (asking.signal.aborted || wasGivenUp(error)) return;
        failures++;
        const failure = failureOf(error);
        mayPass = failure.status === null || failure.status === 408 || failure.status === 429 || failure.status >= 500;
        setKnown((before) => ({ of: identity, data: before.of === identity ? before.data : null, failure }));
      } finally {
        isUnderWay = false;
      }
      if (asking.signal.aborted) return;
      if (failures > 0) {
        if (mayPass) after(backOff(failures));
      } else if (isWantedAgain) after(leastPause);
      else if (latest.current.every !== null) after(latest.current.every);
    };
    wants.now = () => after(Math.max(0, askedAt + leastPause - performance.now()));
    if (isVisible) run();
    return () => {
      asking.abort();
      clearTimeout(timer);
      wants.now = () => {};
    };
  }, [identity, isVisible]);
  useEvents((event) => {
    if (event === null || when(event)) wants.now();
  });
  const isChanging = known.of !== identity;
  return { ...known, failure: isChanging ? null : known.failure, isChanging, refresh: () => wants.now() };
}
