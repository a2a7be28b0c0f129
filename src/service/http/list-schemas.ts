// What the queries of many lists say the same way: their order, a range of times, labels, versions, identifiers. A value that cannot match anything is
// refused with the syntax that it has to have, not answered with an empty list.

import { z } from 'zod';
import { exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import {
  DateTime,
  exampleIdentifier,
  type identifierPrefixes,
  identifierText,
  isVersion,
  labelLimit,
  labelPatterns,
  labelRules,
  ModuleName,
} from '../../protocol/identifiers.ts';

export const orderQuery = {
  order: z
    .enum(['asc', 'desc'])
    .optional()
    .describe('Without it, times begin with the newest, and names with `a`.')
    .meta({ examples: ['asc'] }),
};

/** Zod leaves the `examples` of what it transforms out of the document; these it takes. */
const momentInDocument = { format: 'date-time', 'x-examples': { moment: { value: exampleTimes.requested } } };
/** No item's time is between two milliseconds, so that the next one bounds the same items. */
const isBetweenMilliseconds = /\.\d{3}\d*[1-9]/;
/** The last that both databases can be asked for. */
const lastTime = Date.parse('9999-12-31T23:59:59.999Z');
/** In a query, a `+` that is not escaped is read as a space; before an offset it can be nothing else. */
const unescapedOffset = / (?=\d\d:\d\d$)/;

/**
 * A moment in a query, RFC 3339 with any offset.
 * @param betweenMilliseconds Which whole millisecond is meant by a time between two.
 */
export function timeQuery(betweenMilliseconds: 'earlier' | 'later') {
  return z
    .string()
    .max(40)
    .transform((text, context) => {
      const moment = DateTime.safeParse(text.replace(unescapedOffset, '+'));
      const added = betweenMilliseconds === 'later' && isBetweenMilliseconds.test(text) ? 1 : 0;
      if (moment.success) return new Date(Math.min(Date.parse(moment.data) + added, lastTime));
      for (const { message } of moment.error.issues) context.addIssue({ code: 'custom', message });
      return z.NEVER;
    })
    .meta(momentInDocument);
}

export const rangeQuery = {
  from: timeQuery('later').optional().describe('Only items of this time or later; RFC 3339.'),
  until: timeQuery('later').optional().describe('Only items before this time; RFC 3339.'),
};

const labelRule = `must be of the form key=value, the only comparison that there is, at most ${labelLimit} times: ${labelRules.key}; ${labelRules.value}`;
/** A key has no space, and a `+` that is not escaped is read as one. */
const spaceInKey = /^[^=]* /;

/** Says what is wrong with the labels of a query. */
function labelProblem(input: unknown): string {
  const keys = [input].flat().filter((text) => typeof text === 'string' && spaceInKey.test(text));
  if (keys.length === 0) return labelRule;
  return `${labelRule}. The key in ${JSON.stringify(keys[0])} has a space: in a query, a "+" that is not escaped is read as a space, and a "+" is written %2B`;
}

const label = z.string().regex(new RegExp(`^${labelPatterns.key}=${labelPatterns.value}$`), { error: ({ input }) => labelProblem(input) });

/** Labels, as `key=value`; they are read as one record. */
export const labelQuery = z
  .union([label.transform((one) => [one]), z.array(label).max(labelLimit)], { error: ({ input }) => labelProblem(input) })
  .transform((texts, context) => {
    const labels = new Map<string, string>();
    for (const text of texts) {
      const [key = '', ...rest] = text.split('=');
      const value = rest.join('=');
      if (labels.has(key) && labels.get(key) !== value)
        context.addIssue({ code: 'custom', message: `a device has one value of the label ${key}: ask for one` });
      labels.set(key, value);
    }
    return Object.fromEntries(labels);
  })
  .optional()
  .meta({ 'x-examples': { zone: { value: ['zone=north'] } } });

const digits = '^[0-9]{1,15}$';
const number = z
  .string()
  .refine((text) => new RegExp(digits).test(text), 'must be a whole number, in at most 15 decimal digits')
  .transform(Number);

/** The number of an event or of an order in a query. */
export const numberQuery = number.meta({ type: 'integer', minimum: 0, 'x-examples': { last: { value: 16 } } });

/** The same in `Last-Event-ID`, which is text to EventSource and to the clients that are generated of the document. */
export const lastEventId = number.meta({ pattern: digits, 'x-examples': { last: { value: '16' } } });

/** A version in a query. */
export const versionQuery = z
  .string()
  .max(256)
  .refine(isVersion, 'must be a semantic version (semver.org), like 1.4.2 or 2.0.0-rc.1; a "+" is written %2B in a query: 1.0.0%2Bb1')
  .optional()
  .meta({ examples: [exampleVersions.new.version] });

/** A module in a query. */
export const moduleQuery = ModuleName.optional();

/** The identifier of an object in a query: one of another form names nothing. */
export function identifierQuery(kind: keyof typeof identifierPrefixes) {
  return identifierText(kind)
    .optional()
    .meta({ examples: [exampleIdentifier(kind)] });
}
