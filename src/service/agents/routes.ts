// /agent/v1: device hosts register, follow their orders, download images and report. Plain HTTP, so that an agent in any language can join.

import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { BootId, Heartbeat, HostRegistration, Order, RegisteredHost, Reports } from '../../protocol/agent.ts';
import { Digest } from '../../protocol/identifiers.ts';
import { type ServiceKey, ServiceKeys, SignedStatement } from '../../protocol/signed-statement.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { getCaller } from '../http/access.ts';
import { identifier } from '../http/common-schemas.ts';
import { entityTag } from '../http/entity-tags.ts';
import { lastEventId, numberQuery } from '../http/list-schemas.ts';
import { problems } from '../http/problem-schemas.ts';
import { type Api, getRequester, sendRaw } from '../http/route.ts';
import { eventStream, eventStreamHeaders, type ServerSentEvent } from '../http/server-sent-events.ts';
import type { Builds } from '../modules/builds.ts';
import type { Provenance } from '../provenance/provenance.ts';
import type { SigningKeyRecord } from '../signing-keys/repository.ts';
import type { Agents } from './agents.ts';
import type { RegistrationKey } from './registration.ts';

const tags = ['agents'];

/** Bytes of a batch of reports, and of a registration with many devices. */
const bodyLimit = 8 * 1024 * 1024;
/** How long a request for the next orders may wait, in seconds; below what proxies usually allow. */
const maxWaitSeconds = 50;

const boot = BootId.describe('The boot id that the host registered with.');
const hostParameter = z.object({ host: identifier('host') });

type Uses = { readonly agents: Agents; readonly hosts: Hosts; readonly builds: Builds; readonly provenance: Provenance };

export function addAgentRoutes(app: Api, uses: Uses): void {
  addRegistrationRoute(app, uses);
  addOrderStreamRoute(app, uses);
  addOrderPollingRoute(app, uses);
  addHeartbeatRoute(app, uses);
  addImageRoutes(app, uses);
  addSigningKeyRoute(app, uses);
  addReportRoute(app, uses);
}

function addRegistrationRoute(app: Api, { agents, hosts }: Uses): void {
  app.post(
    '/agent/v1/hosts',
    {
      bodyLimit,
      config: { access: 'registration' },
      schema: {
        operationId: 'registerHost',
        tags,
        summary: 'Register a device host',
        description:
          'The same name is the same host. A new boot id says that its devices are empty: they are ordered to come up with what they had.',
        body: HostRegistration,
        response: {
          201: RegisteredHost.describe('The host is registered.'),
          ...problems('name-taken', 'too-many-devices', 'too-large', 'unsupported-media-type'),
        },
      },
    },
    async (request, reply) => {
      const host = await agents.register(request.body, keyOf(request), getRequester(request));
      const { id, name, devices, token } = host;
      const signing = host.signingKeys.map(toServiceKey);
      return reply
        .status(201)
        .send(
          RegisteredHost.parse({ host: id, name, devices, token, heartbeatSeconds: hosts.heartbeatInterval / 1_000, signingKeys: signing }),
        );
    },
  );
}

function addOrderStreamRoute(app: Api, { agents }: Uses): void {
  app.get(
    '/agent/v1/hosts/:host/orders',
    {
      // A HEAD would take the stream from the host that follows it.
      exposeHeadRoute: false,
      config: { access: 'host' },
      schema: {
        operationId: 'streamOrders',
        tags,
        summary: 'Follow the orders of a host',
        description:
          'Server-sent events: `event: order`, `data` an Order, `id` its sequence. Every order that no report has settled comes (again), in order, then new ones. ' +
          'An order that stays unsettled comes again after 30 s, then after twice as long each time, up to 10 minutes. A newer stream of the same host ends this one.',
        params: hostParameter,
        querystring: z.strictObject({ bootId: boot }),
        headers: z.object({
          'last-event-id': lastEventId.optional().describe('Accepted and ignored: an order comes again until a report settles it.'),
        }),
        response: {
          200: { description: 'The stream of orders.', content: { 'text/event-stream': { schema: Order } } },
          ...problems('stale-boot'),
        },
      },
    },
    async ({ params, query }, reply) => {
      const stream = await eventStream(reply.raw, async (gone) =>
        serverSentEvents(await agents.streamOrders(params.host, query.bootId, gone)),
      );
      return sendRaw(reply.status(200).headers(eventStreamHeaders), stream);
    },
  );
}

function addOrderPollingRoute(app: Api, { agents }: Uses): void {
  app.get(
    '/agent/v1/hosts/:host/orders/next',
    {
      config: { access: 'host' },
      schema: {
        operationId: 'pollOrders',
        tags,
        summary: 'Wait for the next orders of a host',
        description:
          'For agents without server-sent events: answers as soon as there are orders after the sequence, or with none when the wait is over. ' +
          'Orders up to the sequence that no report has settled come again after 30 s, then after twice as long each time, up to 10 minutes.',
        params: hostParameter,
        querystring: z.strictObject({
          bootId: boot,
          after: numberQuery.default(0).describe('Highest sequence received; 0: every order that is not settled.'),
          waitSeconds: z.coerce
            .number()
            .int()
            .min(0)
            .max(maxWaitSeconds)
            .default(25)
            .describe('How long to wait where there is none.')
            .meta({ examples: [25] }),
        }),
        response: {
          200: z
            .object({ orders: z.array(Order) })
            .meta({ id: 'Orders', examples: [{ orders: Order.meta()?.['examples'] ?? [] }] })
            .describe('The orders, in their order.'),
          ...problems('stale-boot'),
        },
      },
    },
    async (request, reply) => {
      const { bootId, after, waitSeconds } = request.query;
      const gone = new AbortController();
      reply.raw.on('close', () => gone.abort());
      const ended = AbortSignal.any([gone.signal, AbortSignal.timeout(waitSeconds * 1_000)]);
      return { orders: await agents.pollOrders(request.params.host, bootId, after, ended) };
    },
  );
}

function addHeartbeatRoute(app: Api, { agents }: Uses): void {
  app.post(
    '/agent/v1/hosts/:host/heartbeats',
    {
      config: { access: 'host' },
      schema: {
        operationId: 'sendHeartbeat',
        tags,
        summary: 'Say that a host is there',
        description: 'Every authenticated request says so too; a host that makes none for too long is unreachable, and so are its devices.',
        params: hostParameter,
        body: Heartbeat,
        response: {
          204: z.null().describe('It is heard.'),
          ...problems('stale-boot', 'too-large', 'unsupported-media-type'),
        },
      },
    },
    async (request, reply) => {
      await agents.heartbeat(request.params.host, request.body.bootId);
      return reply.status(204).send(null);
    },
  );
}

function addImageRoutes(app: Api, { builds, provenance }: Uses): void {
  app.get(
    '/agent/v1/images/:digest',
    {
      config: { access: 'host' },
      schema: {
        operationId: 'downloadImage',
        tags,
        summary: 'Download an image by its digest',
        params: z.object({ digest: Digest.describe('Digest of the image, as an order names it.') }),
        response: {
          200: { description: 'The image.', content: { 'application/wasm': { schema: z.string().meta({ format: 'binary' }) } } },
          ...problems('not-found'),
        },
      },
    },
    async (request, reply) => {
      const { digest } = request.params;
      reply.header('etag', entityTag(digest)).header('cache-control', 'public, max-age=31536000, immutable');
      return sendRaw(reply.status(200).type('application/wasm'), await builds.image(digest));
    },
  );

  app.get(
    '/agent/v1/images/:digest/provenance',
    {
      config: { access: 'host' },
      schema: {
        operationId: 'downloadProvenance',
        tags,
        summary: 'Get the signed statement of where an image came from',
        description:
          'Of the image of a build, or of the driver of a program. A device verifies the statement before it loads the build or starts the program. ' +
          'Publishers may sign the statement of a build later: ask again before you refuse a load because their signatures are missing.',
        params: z.object({ digest: Digest.describe('Digest of the image, as an order names it.') }),
        response: { 200: SignedStatement.describe('The envelope.'), ...problems('not-found') },
      },
    },
    async ({ params }) => provenance.findByImage(params.digest),
  );
}

function addSigningKeyRoute(app: Api, { agents }: Uses): void {
  app.get(
    '/agent/v1/signing-keys',
    {
      config: { access: 'host' },
      schema: {
        operationId: 'downloadSigningKeys',
        tags,
        summary: 'Get the keys that the service signs or has signed builds with',
        description: 'As at the registration; ask again when a statement is signed with a key that is not among them.',
        response: { 200: ServiceKeys.describe('The keys, the oldest first.'), ...problems() },
      },
    },
    async () => ({ signingKeys: (await agents.signingKeys()).map(toServiceKey) }),
  );
}

function addReportRoute(app: Api, { agents }: Uses): void {
  app.post(
    '/agent/v1/hosts/:host/reports',
    {
      bodyLimit,
      config: { access: 'host' },
      schema: {
        operationId: 'sendReports',
        tags,
        summary: 'Report what came of orders, and the states of devices',
        description: 'A report whose order is settled is taken and ignored: reports may be sent again.',
        params: hostParameter,
        body: Reports,
        response: {
          204: z.null().describe('The reports are on disk.'),
          ...problems('stale-boot', 'too-large', 'unsupported-media-type', 'busy'),
        },
      },
    },
    async (request, reply) => {
      await agents.acceptReports(request.params.host, request.body, getRequester(request));
      return reply.status(204).send(null);
    },
  );
}

function toServiceKey({ keyId, publicKey, createdAt, endorsement }: SigningKeyRecord): ServiceKey {
  const envelope = endorsement === null ? null : SignedStatement.parse(endorsement);
  return { keyId: Digest.parse(keyId), publicKey, createdAt: createdAt.toISOString(), endorsement: envelope };
}

/** The API key that the caller shows; null where they show the join token. */
function keyOf(request: FastifyRequest): RegistrationKey | null {
  const caller = getCaller(request);
  return caller.kind === 'key' ? caller : null;
}

async function* serverSentEvents(orders: AsyncIterable<Order>): AsyncGenerator<ServerSentEvent> {
  for await (const order of orders) yield { id: order.sequence, event: 'order', data: order };
}
