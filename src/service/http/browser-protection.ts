// Protects browsers. Responses are data: browsers neither execute, frame nor sniff them, and pages of other origins cannot change anything.

import helmet from '@fastify/helmet';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Problem } from '../problem.ts';

/** Methods that change nothing (RFC 9110, 9.2.1). */
const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Adds security headers to every response, and rejects cross-origin requests with unsafe methods. Pages set their own content security policy. */
export async function protectBrowsers(app: FastifyInstance): Promise<void> {
  app.addHook('onRequest', async (request) => {
    if (!safeMethods.has(request.method)) rejectCrossOrigin(request);
  });
  await app.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    // The proxy that terminates TLS sets this header.
    strictTransportSecurity: false,
  });
}

/** @throws {Problem} `cross-origin` if a browser reports that a page of another origin makes the request. */
export function rejectCrossOrigin(request: FastifyRequest): void {
  if (!isCrossOrigin(request)) return;
  const { 'sec-fetch-site': site, origin } = request.headers;
  const source = site === undefined ? `Origin ${String(origin).slice(0, 100)}` : `Sec-Fetch-Site ${String(site).slice(0, 100)}`;
  throw new Problem(
    'cross-origin',
    `the request comes from a web page of another origin (${source}; the host of this service is ${request.host.slice(0, 100)}): use the dashboard of this service, or a client other than a browser`,
  );
}

/**
 * Returns whether a page of another origin makes a request. Only browsers send these headers. Without Sec-Fetch-Site, as over plain HTTP to another
 * machine, the host of Origin decides: the scheme does not, because a proxy may have terminated TLS.
 */
function isCrossOrigin({ headers, host }: FastifyRequest): boolean {
  const { 'sec-fetch-site': site, origin } = headers;
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  return origin !== undefined && (!URL.canParse(origin) || new URL(origin).host !== host.toLowerCase());
}
