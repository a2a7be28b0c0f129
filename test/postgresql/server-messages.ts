// Messages between the tests and the process that runs their PostgreSQL server.

import { z } from 'zod';

/** Commands to the server. `restart` kills it and starts it again on the same data. */
export const ServerCommand = z.enum(['restart', 'stop']);
export type ServerCommand = z.infer<typeof ServerCommand>;

export const ServerReply = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('started'), url: z.string() }),
  z.object({ kind: z.literal('restarted') }),
  z.object({ kind: z.literal('failed'), reason: z.string() }),
]);
export type ServerReply = z.infer<typeof ServerReply>;
