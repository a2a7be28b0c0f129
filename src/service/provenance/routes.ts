// Under /v1/modules too, but apart from the pushing of builds: what the service states of a build is read, and publishers put their signatures to it.

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
      config: { access: 'viewer' },
      schema: {
        operationId: 'getProvenance',
        tags,
        summary: 'Get the signed statement of where a build came from',
        description:
          'A DSSE envelope. Its payload is an in-toto Statement (`https://in-toto.io/Statement/v1`) about the image, with SLSA provenance ' +
          '(`https://slsa.dev/provenance/v1`): the source, the compiler, who pushed it, when and by which request. The service has signed it, and so may publishers.',
        params: buildParameters,
        headers: ifNoneMatchHeaders,
        response: {
          200: SignedStatement.describe('The envelope, with an `ETag`.'),
          304: z.null().describe('The envelope is the one named in `If-None-Match`.'),
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
      config: { access: 'publisher' },
      schema: {
        operationId: 'signBuild',
        tags,
        summary: "Put a publisher's signature to a build",
        description:
          'Signed is what DSSE signs of the envelope of `getProvenance`: `DSSEv1`, the length and the text of its payload type, the length and the bytes of its payload, with spaces between. ' +
          'The same signature again changes nothing. A build has at most 100 signatures.',
        params: buildParameters,
        body: NewSignature,
        response: {
          200: Build.describe('The build, with the signature.'),
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
