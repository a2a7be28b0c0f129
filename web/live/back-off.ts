// Delays between retries, and whether the page is visible.

import { useEffect, useState } from 'preact/hooks';
import { backOffMilliseconds } from '../../src/protocol/back-off.ts';

/** Returns the delay in milliseconds before the next attempt. @param failures Consecutive failures, from 1. */
export function backOffDelay(failures: number): number {
  return backOffMilliseconds(failures, { initial: 1_000, max: 15_000 });
}

/** Whether the page is visible, not in a background tab. */
export function useIsVisible(): boolean {
  const [isVisible, setVisible] = useState(document.visibilityState === 'visible');
  useEffect(() => {
    const look = () => setVisible(document.visibilityState === 'visible');
    document.addEventListener('visibilitychange', look);
    return () => document.removeEventListener('visibilitychange', look);
  }, []);
  return isVisible;
}
