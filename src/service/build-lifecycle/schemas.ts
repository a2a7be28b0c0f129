// Schemas of requests to yank builds.

import { z } from 'zod';

export const YankRequest = z
  .strictObject({
    reason: z
      .string()
      .min(1)
      .max(1_000)
      .describe('Reason for yanking. Rejected requests, paused rollouts, cancelled loads and the audit trail contain it.'),
  })
  .meta({ id: 'YankRequest', examples: [{ reason: 'it drops packets under load' }] });
