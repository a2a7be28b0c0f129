// Requests without a body. Some clients send a Content-Type anyway; it is ignored. If every member of the body is optional, an absent body equals `{}`.

import { errorCodes, type FastifyInstance, type FastifyRequest } from 'fastify';
import { z } from 'zod';

/** A type and a subtype (RFC 9110, section 8.3.1); parameters may follow. */
const mediaType = /^\s*[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+\s*(?:;|$)/;

/** Returns whether the operation requires a body: it reads one, and its schema does not accept `{}`. */
export function needsBody(request: FastifyRequest): boolean {
  const schema = request.routeOptions.schema?.body;
  return schema !== undefined && !isOptional(schema);
}

function isOptional(schema: unknown): boolean {
  return schema instanceof z.ZodType && schema.safeParse({}).success;
}

/**
 * Makes operations that need no body accept an empty body of any Content-Type. Where they read one, an empty body is read as `{}`.
 * Call it before routes are added.
 */
export function acceptEmptyBodies(app: FastifyInstance): void {
  app.addHook('onRequest', async (request) => {
    const { headers } = request.raw;
    const isEmpty = headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0';
    // A chunked body may turn out to be empty, so a malformed Content-Type must not cause a rejection before the body is read.
    if ((isEmpty || !mediaType.test(headers['content-type'] ?? '')) && !needsBody(request)) delete headers['content-type'];
  });
  // A chunked body may turn out to be empty.
  app.addContentTypeParser<Buffer>('*', { parseAs: 'buffer' }, (request, body, done) => {
    if (body.length === 0 && !needsBody(request)) done(null, undefined);
    else done(new errorCodes.FST_ERR_CTP_INVALID_MEDIA_TYPE(request.headers['content-type']));
  });
  app.addHook('preValidation', async (request) => {
    if (request.body === undefined && isOptional(request.routeOptions.schema?.body)) request.body = {};
  });
}
