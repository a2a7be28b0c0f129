// The service does not know the boot of a running host, as after a restored backup: the host registers again, and is taken for a new one.

import { createServer, type IncomingMessage, type ServerResponse, request as sendRequest } from 'node:http';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { runHost } from '../../../src/host/host.ts';
import { runSql } from '../../databases.ts';
import { firstOf, itemsOf, joinToken, TestService, until, workModule } from '../test-service.ts';

let service: TestService;
beforeEach(async () => {
  service = await new TestService().start();
});
afterEach(() => service.close());

/** A network between a host and the service that can hold reports back. */
class HeldNetwork {
  /** Bodies of the received reports, in order. */
  readonly reported: string[] = [];
  #held: PromiseWithResolvers<void> | null = null;
  readonly #server = createServer((request, response) => {
    this.#pass(request, response).catch((error) => response.destroy(error));
  });

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? `http://127.0.0.1:${address.port}` : '';
  }

  holdReports(): void {
    this.#held = Promise.withResolvers<void>();
  }

  release(): void {
    this.#held?.resolve();
    this.#held = null;
  }

  close(): void {
    this.release();
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    if (request.url?.endsWith('/reports')) {
      this.reported.push(body.toString());
      await this.#held?.promise;
    }
    const { method, headers } = request;
    const passed = sendRequest(`${service.url}${request.url}`, { method, headers }, (received) => {
      response.writeHead(received.statusCode ?? 502, received.headers);
      response.flushHeaders();
      received.pipe(response);
    });
    passed.once('error', (error) => response.destroy(error));
    response.once('close', () => passed.destroy());
    passed.end(body);
  }
}

/** Starts a network, and behind it a host with one attached device. */
async function startHost(): Promise<{ readonly network: HeldNetwork; readonly device: string }> {
  const network = new HeldNetwork();
  const stop = new AbortController();
  const ended = runHost({
    controlUrl: await network.listen(),
    joinToken,
    name: 'rack-1',
    capacity: 1,
    trustedKeys: null,
    devices: [{ name: 'rack-1-1', labels: {}, ramPages: 64 }],
    signal: stop.signal,
    logger: pino({ enabled: false }),
  });
  onTestFinished(async () => {
    stop.abort();
    network.close();
    await ended;
  });
  const [device = ''] = await service.connectedDevices(1);
  return { network, device };
}

/** Makes the service forget the boot of the host when a report is about to be sent, as a restored backup does. */
async function forgetBoot(network: HeldNetwork, kind: string): Promise<void> {
  await until(`${kind} is reported`, async () => network.reported.some((reports) => reports.includes(kind)));
  await runSql(service.database, `UPDATE "Host" SET "bootId" = 'boot-before'`);
  network.release();
}

test('a load that the host executed before it was taken for a new one keeps its outcome, and is executed once', async () => {
  const { network, device } = await startHost();
  await service.push('tcp', '1.0.0', workModule(1));
  network.holdReports();
  const { body } = await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices: [device] });
  await forgetBoot(network, 'load-completed');
  const [load] = await until('the load has an outcome', async () => {
    const loads = itemsOf(await service.get(`/v1/loads?batch=${body.batch}`));
    return loads.every(({ outcome }) => outcome !== null) && loads;
  });
  expect(load).toMatchObject({ outcome: 'installed', reason: null });
  const history = itemsOf(await service.get(`/v1/devices/${device}/modules/tcp/history`));
  expect(history).toMatchObject([{ version: '1.0.0', load: load?.id, removedAt: null }]);
  expect(itemsOf(await service.get('/v1/audit?action=device.drifted'))).toEqual([]);
});

test('a program that the host started before it was taken for a new one keeps running', async () => {
  const { network, device } = await startHost();
  await service.push('tcp', '1.0.0', workModule(1));
  await service.load('tcp', '1.0.0', [device]);
  network.holdReports();
  const program = { module: 'tcp', export: 'work', arguments: [1], threads: 1, calls: null, pauseMilliseconds: 10 };
  const { status, body } = await service.post(`/v1/devices/${device}/programs`, program);
  expect(status, JSON.stringify(body)).toBe(202);
  await forgetBoot(network, 'program-started');
  const isSettled = (one: Schemas['Program']) => one.state !== 'starting' && one.statistics !== null;
  const settled = await until('the program has started, or has not', async () => {
    const one = firstOf(await service.get(`/v1/devices/${device}/programs`));
    return (isSettled(one) || one.failure !== null) && one;
  });
  expect(settled).toMatchObject({ id: body.id, state: 'running', failure: null });
});
