// Query parameters that many lists share: order, time range, labels, versions, identifiers. A malformed value is rejected with the expected syntax
// instead of returning an empty list.

import { z } from 'zod';
import { exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import {
  DateTime,
  exampleIdentifier,
  type identifierPrefixes,
  identifierSchema,
  isVersion,
  LabelSelectorText,
  ModuleName,
} from '../../protocol/identifiers.ts';
import { labelLimit, labelPatterns, labelRules } from '../../protocol/label-rules.ts';

export const orderQuery = {
  order: z
    .enum(['asc', 'desc'])
    .optional()
    .describe('Sort order. Default: `desc` (newest first) for times, `asc` for names.')
    .meta({ examples: ['asc'] }),
};

/** Zod drops `examples` of transformed schemas from the document, but not `x-examples`. */
const momentInDocument = { format: 'date-time', 'x-examples': { moment: { value: exampleTimes.requested } } };
/** Stored times are whole milliseconds, so the next millisecond bounds the same items. */
const isBetweenMilliseconds = /\.\d{3}\d*[1-9]/;
/** The latest time that both databases accept in a query. */
const lastTime = Date.parse('9999-12-31T23:59:59.999Z');
/** An unescaped `+` in a query is decoded as a space. A space before an offset can only be such a `+`. */
const unescapedOffset = / (?=\d\d:\d\d$)/;

/**
 * Returns the schema of a time in a query: RFC 3339 with any offset.
 * @param betweenMilliseconds Whether a time between two milliseconds is rounded to the earlier or the later one.
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
  from: timeQuery('later').optional().describe('Only items at or after this time (RFC 3339).'),
  until: timeQuery('later').optional().describe('Only items before this time (RFC 3339).'),
};

const labelRule = `must have the form key=value (selector has other comparisons), up to ${labelLimit} times: ${labelRules.key}; ${labelRules.value}`;
/** Keys contain no space, but an unescaped `+` is decoded as one. */
const spaceInKey = /^[^=]* /;

/** Returns the error message for invalid labels in a query. */
function labelProblem(input: unknown): string {
  const keys = [input].flat().filter((text) => typeof text === 'string' && spaceInKey.test(text));
  if (keys.length === 0) return labelRule;
  return `${labelRule}. The key in ${JSON.stringify(keys[0])} contains a space: an unescaped "+" in a query is decoded as a space, write it as %2B`;
}

const label = z.string().regex(new RegExp(`^${labelPatterns.key}=${labelPatterns.value}$`), { error: ({ input }) => labelProblem(input) });

/** Labels as `key=value`, parsed into one record. */
export const labelQuery = z
  .union([label.transform((one) => [one]), z.array(label).max(labelLimit)], { error: ({ input }) => labelProblem(input) })
  .transform((texts, context) => {
    const labels = new Map<string, string>();
    for (const text of texts) {
      const [key = '', ...rest] = text.split('=');
      const value = rest.join('=');
      if (labels.has(key) && labels.get(key) !== value)
        context.addIssue({
          code: 'custom',
          message: `the label ${key} has two values, and a device has only one value for a label: give one value`,
        });
      labels.set(key, value);
    }
    return Object.fromEntries(labels);
  })
  .optional()
  .meta({ 'x-examples': { zone: { value: ['zone=north'] } } });

/** A label selector in a query. */
export const selectorQuery = LabelSelectorText.optional();

const digits = '^[0-9]{1,15}$';
const number = z
  .string()
  .refine((text) => new RegExp(digits).test(text), 'must be a whole number with up to 15 decimal digits')
  .transform(Number);

/** The number of an event or order in a query. */
export const numberQuery = number.meta({ type: 'integer', minimum: 0, 'x-examples': { last: { value: 16 } } });

/** The same in `Last-Event-ID`, which EventSource and generated clients treat as a string. */
export const lastEventId = number.meta({ pattern: digits, 'x-examples': { last: { value: '16' } } });

/** A version in a query. */
export const versionQuery = z
  .string()
  .max(256)
  .refine(isVersion, 'must be a semantic version (semver.org), such as 1.4.2 or 2.0.0-rc.1; in a query, write "+" as %2B: 1.0.0%2Bb1')
  .optional()
  .meta({ examples: [exampleVersions.new.version] });

/** A module in a query. */
export const moduleQuery = ModuleName.optional();

/** Returns the schema of an identifier in a query. A malformed identifier is rejected. */
export function identifierQuery(kind: keyof typeof identifierPrefixes) {
  return identifierSchema(kind)
    .optional()
    .meta({ examples: [exampleIdentifier(kind)] });
}
