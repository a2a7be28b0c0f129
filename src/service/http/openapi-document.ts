// The OpenAPI document, generated from the routes' zod schemas.

import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { describeRequests, isObject, tidyComponents, toJson, wrapDescribedReferences } from './openapi-components.ts';

const description =
  'Loads new versions of in-memory modules into many running devices and isolates the old ones by error injection (US 8,689,206 B2). ' +
  'Errors are problem details (RFC 9457). Every POST takes an `Idempotency-Key`: repeated with its key, it is done once and answered the same. ' +
  'A request may bring an `X-Request-Id`, 1 to 64 of A-Za-z0-9._-, which answers, the audit trail and the logs then call it.';

/** What the documentation's page may load: what comes with it. */
const contentSecurityPolicy =
  "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; img-src 'self' data:; object-src 'none'; style-src 'self' 'unsafe-inline'";

/** Adds the document and its interactive page, /documentation. */
export async function addDocumentation(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Patchbay', version: '0.1.0', description, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
      servers: [{ url: '/' }],
      components: {
        securitySchemes: {
          apiKey: {
            type: 'http',
            scheme: 'bearer',
            description: 'An API key. Each operation names the role that it needs; a key of the role `admin` may be used for all of /v1.',
          },
          joinToken: {
            type: 'http',
            scheme: 'bearer',
            description: 'What a host shows to register: the file join-token beside the database.',
          },
          agentToken: { type: 'http', scheme: 'bearer', description: 'What a host got when it registered.' },
        },
      },
      tags: [
        { name: 'builds', description: 'Modules and their builds.' },
        { name: 'devices', description: 'Devices, and what is in their memory.' },
        { name: 'history', description: 'What has been in the module tables of devices, and where a build is or was.' },
        { name: 'hosts', description: 'The processes that run devices.' },
        { name: 'programs', description: 'Programs that access modules.' },
        { name: 'loads', description: 'Builds put on devices by the isolation workflow.' },
        { name: 'keys', description: 'API keys: who may do what.' },
        { name: 'audit', description: 'Who did what to which object, when; and the proof that nobody has changed what is told of it.' },
        { name: 'signing keys', description: 'What the service signs with: whoever has a public key can check what it says.' },
        { name: 'publisher keys', description: 'Who else signs builds.' },
        { name: 'signature policies', description: 'Whose signatures of builds devices demand.' },
        { name: 'operations', description: 'Audit, events and health.' },
        { name: 'agents', description: 'What device hosts say and are told; not for operators.' },
      ],
    },
    transform: (route) => {
      const { schema, url } = jsonSchemaTransform(route);
      const { querystring } = schema;
      return isObject(querystring) ? { url, schema: { ...schema, querystring: wrapDescribedReferences(querystring) } } : { url, schema };
    },
    transformObject: (document) => describeRequests(tidyComponents(toJson(jsonSchemaTransformObject(document)))),
  });
  await app.register(swaggerUi, { routePrefix: '/documentation', staticCSP: contentSecurityPolicy });
}
