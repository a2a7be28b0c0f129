// An aborted request is not reported as a database error.

import { connect } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LogLines } from '../../log-lines.ts';
import { TestService, until } from '../test-service.ts';

let service: TestService;
let log: LogLines;
/** Statuses of the responses to the aborted requests. */
let statuses: number[];
beforeEach(async () => {
  log = new LogLines();
  statuses = [];
  service = new TestService();
  service.logger = { level: 'info', stream: log };
  service.prepare = (app) =>
    app.addHook('onSend', async ({ id }, { statusCode }) => {
      if (id === 'broken-off') statuses.push(statusCode);
    });
  await service.start();
});
afterEach(() => service.close());

test.each(['reset', 'end'] as const)('a request body that is aborted by the %s of its connection is not a database error', async (how) => {
  const { hostname, port } = new URL(service.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  const headers = ['POST /v1/loads HTTP/1.1', `host: ${hostname}`, `authorization: Bearer ${service.key}`, 'x-request-id: broken-off'];
  const body = ['content-type: application/json', 'content-length: 1000', '', '{"module":'];
  socket.write([...headers, ...body].join('\r\n'));
  const messages = () => log.with({ reqId: 'broken-off' }).map(({ msg }) => msg);
  await until('the request has begun', async () => messages().length > 0);
  if (how === 'reset') socket.resetAndDestroy();
  else socket.destroy();
  await until('the request has failed', async () => statuses.length > 0);
  expect(statuses).toEqual([400]);
  expect(messages()).toEqual(['incoming request']);
});
