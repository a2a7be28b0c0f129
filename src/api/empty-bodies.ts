// Requests without a body: some clients send a Content-Type anyway, which says something of nothing and does not matter.

import { errorCodes, type FastifyInstance, type FastifyRequest } from 'fastify';

/** A type and a subtype (RFC 9110, section 8.3.1); parameters may follow. */
const mediaType = /^\s*[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+\s*(?:;|$)/;

/** Whether the operation reads a body. */
export function takesBody(request: FastifyRequest): boolean {
  return request.routeOptions.schema?.body !== undefined;
}

/** Has operations that read no body accept an empty one of any Content-Type; to be called before routes are added. */
export function acceptEmptyBodies(app: FastifyInstance): void {
  app.addHook('onRequest', async (request) => {
    const { headers } = request.raw;
    const isEmpty = headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0';
    // A body that is sent in pieces may turn out to be empty: a type that cannot be read must not decide before that is known.
    if ((isEmpty || !mediaType.test(headers['content-type'] ?? '')) && !takesBody(request)) delete headers['content-type'];
  });
  // A body that is sent in pieces may turn out to be empty.
  app.addContentTypeParser<Buffer>('*', { parseAs: 'buffer' }, (request, body, done) => {
    if (body.length === 0 && !takesBody(request)) done(null, undefined);
    else done(new errorCodes.FST_ERR_CTP_INVALID_MEDIA_TYPE(request.headers['content-type']));
  });
}
