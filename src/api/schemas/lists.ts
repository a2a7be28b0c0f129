// What the queries of many lists say the same way: their order, a range of times, labels.

import { z } from 'zod';
import { exampleTimes } from '../../protocol/examples.ts';

export const orderQuery = {
  order: z
    .enum(['asc', 'desc'])
    .optional()
    .describe('Without it, times begin with the newest, and names with `a`.')
    .meta({ examples: ['asc'] }),
};

/** Zod leaves the `examples` of what it transforms out of the document; these it takes. */
export const momentInDocument = { 'x-examples': { moment: { value: exampleTimes.requested } } };
const moment = z.iso
  .datetime()
  .transform((text) => new Date(Date.parse(text) + (isBetweenMilliseconds.test(text) ? 1 : 0)))
  .meta(momentInDocument);
/** No item's time is between two milliseconds, so that the next one bounds the same items. */
const isBetweenMilliseconds = /\.\d{3}\d*[1-9]/;

export const rangeQuery = {
  from: moment.optional().describe('Only items of this time or later; RFC 3339, UTC.'),
  until: moment.optional().describe('Only items before this time; RFC 3339, UTC.'),
};

/** Labels of one query, as many as a device may have. */
const labelLimit = 16;
const label = z.string().regex(/^[^=]+=.*$/, 'must be of the form key=value');

/** Labels, as `key=value`; they are read as one record. */
export const labelQuery = z
  .union([label.transform((one) => [one]), z.array(label).max(labelLimit)])
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
