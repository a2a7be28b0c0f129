// The OpenAPI document, generated from the Zod schemas of the routes.

import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { describeRequests, isObject, tidyComponents, toJson, wrapDescribedReferences } from './openapi-components.ts';

const description =
  'Loads new versions of in-memory modules into many running devices and isolates the old ones by error injection (US 8,689,206 B2). ' +
  'Errors are problem details (RFC 9457). Every POST accepts an `Idempotency-Key`: a retry with the same key is executed once and receives the stored response. ' +
  'A request may carry an `X-Request-Id` of 1 to 64 characters from A-Za-z0-9._-; responses, the audit trail and the logs then use it.';

/** The documentation pages may load only their own assets. */
const contentSecurityPolicy =
  "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; img-src 'self' data:; object-src 'none'; style-src 'self' 'unsafe-inline'";

/** Adds the OpenAPI document and its interactive page, /documentation. */
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
            description:
              'An API key. Each operation names the role that it requires; a key with the role `admin` can call every operation under /v1.',
          },
          joinToken: {
            type: 'http',
            scheme: 'bearer',
            description: 'The token that a host registers with, from the file join-token next to the database.',
          },
          agentToken: { type: 'http', scheme: 'bearer', description: 'The token that a host received at registration.' },
        },
      },
      tags: [
        { name: 'builds', description: 'Modules and their builds.' },
        { name: 'devices', description: 'Devices and the modules in their memory.' },
        { name: 'history', description: 'Module table history of devices, and the devices that have or had a build.' },
        { name: 'hosts', description: 'Processes that run devices.' },
        { name: 'programs', description: 'Programs that call modules on devices.' },
        { name: 'loads', description: 'Loads of builds on devices, executed by the isolation workflow.' },
        { name: 'keys', description: 'API keys and their roles.' },
        { name: 'audit', description: 'The audit trail: who did what to which object and when, with proofs of its integrity.' },
        { name: 'signing keys', description: 'Keys that the service signs with, for verification of its signatures.' },
        { name: 'publisher keys', description: 'Keys of publishers who sign builds.' },
        { name: 'signature policies', description: 'Signatures of builds that devices require.' },
        { name: 'operations', description: 'Events, health and metrics.' },
        { name: 'agents', description: 'The protocol of device hosts; not for operators.' },
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
