// Query parameters shared by lists: order, time range, labels, versions, identifiers. A value that cannot match anything is rejected with the expected
// syntax instead of returning an empty list.

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
    .describe('Sort order. Default: newest first for lists by time, ascending for lists by name.')
    .meta({ examples: ['asc'] }),
};

/** Zod omits the `examples` of transformed schemas from the document, but not `x-examples`. */
const timeMetadata = { format: 'date-time', 'x-examples': { moment: { value: exampleTimes.requested } } };
/** A time with a fraction of a millisecond. Items have whole milliseconds, so the next millisecond bounds the same items. */
const fractionOfMillisecond = /\.\d{3}\d*[1-9]/;
/** The latest time that both databases support. */
const lastTime = Date.parse('9999-12-31T23:59:59.999Z');
/** In a query, an unescaped `+` is decoded as a space; before an offset, the space can only be a `+`. */
const unescapedOffset = / (?=\d\d:\d\d$)/;

/**
 * Returns the schema of a time in a query: RFC 3339 with any offset.
 * @param betweenMilliseconds The whole millisecond that a time with a fraction of a millisecond is rounded to.
 */
export function timeQuery(betweenMilliseconds: 'earlier' | 'later') {
  return z
    .string()
    .max(40)
    .transform((text, context) => {
      const time = DateTime.safeParse(text.replace(unescapedOffset, '+'));
      const added = betweenMilliseconds === 'later' && fractionOfMillisecond.test(text) ? 1 : 0;
      if (time.success) return new Date(Math.min(Date.parse(time.data) + added, lastTime));
      for (const { message } of time.error.issues) context.addIssue({ code: 'custom', message });
      return z.NEVER;
    })
    .meta(timeMetadata);
}

export const rangeQuery = {
  from: timeQuery('later').optional().describe('Return items at or after this time; RFC 3339.'),
  until: timeQuery('later').optional().describe('Return items before this time; RFC 3339.'),
};

const labelRule = `must have the form key=value (no other comparison is supported), at most ${labelLimit} labels: ${labelRules.key}; ${labelRules.value}`;
/** A key contains no space; one in a query usually is an unescaped `+`. */
const spaceInKey = /^[^=]* /;

/** Returns the error message for invalid labels in a query. */
function describeLabelError(input: unknown): string {
  const keys = [input].flat().filter((text) => typeof text === 'string' && spaceInKey.test(text));
  if (keys.length === 0) return labelRule;
  return `${labelRule}. The key in ${JSON.stringify(keys[0])} contains a space: in a query, write "+" as %2B, because an unescaped "+" is decoded as a space`;
}

const label = z
  .string()
  .regex(new RegExp(`^${labelPatterns.key}=${labelPatterns.value}$`), { error: ({ input }) => describeLabelError(input) });

/** Labels as `key=value` strings, parsed to one record. */
export const labelQuery = z
  .union([label.transform((text) => [text]), z.array(label).max(labelLimit)], { error: ({ input }) => describeLabelError(input) })
  .transform((texts, context) => {
    const labels = new Map<string, string>();
    for (const text of texts) {
      const [key = '', ...rest] = text.split('=');
      const value = rest.join('=');
      if (labels.has(key) && labels.get(key) !== value)
        context.addIssue({
          code: 'custom',
          message: `label ${key} has more than one value in the query: a device has one value per label`,
        });
      labels.set(key, value);
    }
    return Object.fromEntries(labels);
  })
  .optional()
  .meta({ 'x-examples': { zone: { value: ['zone=north'] } } });

const digits = '^[0-9]{1,15}$';
const number = z
  .string()
  .refine((text) => new RegExp(digits).test(text), 'must be a non-negative integer of at most 15 digits')
  .transform(Number);

/** An event or order number in a query. */
export const numberQuery = number.meta({ type: 'integer', minimum: 0, 'x-examples': { last: { value: 16 } } });

/** The same in `Last-Event-ID`, which is a string in EventSource and in generated clients. */
export const lastEventId = number.meta({ pattern: digits, 'x-examples': { last: { value: '16' } } });

/** A semantic version in a query. */
export const versionQuery = z
  .string()
  .max(256)
  .refine(isVersion, 'must be a semantic version (semver.org), such as 1.4.2 or 2.0.0-rc.1; in a query, write "+" as %2B: 1.0.0%2Bb1')
  .optional()
  .meta({ examples: [exampleVersions.new.version] });

/** A module name in a query. */
export const moduleQuery = ModuleName.optional();

/** Returns the schema of an object identifier in a query. */
export function identifierQuery(kind: keyof typeof identifierPrefixes) {
  return identifierText(kind)
    .optional()
    .meta({ examples: [exampleIdentifier(kind)] });
}
