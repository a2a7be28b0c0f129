// Taint: the report of a device that the state of an image may be inconsistent after an access ended abnormally.

import { z } from 'zod';
import { Timestamp } from './identifiers.ts';

const Taint = z
  .object({
    reason: z
      .enum(['trap', 'deadline', 'stop', 'interruption'])
      .describe(
        'How the first of these accesses ended: by a trap, by its deadline, because its program was stopped, or by an injected error.',
      ),
    at: Timestamp.describe('When the first of these accesses ended.'),
    accesses: z.int().positive().describe('Number of accesses that ended abnormally inside the image.'),
  })
  .meta({ id: 'Taint' });

/** The taint of an image in a state or a report. Omitted by devices that do not track it. */
export const tainted = Taint.nullable()
  .optional()
  .describe(
    'Set if accesses ended abnormally inside this image and it has a memory or mutable globals, so that its state may be inconsistent. Null otherwise. Omitted by devices that do not report it.',
  );
