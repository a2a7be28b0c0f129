// Limits of requests: rate limits per caller, load shedding, timeouts and sizes.

import { getHeapStatistics } from 'node:v8';
import rateLimit from '@fastify/rate-limit';
import underPressure from '@fastify/under-pressure';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from '../problem.ts';
import { actorName, getCaller } from './access.ts';
import { clientAddress } from './client-address.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the route is available while the service sheds load. */
    exemptFromLoadShedding?: boolean;
    /** Whether the route is exempt from rate limits: a probe must not report a busy service as down. */
    exemptFromRateLimit?: boolean;
  }
}

export type Limits = {
  /** Maximum requests a minute for each API key or host. */
  readonly requestsPerMinute: number;
  /** Maximum unauthenticated requests a minute for each client address; requests for pages and their assets have a separate budget of the same size. */
  readonly unauthenticatedPerMinute: number;
  /** Mean event loop delay over a second, in milliseconds, above which requests are rejected with 503; 0 disables the check. */
  readonly eventLoopDelay: number;
  /** Maximum time in which a client must send a request, in milliseconds; half of that for the headers. */
  readonly requestTimeout: number;
};

export const defaultLimits: Limits = {
  requestsPerMinute: 60_000,
  unauthenticatedPerMinute: 3_000,
  eventLoopDelay: 2_000,
  requestTimeout: 60_000,
};

/** Maximum callers whose requests are counted; beyond that, the least recently seen is evicted. */
const maxTrackedCallers = 10_000;
/** `Retry-After` of a request that is rejected because the service is overloaded, in seconds. */
const overloadRetryAfter = 2;
/** Share of the V8 heap limit above which requests are rejected. */
const maxHeapShare = 0.95;

/** Maximum open connections; further connections are closed immediately. */
export const maxConnections = 16_384;
/** Maximum interval at which connections are checked for timeouts, in milliseconds. */
const maxCheckInterval = 5_000;

/** Returns the options of the HTTP server. */
export function serverOptions({ requestTimeout }: Limits) {
  return {
    /** Maximum request body in bytes; routes may override it. */
    bodyLimit: 1024 * 1024,
    requestTimeout,
    /** Idle time of a connection in milliseconds; longer than in most proxies, so that a proxy does not reuse a connection that is being closed. */
    keepAliveTimeout: 72_000,
    http: {
      /** Maximum size of the request headers in bytes. */
      maxHeaderSize: 16 * 1024,
      headersTimeout: requestTimeout / 2,
      connectionsCheckingInterval: Math.min(maxCheckInterval, requestTimeout / 4),
    },
    /** Maximum length of a path parameter in characters; routes have lower limits. */
    routerOptions: { maxParamLength: 1_000 },
  };
}

/** Rejects requests with 503 while the service is overloaded. Call it before other request hooks are added. */
export async function addLoadShedding(app: FastifyInstance, { eventLoopDelay }: Limits): Promise<void> {
  await app.register(underPressure, {
    maxEventLoopDelay: eventLoopDelay,
    maxHeapUsedBytes: getHeapStatistics().heap_size_limit * maxHeapShare,
    pressureHandler: async ({ routeOptions }) => {
      // Probes, pages and device hosts are exempt.
      const { access, exemptFromLoadShedding } = routeOptions.config;
      if (access === 'public' || access === 'host' || exemptFromLoadShedding) return;
      throw new Problem('overloaded', 'the service is overloaded: retry after the time in Retry-After', {
        retryAfterSeconds: overloadRetryAfter,
      });
    },
  });
}

/** Returns a function that counts a request of its caller. It throws a {Problem} `too-many-requests` if the rate limit is exceeded. */
export async function createRateLimiter(
  app: FastifyInstance,
  { requestsPerMinute, unauthenticatedPerMinute }: Limits,
): Promise<(request: FastifyRequest, reply: FastifyReply) => Promise<void>> {
  await app.register(rateLimit, { global: false, cache: maxTrackedCallers });
  const isUnknown = (request: FastifyRequest) => getCaller(request).kind === 'unknown';
  const count = app.createRateLimit({
    timeWindow: 60_000,
    keyGenerator: (request) =>
      isUnknown(request) ? `${isPage(request) ? 'pages' : 'refused'} ${clientAddress(request)}` : actorName(getCaller(request)),
    max: (request) => (isUnknown(request) ? unauthenticatedPerMinute : Math.min(requestsPerMinute, ownLimit(request))),
  });
  return async (request, reply) => {
    if (request.routeOptions.config.exemptFromRateLimit) return;
    const counted = await count(request);
    if (counted.isAllowed) return;
    const { max, remaining, ttlInSeconds, isExceeded } = counted;
    reply.headers({ 'ratelimit-limit': max, 'ratelimit-remaining': remaining, 'ratelimit-reset': ttlInSeconds });
    if (isExceeded)
      throw new Problem(
        'too-many-requests',
        `rate limit exceeded (${max} requests per minute and ${isUnknown(request) ? 'address' : 'key'}): retry after the time in Retry-After`,
        {
          retryAfterSeconds: ttlInSeconds,
        },
      );
  };
}

/** Returns the maximum requests a minute of the key of a request. */
function ownLimit(request: FastifyRequest): number {
  const caller = getCaller(request);
  return caller.kind === 'key' ? (caller.requestsPerMinute ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY;
}

/** Returns whether the request is for a public route; a request for an unknown path counts as rejected. */
function isPage({ is404, routeOptions }: FastifyRequest): boolean {
  return !is404 && (routeOptions.config.access ?? 'public') === 'public';
}
