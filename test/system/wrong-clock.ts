// Preloaded with `--import`: shifts the wall clock of its process by the milliseconds in a file, which is read repeatedly. The monotonic clock and
// timers are unchanged, as on a machine with a wrong clock.

import { readFileSync } from 'node:fs';

const file = new URL(import.meta.url).searchParams.get('file') ?? '';
/** Milliseconds between reads of the file. */
const interval = 20;

const SystemDate = Date;
const read = () => Number(readFileSync(file, 'utf8'));
let ahead = read();
setInterval(() => {
  ahead = read();
}, interval).unref();

globalThis.Date = new Proxy(SystemDate, {
  construct: (target, values, newTarget) => Reflect.construct(target, values.length === 0 ? [SystemDate.now() + ahead] : values, newTarget),
  apply: () => new SystemDate(SystemDate.now() + ahead).toString(),
  get: (target, property, receiver) => (property === 'now' ? () => SystemDate.now() + ahead : Reflect.get(target, property, receiver)),
});
