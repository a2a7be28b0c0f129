// Routes for the provenance of builds and for publisher signatures, under /v1/modules.

import { z } from 'zod';
import { SignedStatement } from '../../protocol/signed-statement.ts';
import { computeEntityTag, ifNoneMatchHeaders, matchesIfNoneMatch } from '../http/entity-tags.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, getRequester } from '../http/route.ts';
import { toBuild } from '../modules/routes.ts';
import { Build, buildParameters } from '../modules/schemas.ts';
import type { Provenance } from './provenance.ts';
import { NewSignature } from './schemas.ts';

const tags = ['builds'];

type Uses = { readonly provenance: Provenance };

export function addProvenanceRoutes(app: Api, { provenance }: Uses): void {
  app.get(
    '/v1/modules/:module/builds/:version/provenance',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'getProvenance',
        tags,
        summary: 'Get the provenance of a build',
        description:
          'Returns a DSSE envelope. Its payload is an in-toto Statement (`https://in-toto.io/Statement/v1`) about the image, with SLSA provenance ' +
          '(`https://slsa.dev/provenance/v1`): the source, the compiler, the API key, the time and the request of the push. The service signs it; publishers can add signatures.',
        params: buildParameters,
        headers: ifNoneMatchHeaders,
        response: {
          200: SignedStatement.describe('The envelope, with an `ETag`.'),
          304: z.null().describe('The envelope has not changed: its `ETag` is in `If-None-Match`.'),
          ...problems('not-found'),
        },
      },
    },
    async ({ params, headers }, reply) => {
      const envelope = await provenance.find(params.module, params.version);
      const etag = computeEntityTag(envelope);
      reply.header('etag', etag);
      return matchesIfNoneMatch(headers, etag) ? reply.status(304).send(null) : reply.send(envelope);
    },
  );

  app.post(
    '/v1/modules/:module/builds/:version/signatures',
    {
      config: { access: 'publisher', scope: 'unrelated' },
      schema: {
        operationId: 'signBuild',
        tags,
        summary: 'Add a publisher signature to a build',
        description:
          'Sign the DSSE pre-authentication encoding of the envelope from `getProvenance`: `DSSEv1`, the length and text of its payload type, and the length and bytes of its payload, separated by spaces. ' +
          'Adding the same signature again has no effect. Limit: 100 signatures per build.',
        params: buildParameters,
        body: NewSignature,
        response: {
          200: Build.describe('The build, with the new signature.'),
          ...postProblems('not-found', 'too-many-signatures'),
        },
      },
    },
    async (request) => {
      const { module, version } = request.params;
      return toBuild(await provenance.sign(module, version, request.body, getRequester(request)));
    },
  );
}
