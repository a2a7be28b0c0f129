// How long the pages wait: before they try again, longer each time; and for as long as nobody looks at them.

import { useEffect, useState } from 'preact/hooks';

const firstMilliseconds = 500;
const longestMilliseconds = 15_000;

/** Milliseconds before the next attempt after so many that failed, 1 and more; never the same for two pages. */
export function backOff(failures: number): number {
  const ceiling = Math.min(firstMilliseconds * 2 ** failures, longestMilliseconds);
  return ceiling / 2 + (Math.random() * ceiling) / 2;
}

/** Resolves after that time, or when the signal is aborted. */
export function delay(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done);
  });
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
