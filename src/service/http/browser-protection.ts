// Protection of browsers. Responses are data: they are neither run, framed, nor taken for another type than they say. Pages of other origins change nothing.

import helmet from '@fastify/helmet';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Problem } from '../problem.ts';

/** Methods that change nothing (RFC 9110, 9.2.1). */
const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Adds headers to every response, and refuses requests of other origins that would change something. Pages say for themselves what they may load. */
export async function protectBrowsers(app: FastifyInstance): Promise<void> {
  app.addHook('onRequest', async (request) => {
    if (!safeMethods.has(request.method)) rejectCrossOrigin(request);
  });
  await app.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    // Whoever puts TLS before the service says for how long.
    strictTransportSecurity: false,
  });
}

/** @throws {Problem} `cross-origin` if a browser says that a page of another origin makes the request. */
export function rejectCrossOrigin(request: FastifyRequest): void {
  if (!isCrossOrigin(request)) return;
  const { 'sec-fetch-site': site, origin } = request.headers;
  const said = site === undefined ? `Origin ${String(origin).slice(0, 100)}` : `Sec-Fetch-Site ${String(site).slice(0, 100)}`;
  throw new Problem(
    'cross-origin',
    `a browser sends this for a page of another origin (${said}), and the host here is ${request.host.slice(0, 100)}: use the dashboard of this service, or a client that is no page`,
  );
}

/**
 * Whether a page of another origin makes a request. Only a browser says; other clients send neither header. Where there is no Sec-Fetch-Site, as over
 * HTTP to other machines, the host of the Origin counts: a proxy may have ended TLS, so that the scheme tells nothing.
 */
function isCrossOrigin({ headers, host }: FastifyRequest): boolean {
  const { 'sec-fetch-site': site, origin } = headers;
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  return origin !== undefined && (!URL.canParse(origin) || new URL(origin).host !== host.toLowerCase());
}
