// Taint: what a device reports of an image whose state an abnormal end may have left half changed.

import { z } from 'zod';
import { Timestamp } from './identifiers.ts';

export const Taint = z
  .object({
    reason: z
      .enum(['trap', 'deadline', 'stop', 'interruption'])
      .describe('How the first of the accesses ended: by a trap, by its deadline, with its program, or by an injected error.'),
    at: Timestamp.describe('When the first of them ended.'),
    accesses: z.int().positive().describe('Accesses that have ended abnormally inside.'),
  })
  .meta({ id: 'Taint' });
export type Taint = z.infer<typeof Taint>;

/** The field of an image in a state or a report; a device that does not know leaves it out. */
export const tainted = Taint.nullable()
  .optional()
  .describe(
    'Accesses ended abnormally inside this image, which has a memory or mutable globals: its state may be inconsistent. Null: none did, or it has no state. Left out by a device that does not know.',
  );
