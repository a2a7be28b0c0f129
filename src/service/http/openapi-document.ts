// The OpenAPI document, generated from the routes' zod schemas.

import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { describeRequests, isObject, tidyComponents, toJson, wrapDescribedReferences } from './openapi-components.ts';

const description =
  'Loads new versions of in-memory modules into many running devices and isolates the old versions by error injection (US 8,689,206 B2). ' +
  'Errors are problem details (RFC 9457). Every POST under /v1 accepts an `Idempotency-Key`: repeating it with the same key returns the first response. ' +
  'A request may set `X-Request-Id` (1 to 64 characters of A-Za-z0-9._-); the response, the audit trail and the logs then use it.';

/** The documentation page loads its own files only. */
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
              'An API key. Each operation names the role that it requires. A key with the role `admin` is accepted for every operation under /v1.',
          },
          joinToken: {
            type: 'http',
            scheme: 'bearer',
            description: 'The token that a host uses to register: the content of the file `join-token` next to the database.',
          },
          agentToken: { type: 'http', scheme: 'bearer', description: 'The token that a host received when it registered.' },
        },
      },
      tags: [
        { name: 'builds', description: 'Modules and their builds.' },
        { name: 'patch sets', description: 'Builds of several modules that devices load in one step.' },
        { name: 'devices', description: 'Devices, their memory and their labels.' },
        { name: 'history', description: 'The versions that were installed on devices, and the devices that a build was installed on.' },
        { name: 'hosts', description: 'Processes that run devices.' },
        { name: 'programs', description: 'Programs that call modules on devices.' },
        { name: 'loads', description: 'Builds loaded on devices by the isolation workflow.' },
        { name: 'desired state', description: 'Channels of promoted versions, and the versions that groups of devices should have.' },
        { name: 'keys', description: 'API keys and their roles.' },
        { name: 'users', description: 'People and other clients of the identity provider.' },
        { name: 'audit', description: 'The audit trail: who did what to which object and when, with proofs that no event was changed.' },
        { name: 'signing keys', description: 'The keys that the service signs provenance and checkpoints with.' },
        { name: 'publisher keys', description: 'Public keys of publishers who sign builds.' },
        { name: 'signature policies', description: 'The publisher signatures that devices require of builds.' },
        { name: 'webhooks', description: 'Endpoints that audit events are sent to.' },
        { name: 'operations', description: 'Events, health checks and metrics.' },
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
