// Formats times and durations.

import { useEffect, useState } from 'preact/hooks';

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });

/** Formats a time; with the date if it is not today. */
export function timeText(at: string): string {
  const time = new Date(at);
  const isToday = day.format(time) === day.format(new Date());
  return isToday ? clock.format(time) : `${day.format(time)}, ${clock.format(time)}`;
}

export function Timestamp({ at }: { readonly at: string }) {
  return (
    <time dateTime={at} title={at}>
      {timeText(at)}
    </time>
  );
}

const units = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
  ['s', 1],
] as const;

/** The age of a time in its largest unit, updated every second. */
export function Age({ of }: { readonly of: string }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  const seconds = Math.max(0, Math.floor((now - Date.parse(of)) / 1_000));
  const [unit, length] = units.find(([, length]) => seconds >= length) ?? ['s', 1];
  return (
    <time dateTime={of} title={of}>
      {Math.floor(seconds / length)} {unit} ago
    </time>
  );
}

/** Formats microseconds with three digits, in µs, ms or s. */
export function microsecondsText(microseconds: number): string {
  if (microseconds < 999.5) return `${threeDigits(microseconds)} µs`;
  if (microseconds < 999_500) return `${threeDigits(microseconds / 1_000)} ms`;
  return `${threeDigits(microseconds / 1_000_000)} s`;
}

function threeDigits(value: number): string {
  return value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0).replace(/\.0+$/, '');
}
