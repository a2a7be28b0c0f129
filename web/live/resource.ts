// Data of the service that a page shows: refreshed by relevant events or an interval, and kept while the service is unreachable.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { backOffDelay, useIsVisible } from './back-off.ts';
import type { LiveEvent } from './event-stream.ts';
import { useEvents } from './events.tsx';
import { type Failure, failureOf, isAbort } from './failure.ts';

/** Minimum interval between two refreshes triggered by events. */
const minIntervalMilliseconds = 500;

export type Resource<Data> = {
  /** The last data received; null before the first response. */
  readonly data: Data | null;
  /** The failure of the last request; null if it succeeded. Transient failures are retried automatically. */
  readonly failure: Failure | null;
  /** Whether the data belongs to the previous identity. */
  readonly isChanging: boolean;
  readonly refresh: () => void;
};

type ResourceOptions = {
  /** Polling interval in milliseconds while the page is visible; null: no polling. */
  readonly pollMilliseconds?: number | null;
  /** Whether an event requires a refresh. */
  readonly isRelevant?: (event: LiveEvent) => boolean;
};

type Known<Data> = { readonly of: string; readonly data: Data | null; readonly failure: Failure | null };

/**
 * Requests data and keeps the last response.
 * @param identity Identifies what is requested. A change triggers a request; the previous data stays until the response arrives.
 */
export function useResource<Data>(
  identity: string,
  ask: (signal: AbortSignal) => Promise<Data>,
  { pollMilliseconds = null, isRelevant = () => false }: ResourceOptions = {},
): Resource<Data> {
  const [known, setKnown] = useState<Known<Data>>({ of: identity, data: null, failure: null });
  const latest = useRef({ ask, pollMilliseconds });
  latest.current = { ask, pollMilliseconds };
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
        if (asking.signal.aborted || isAbort(error)) return;
        failures++;
        const failure = failureOf(error);
        mayPass = failure.status === null || failure.status === 408 || failure.status === 429 || failure.status >= 500;
        setKnown((before) => ({ of: identity, data: before.of === identity ? before.data : null, failure }));
      } finally {
        isUnderWay = false;
      }
      if (asking.signal.aborted) return;
      if (failures > 0) {
        if (mayPass) after(backOffDelay(failures));
      } else if (isWantedAgain) after(minIntervalMilliseconds);
      else if (latest.current.pollMilliseconds !== null) after(latest.current.pollMilliseconds);
    };
    wants.now = () => after(Math.max(0, askedAt + minIntervalMilliseconds - performance.now()));
    if (isVisible) run();
    return () => {
      asking.abort();
      clearTimeout(timer);
      wants.now = () => {};
    };
  }, [identity, isVisible]);
  useEvents((event) => {
    if (event === null || isRelevant(event)) wants.now();
  });
  const isChanging = known.of !== identity;
  return { ...known, failure: isChanging ? null : known.failure, isChanging, refresh: () => wants.now() };
}
