// Headers for browsers: what the service answers is data, neither run, framed, nor taken for another type than it says.

import helmet from '@fastify/helmet';
import type { FastifyInstance } from 'fastify';

/** Adds the headers to every answer; pages say for themselves what they may load. */
export async function protectBrowsers(app: FastifyInstance): Promise<void> {
  await app.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    // Whoever puts TLS before the service says for how long.
    strictTransportSecurity: false,
  });
}
