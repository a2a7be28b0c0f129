// Loaded before a program (`--import`): makes the wall clock of its process wrong by as many milliseconds as a file says, which is read again and again.
// Its monotonic clock and its timers stay right, as those of a machine do.

import { readFileSync } from 'node:fs';

const file = new URL(import.meta.url).searchParams.get('file') ?? '';
/** How often the file is read, in milliseconds. */
const interval = 20;

const RightDate = Date;
const read = () => Number(readFileSync(file, 'utf8'));
let ahead = read();
setInterval(() => {
  ahead = read();
}, interval).unref();

globalThis.Date = new Proxy(RightDate, {
  construct: (target, values, newTarget) => Reflect.construct(target, values.length === 0 ? [RightDate.now() + ahead] : values, newTarget),
  apply: () => new RightDate(RightDate.now() + ahead).toString(),
  get: (target, property, receiver) => (property === 'now' ? () => RightDate.now() + ahead : Reflect.get(target, property, receiver)),
});
