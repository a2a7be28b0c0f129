// Routes under /agent/v1: device hosts register, receive orders, download images and send reports. Plain HTTP, for agents in any language.

import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { BootId, Heartbeat, HostRegistration, Order, RegisteredHost, Reports } from '../../protocol/agent.ts';
import { Digest } from '../../protocol/identifiers.ts';
import { type ServiceKey, ServiceKeys, SignedStatement } from '../../protocol/signed-statement.ts';
import type { Tracer } from '../../tracing/tracer.ts';
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

/** Maximum body of a batch of reports or a registration, in bytes. */
const bodyLimit = 8 * 1024 * 1024;
/** Maximum wait of a poll for orders, in seconds; below the common time limits of proxies. */
const maxWaitSeconds = 50;

const boot = BootId.describe('The boot ID that the host registered with.');
const hostParameter = z.object({ host: identifier('host') });

type Uses = { readonly agents: Agents; readonly hosts: Hosts; readonly builds: Builds; readonly provenance: Provenance };

export function addAgentRoutes(app: Api, uses: Uses, tracer: Tracer | null): void {
  addRegistrationRoute(app, uses);
  addOrderStreamRoute(app, uses);
  addOrderPollingRoute(app, uses);
  addHeartbeatRoute(app, uses);
  addImageRoutes(app, uses);
  addSigningKeyRoute(app, uses);
  addReportRoute(app, uses, tracer);
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
          'A host is identified by its name. A new boot ID means that its devices are empty: the service orders the host to attach them and to restore their modules and programs. The problem `decommissioned` is final: an operator has removed the host from the fleet, and the agent must stop. ' +
          'The problem `host-conflict` is temporary: another process with this name is connected, or was when this boot registered before. The agent must run no devices, and register again after a growing wait: it succeeds when the other is unreachable.',
        body: HostRegistration,
        response: {
          201: RegisteredHost.describe('The host is registered.'),
          ...problems('name-taken', 'host-conflict', 'too-many-devices', 'decommissioned', 'too-large', 'unsupported-media-type'),
        },
      },
    },
    async (request, reply) => {
      const host = await agents.register(request.body, keyOf(request), getRequester(request), request.ip);
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
      // A HEAD request would end the stream of the host.
      exposeHeadRoute: false,
      config: { access: 'host' },
      schema: {
        operationId: 'streamOrders',
        tags,
        summary: 'Stream the orders of a host',
        description:
          'Streams server-sent events: `event: order`, `data` an Order, `id` its sequence. The stream starts with all orders that no report has settled, in order, and continues with new orders. ' +
          'An order that remains unsettled is sent again after 30 s, then at doubling intervals up to 10 minutes. A newer stream of the same host ends this one.',
        params: hostParameter,
        querystring: z.strictObject({ bootId: boot }),
        headers: z.object({
          'last-event-id': lastEventId.optional().describe('Ignored: orders are sent again until a report settles them.'),
        }),
        response: {
          200: { description: 'The order stream.', content: { 'text/event-stream': { schema: Order } } },
          ...problems('stale-boot', 'decommissioned'),
        },
      },
    },
    async (request, reply) => {
      const { params, query } = request;
      const stream = await eventStream(request, reply.raw, async (gone) =>
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
        summary: 'Poll the orders of a host',
        description:
          'Long polling for agents without server-sent events. Responds as soon as there are orders after the sequence, or without orders when the wait is over. ' +
          'Orders up to the sequence that no report has settled are sent again after 30 s, then at doubling intervals up to 10 minutes.',
        params: hostParameter,
        querystring: z.strictObject({
          bootId: boot,
          after: numberQuery.default(0).describe('Highest sequence that the host has received. 0: all orders that are not settled.'),
          waitSeconds: z.coerce
            .number()
            .int()
            .min(0)
            .max(maxWaitSeconds)
            .default(25)
            .describe('How long to wait for an order, in seconds.')
            .meta({ examples: [25] }),
        }),
        response: {
          200: z
            .object({ orders: z.array(Order) })
            .meta({ id: 'Orders', examples: [{ orders: Order.meta()?.['examples'] ?? [] }] })
            .describe('The orders, by sequence.'),
          ...problems('stale-boot', 'decommissioned'),
        },
      },
    },
    async (request, reply) => {
      const { bootId, after, waitSeconds } = request.query;
      const closed = new AbortController();
      reply.raw.on('close', () => closed.abort());
      const ended = AbortSignal.any([closed.signal, AbortSignal.timeout(waitSeconds * 1_000)]);
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
        summary: 'Send a heartbeat',
        description:
          'Each authenticated request of the host also counts as a heartbeat. A host that sends no request within the timeout becomes unreachable, and so do its devices.',
        params: hostParameter,
        body: Heartbeat,
        response: {
          204: z.null().describe('The heartbeat was received.'),
          ...problems('stale-boot', 'decommissioned', 'too-large', 'unsupported-media-type'),
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
        summary: 'Download an image',
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
        summary: 'Get the provenance of an image',
        description:
          'Returns the signed statement about the image of a build or the driver of a program. A device verifies the statement before it loads the build or starts the program. ' +
          'Publishers can add signatures later: request the statement again before you refuse a load because of missing signatures.',
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
        summary: 'Get the signing keys of the service',
        description: 'Returns the same keys as the registration. Request them again when a statement is signed with an unknown key.',
        response: { 200: ServiceKeys.describe('The current and former signing keys, oldest first.'), ...problems() },
      },
    },
    async () => ({ signingKeys: (await agents.signingKeys()).map(toServiceKey) }),
  );
}

function addReportRoute(app: Api, { agents }: Uses, tracer: Tracer | null): void {
  app.post(
    '/agent/v1/hosts/:host/reports',
    {
      bodyLimit,
      config: { access: 'host' },
      schema: {
        operationId: 'sendReports',
        tags,
        summary: 'Send reports',
        description:
          'Reports the results of orders and the states of devices. Reports can be sent again: a report on a settled order has no effect.',
        params: hostParameter,
        body: Reports,
        response: {
          204: z.null().describe('The reports are stored durably.'),
          ...problems('stale-boot', 'decommissioned', 'too-large', 'unsupported-media-type', 'busy'),
        },
      },
    },
    async (request, reply) => {
      const receivedAt = Date.now();
      await agents.acceptReports(request.params.host, request.body, getRequester(request));
      if (tracer !== null) traceReports(tracer, request.body, receivedAt);
      return reply.status(204).send(null);
    },
  );
}

/** Adds a span to the trace of each order that a stored report ends. */
function traceReports(tracer: Tracer, { reports }: Reports, startTime: number): void {
  for (const report of reports)
    if ('traceparent' in report && report.traceparent !== undefined)
      tracer
        .startSpan(`store ${report.kind}`, { parent: report.traceparent, kind: 'consumer', startTime })
        .end({ 'patchbay.order': report.order, 'patchbay.device': report.device }, null);
}

function toServiceKey({ keyId, publicKey, createdAt, endorsement }: SigningKeyRecord): ServiceKey {
  const envelope = endorsement === null ? null : SignedStatement.parse(endorsement);
  return { keyId: Digest.parse(keyId), publicKey, createdAt: createdAt.toISOString(), endorsement: envelope };
}

/** Returns the API key of the request; null if the request has the join token. */
function keyOf(request: FastifyRequest): RegistrationKey | null {
  const caller = getCaller(request);
  return caller.kind === 'key' ? caller : null;
}

async function* serverSentEvents(orders: AsyncIterable<Order>): AsyncGenerator<ServerSentEvent> {
  for await (const order of orders) yield { id: order.sequence, event: 'order', data: order };
}
