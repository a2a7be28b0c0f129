// The W3C Trace Context (https://www.w3.org/TR/trace-context/) of requests, orders and reports.

import { z } from 'zod';

/** Version 00, trace, span, flags. Identifiers of only zeros begin a trace of their own, like a missing header. */
const pattern = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

export const exampleTraceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

export const Traceparent = z
  .string()
  .regex(pattern)
  .meta({ examples: [exampleTraceparent] });

/** Returns a `traceparent` header if it is valid; null otherwise: a request with an invalid one begins a trace of its own. */
export function readTraceparent(header: string | readonly string[] | undefined): string | null {
  return typeof header === 'string' && pattern.test(header) ? header : null;
}
