// What the service does not take: more requests than a caller may make, more work than it can do, and requests that never end.

import { getHeapStatistics } from 'node:v8';
import rateLimit from '@fastify/rate-limit';
import underPressure from '@fastify/under-pressure';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from '../problem.ts';
import { actorName, getCaller } from './access.ts';
import { clientAddress } from './client-address.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the route answers also while there is too much to do. */
    exemptFromLoadShedding?: boolean;
    /** Whether requests to the route are not counted: a service that is asked too much is not a service that is down. */
    exemptFromRateLimit?: boolean;
  }
}

export type Limits = {
  /** Requests that each key or host may make in a minute. */
  readonly requestsPerMinute: number;
  /** Requests that an address may make in a minute that are refused; and as many for pages and what they load, which are counted apart. */
  readonly unauthenticatedPerMinute: number;
  /** Mean delay of the event loop within a second, in milliseconds, from which on requests are answered 503; 0: there is none. */
  readonly eventLoopDelay: number;
  /** How long a client may take to send a request, in milliseconds; half of it for the headers. */
  readonly requestTimeout: number;
};

export const defaultLimits: Limits = {
  requestsPerMinute: 60_000,
  unauthenticatedPerMinute: 3_000,
  eventLoopDelay: 2_000,
  requestTimeout: 60_000,
};

/** Callers whose requests are counted; of more, those that were not heard of for longest are forgotten. */
const callersCounted = 10_000;
/** Seconds after which a request that found the service overloaded may be repeated. */
const retryWhenOverloaded = 2;
/** Of the memory that the runtime allows. */
const fullHeap = 0.95;

/** Connections at once; what comes beyond is closed at once. */
export const maxConnections = 16_384;
/** How often it is looked for requests that take too long, in milliseconds. */
const longestCheckInterval = 5_000;

/** Options of the server. */
export function serverOptions({ requestTimeout }: Limits) {
  return {
    /** Bytes of a request's body where a route does not say otherwise. */
    bodyLimit: 1024 * 1024,
    requestTimeout,
    /** Milliseconds between two requests of a connection; longer than of most proxies, so that none uses one that is just being closed. */
    keepAliveTimeout: 72_000,
    http: {
      /** Bytes of a request's headers. */
      maxHeaderSize: 16 * 1024,
      headersTimeout: requestTimeout / 2,
      connectionsCheckingInterval: Math.min(longestCheckInterval, requestTimeout / 4),
    },
    /** Characters of one part of a path; routes have shorter limits of their own. */
    routerOptions: { maxParamLength: 1_000 },
  };
}

/** Answers 503 while there is too much to do; to be called before anything else looks at requests. */
export async function addLoadShedding(app: FastifyInstance, { eventLoopDelay }: Limits): Promise<void> {
  await app.register(underPressure, {
    maxEventLoopDelay: eventLoopDelay,
    maxHeapUsedBytes: getHeapStatistics().heap_size_limit * fullHeap,
    pressureHandler: async ({ routeOptions }) => {
      // Whoever asks how the service is, or speaks for devices that go on running, is not sent away.
      const { access, exemptFromLoadShedding: evenWhenOverloaded } = routeOptions.config;
      if (access === 'public' || access === 'host' || evenWhenOverloaded) return;
      throw new Problem('overloaded', 'the service has too much to do: try again when Retry-After has passed', {
        retryAfterSeconds: retryWhenOverloaded,
      });
    },
  });
}

/** What counts requests by who makes them. @throws {Problem} `too-many-requests` when it is called once too often. */
export async function createRateLimiter(
  app: FastifyInstance,
  { requestsPerMinute, unauthenticatedPerMinute: unknownPerMinute }: Limits,
): Promise<(request: FastifyRequest, reply: FastifyReply) => Promise<void>> {
  await app.register(rateLimit, { global: false, cache: callersCounted });
  const isUnknown = (request: FastifyRequest) => getCaller(request).kind === 'unknown';
  const count = app.createRateLimit({
    timeWindow: 60_000,
    keyGenerator: (request) =>
      isUnknown(request) ? `${isPage(request) ? 'pages' : 'refused'} ${clientAddress(request)}` : actorName(getCaller(request)),
    max: (request) => (isUnknown(request) ? unknownPerMinute : requestsPerMinute),
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
        `${max} requests a minute are taken here from one ${isUnknown(request) ? 'address' : 'key'}: go on when Retry-After has passed`,
        {
          retryAfterSeconds: ttlInSeconds,
        },
      );
  };
}

/** Whether the request is for something that anybody may have; those for paths that are not there count as refused. */
function isPage({ is404, routeOptions }: FastifyRequest): boolean {
  return !is404 && (routeOptions.config.access ?? 'public') === 'public';
}
