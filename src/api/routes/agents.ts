// /agent/v1: device hosts register, follow their orders, download images and report. Plain HTTP, so that an agent in any language can join.

import { Readable } from 'node:stream';
import { z } from 'zod';
import type { Control } from '../../control/control.ts';
import { Order, Registered, Registration, Reports } from '../../protocol/agent.ts';
import { Digest } from '../../protocol/identifiers.ts';
import { identifier } from '../schemas/common.ts';
import { problems } from '../schemas/problem.ts';
import { type Api, requesterOf, sendRaw } from './route.ts';

const tags = ['agents'];

/** Bytes of a batch of reports, and of a registration with many devices. */
const bodyLimit = 8 * 1024 * 1024;
/** A stream without orders sends a comment this often, in milliseconds, so that both sides know that the other is there. */
const heartbeatInterval = 15_000;

export function addAgentRoutes(app: Api, { hosts, builds }: Control): void {
  app.post(
    '/agent/v1/hosts',
    {
      bodyLimit,
      schema: {
        operationId: 'registerHost',
        tags,
        summary: 'Register a device host',
        description:
          'The same name is the same host. A new boot id says that its devices are empty: they are ordered to come up with what they had.',
        body: Registration,
        response: { 201: Registered.describe('The host is registered.'), ...problems('name-taken', 'too-large') },
      },
    },
    async (request, reply) => {
      const host = await hosts.register(request.body, requesterOf(request));
      return reply.status(201).send(Registered.parse({ host: host.id, name: host.name, devices: host.devices }));
    },
  );

  app.get(
    '/agent/v1/hosts/:host/orders',
    {
      // A HEAD would take the stream from the host that follows it.
      exposeHeadRoute: false,
      schema: {
        operationId: 'followOrders',
        tags,
        summary: 'Follow the orders of a host',
        description:
          'Server-sent events: `event: order`, `data` an Order, `id` its sequence. Every order that no report has settled comes (again), in order, then new ones. ' +
          'A newer stream of the same host ends this one.',
        params: z.object({ host: identifier('host') }),
        querystring: z.strictObject({ bootId: z.string().min(8).max(64) }),
        response: {
          200: { description: 'The stream of orders.', content: { 'text/event-stream': { schema: Order } } },
          ...problems('not-found', 'stale-boot'),
        },
      },
    },
    async (request, reply) => {
      const gone = new AbortController();
      const orders = await hosts.orders(request.params.host, request.query.bootId, gone.signal);
      const stream = Readable.from(serverSentEvents(orders), { objectMode: false, highWaterMark: 64 * 1024 });
      const heartbeat = setInterval(() => stream.readableLength === 0 && reply.raw.write(': \n\n'), heartbeatInterval);
      reply.raw.on('close', () => {
        clearInterval(heartbeat);
        gone.abort();
      });
      return sendRaw(reply.status(200).headers({ 'content-type': 'text/event-stream', 'cache-control': 'no-store' }), stream);
    },
  );

  app.get(
    '/agent/v1/images/:digest',
    {
      schema: {
        operationId: 'downloadImage',
        tags,
        summary: 'Download an image by its digest',
        params: z.object({ digest: Digest }),
        response: {
          200: { description: 'The image.', content: { 'application/wasm': { schema: z.string().meta({ format: 'binary' }) } } },
          ...problems('not-found'),
        },
      },
    },
    async (request, reply) => {
      const { digest } = request.params;
      reply.header('etag', `"${digest}"`).header('cache-control', 'public, max-age=31536000, immutable');
      return sendRaw(reply.status(200).type('application/wasm'), await builds.image(digest));
    },
  );

  app.post(
    '/agent/v1/hosts/:host/reports',
    {
      bodyLimit,
      schema: {
        operationId: 'reportToControl',
        tags,
        summary: 'Report what came of orders, and the states of devices',
        description: 'A report whose order is settled is taken and ignored: reports may be sent again.',
        params: z.object({ host: identifier('host') }),
        body: Reports,
        response: { 204: z.null().describe('The reports are on disk.'), ...problems('not-found', 'stale-boot', 'too-large') },
      },
    },
    async (request, reply) => {
      await hosts.report(request.params.host, request.body, requesterOf(request));
      return reply.status(204).send(null);
    },
  );
}

async function* serverSentEvents(orders: AsyncIterable<Order>): AsyncGenerator<string> {
  // Something at once, so that the host knows that the stream stands.
  yield ': \n\n';
  for await (const order of orders) yield `id: ${order.sequence}\nevent: order\ndata: ${JSON.stringify(order)}\n\n`;
}
