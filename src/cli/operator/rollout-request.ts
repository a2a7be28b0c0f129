// Reads the options of `rollout create`: waves, thresholds and windows.

import type { Schemas } from '../../client/client.ts';
import { weekdays } from '../../client/enum-values.ts';
import { UsageError } from '../errors.ts';
import { readNumber } from '../option-values.ts';

/** Maximum soak time of a wave: seven days. */
export const maxSoakSeconds = 604_800;
const waveForm = 'expected a size with options, like 5, 10% or 5,soak=300,approval';

/** Reads a wave like `5`, `10%` or `5,soak=300,approval`. @throws {UsageError} */
export function readWave(text: string): Schemas['NewWave'] {
  const [size = '', ...options] = text.split(',');
  const wave = { ...readSize(size, text), ...Object.assign({}, ...options.map((option) => readWaveOption(option, text))) };
  if (new Set(options.map((option) => option.split('=')[0])).size < options.length)
    throw new UsageError(`--wave ${text}: an option is given twice`);
  return wave;
}

function readSize(size: string, wave: string): Schemas['NewWave'] {
  const [, digits, percent] = /^(\d+(?:\.\d+)?)(%?)$/.exec(size) ?? [];
  const number = Number(digits);
  if (percent === '%' && number <= 100) return { upToPercent: number };
  if (percent === '' && Number.isSafeInteger(number) && number > 0) return { devices: number };
  throw new UsageError(`--wave ${wave}: ${waveForm}`);
}

function readWaveOption(option: string, wave: string): Pick<Schemas['NewWave'], 'approval' | 'soakSeconds'> {
  if (option === 'approval') return { approval: true };
  const [name, seconds] = option.split('=');
  if (name !== 'soak' || seconds === undefined) throw new UsageError(`--wave ${wave}: ${waveForm}`);
  return { soakSeconds: readNumber(`wave ${wave}: soak`, seconds, 0, maxSoakSeconds) };
}

/** Reads a window like `sat,sun 22:00-04:00 Europe/Berlin`; days may be ranges, and abbreviated to three letters. @throws {UsageError} */
export function readWindow(text: string): Schemas['ScheduleWindow'] {
  const time = '((?:[01]\\d|2[0-3]):[0-5]\\d)';
  const [, names, from, until, timeZone] = new RegExp(`^([a-z,-]+) +${time}-${time} +(\\S+)$`, 'i').exec(text.trim()) ?? [];
  const days = (names ?? '').split(',').map(readDays);
  const known = days.filter((range) => range !== null);
  if (from === undefined || until === undefined || timeZone === undefined || known.length < days.length)
    throw new UsageError(
      `--window: expected days, times and a time zone, like "sat,sun 22:00-04:00 Europe/Berlin" or "mon-fri 22:00-04:00 UTC"; received "${text}"`,
    );
  return { days: [...new Set(known.flat())], from, until, timeZone };
}

/** Returns the days of a name like `sat`, or of a range like `fri-mon`, which may cross the end of the week; null if a name is unknown. */
function readDays(text: string): Schemas['ScheduleWindow']['days'] | null {
  const ends = text.split('-').map((name) => weekdays.findIndex((day) => name.length >= 3 && day.startsWith(name.toLowerCase())));
  const [first = -1, last = first] = ends;
  if (ends.length > 2 || ends.includes(-1)) return null;
  const count = ((last - first + weekdays.length) % weekdays.length) + 1;
  return [...weekdays, ...weekdays].slice(first, first + count);
}

/** A limit for a wave, or `off`. */
type Threshold = number | 'off';

/** Reads a threshold. Returns `off` rather than null, which the option parser treats as absent. @throws {UsageError} */
export function readThreshold(flag: string, text: string, max = Number.MAX_SAFE_INTEGER): Threshold {
  if (text === 'off') return text;
  if (text.trim() === '' || !(Number(text) >= 0 && Number(text) <= max))
    throw new UsageError(`--${flag}: expected a number from 0${max === 100 ? ' to 100' : ''}, or off; received "${text}"`);
  return Number(text);
}

type ThresholdOptions = {
  readonly failedLoads?: Threshold | undefined;
  readonly failedCalls?: Threshold | undefined;
  readonly interruptedAccesses?: Threshold | undefined;
  readonly abiViolations?: Threshold | undefined;
  readonly latencyIncrease?: Threshold | undefined;
  readonly minimumCalls?: number | undefined;
  readonly requireCalls?: true | undefined;
};

/** Returns the given thresholds as members of a request. */
export function toThresholds(options: ThresholdOptions): Schemas['NewThresholds'] {
  const { failedLoads, failedCalls, interruptedAccesses, abiViolations, latencyIncrease, minimumCalls, requireCalls } = options;
  const limit = (threshold: Threshold) => (threshold === 'off' ? null : threshold);
  return {
    ...(failedLoads !== undefined && { failedLoadsPercent: limit(failedLoads) }),
    ...(failedCalls !== undefined && { failedCallsPercent: limit(failedCalls) }),
    ...(interruptedAccesses !== undefined && { interruptedAccesses: limit(interruptedAccesses) }),
    ...(abiViolations !== undefined && { abiViolations: limit(abiViolations) }),
    ...(latencyIncrease !== undefined && { latencyIncreasePercent: limit(latencyIncrease) }),
    ...(minimumCalls !== undefined && { minimumCalls }),
    ...(requireCalls && { requireCalls }),
  };
}
