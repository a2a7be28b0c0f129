// Schema of schedule windows, which groups, rollouts and assignments have.

import { z } from 'zod';
import { invalidValue } from '../problem.ts';
import { isTimeZone, type ScheduleWindow as ScheduleWindowType, weekdays } from './schedule-window.ts';

const Weekday = z.enum(weekdays).meta({ id: 'Weekday' });
const timeOfDay = z
  .string()
  .regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'must be a time of day such as 22:30')
  .meta({ examples: ['22:00'] });

export const exampleWindow = { days: ['saturday', 'sunday'], from: '22:00', until: '04:00', timeZone: 'Europe/Berlin' } as const;

export const ScheduleWindow = z
  .object({
    days: z.array(Weekday).min(1).max(7).describe('Days on which the window opens.'),
    from: timeOfDay.describe('Time of day at which the window opens.'),
    until: timeOfDay.describe('Time of day at which the window closes; on the next day if not after `from`.').meta({ examples: ['04:00'] }),
    timeZone: z
      .string()
      .max(64)
      .describe('Time zone of `days`, `from` and `until`, by its name in the IANA time zone database.')
      .meta({ examples: ['Europe/Berlin'] }),
  })
  .meta({
    id: 'ScheduleWindow',
    description: 'Recurring time window in which loads begin. Loads in progress when it closes continue.',
    examples: [{ ...exampleWindow, days: [...exampleWindow.days] }],
  });

/** @param pointer JSON pointer of the window in the request. @throws {Problem} `invalid-value` if the time zone is unknown. */
export function checkTimeZone({ timeZone }: Pick<ScheduleWindowType, 'timeZone'>, pointer: string): void {
  if (!isTimeZone(timeZone))
    throw invalidValue(`${pointer}/timeZone`, `unknown time zone "${timeZone}": use an IANA name such as Europe/Berlin, or UTC`);
}
