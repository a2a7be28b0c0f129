// Receivers that do not speak HTTP as they should: every attempt ends with a result.

import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { Sender } from '../../../src/service/webhooks/sender.ts';

const message = { id: 'evt_1', body: '{}', contentType: 'application/json', secrets: ['whsec_AAAA'] };

let server: Server | null = null;
const sockets = new Set<Socket>();
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  server?.close();
});

/** Sends a message to a receiver that writes these bytes and leaves the connection open. */
async function sendTo(response: string) {
  const receiver = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', () => socket.write(response));
  });
  server = receiver;
  receiver.listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const address = receiver.address();
  if (address === null || typeof address === 'string') throw new Error('the receiver does not listen');
  const sender = new Sender({ allowPrivate: true });
  const attempt = await sender.send({ ...message, url: `http://127.0.0.1:${address.port}/` }, new Date(), new AbortController().signal);
  sender.close();
  return attempt;
}

const failure = (status: number | null, reason: string) => ({ result: 'failed', status, reason: expect.stringContaining(reason) });

test('a receiver that switches protocols fails the attempt', async () => {
  const switching = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  expect(await sendTo(switching)).toMatchObject(failure(101, 'the receiver responded with 101'));
});

test('the content of a response without content is ignored', async () => {
  expect(await sendTo('HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok')).toEqual({ result: 'delivered', status: 204 });
});

test('bytes that are not HTTP, and early hints without a response, fail the attempt', async () => {
  expect(await sendTo('SSH-2.0-OpenSSH_9.6\r\n')).toMatchObject(failure(null, 'Parse Error'));
  expect(await sendTo('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot-a-size\r\n')).toMatchObject(failure(null, 'Parse Error'));
  expect(await sendTo(`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`)).toMatchObject(failure(null, 'Header'));
  expect(await sendTo('HTTP/1.1 103 Early Hints\r\n\r\n')).toMatchObject(failure(null, 'no complete response within 15 s'));
});
