// How long the pages wait: before they try again, longer each time; and for as long as nobody looks at them.

import { useEffect, useState } from 'preact/hooks';
import { backOffMilliseconds } from '../../src/protocol/back-off.ts';

/** Milliseconds before the next attempt after so many failures in a row, from 1. */
export function backOff(failures: number): number {
  return backOffMilliseconds(failures, { initial: 1_000, max: 15_000 });
}

/** Whether the page is looked at, and not behind another tab. */
export function useIsVisible(): boolean {
  const [isVisible, setVisible] = useState(document.visibilityState === 'visible');
  useEffect(() => {
    const look = () => setVisible(document.visibilityState === 'visible');
    document.addEventListener('visibilitychange', look);
    return () => document.removeEventListener('visibilitychange', look);
  }, []);
  return isVisible;
}
