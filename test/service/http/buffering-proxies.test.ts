// Event streams through proxies: headers against buffering, and the fallback of hosts and commands behind a proxy that buffers.

import { Writable } from 'node:stream';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { createPatchbayClient } from '../../../src/client/client.ts';
import { type Connection, readNewestEventNumber, streamEvents, streamRollout } from '../../../src/client/event-stream.ts';
import { runHost } from '../../../src/host/host.ts';
import { runPatchbay } from '../../cli/command.ts';
import { Agent } from '../agents/agent.ts';
import { bearer, firstOf, joinToken, TestService, until, workModule } from '../test-service.ts';
import { type HttpProxy, isNginxInstalled, startBufferingProxy, startNginx } from './buffering-proxy.ts';

let service: TestService;
const ended: (() => Promise<void>)[] = [];
beforeEach(async () => {
  service = await new TestService().start();
});
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
  await service.close();
});

async function through(starting: Promise<HttpProxy>): Promise<HttpProxy> {
  const proxy = await starting;
  ended.push(proxy.close);
  return proxy;
}

/** Runs a host with one device that connects through a proxy. Returns its log. */
function startHost({ url: controlUrl }: HttpProxy): readonly string[] {
  const lines: string[] = [];
  const stop = new AbortController();
  const stream = new Writable({
    write(line, _encoding, done) {
      lines.push(String(line));
      done();
    },
  });
  const devices = [{ name: 'device', labels: {}, ramPages: 64 }];
  const { signal } = stop;
  const done = runHost({ controlUrl, joinToken, name: 'host', devices, capacity: 1, trustedKeys: null, signal, logger: pino(stream) });
  ended.push(async () => {
    stop.abort();
    await done;
  });
  return lines;
}

const isPolling = (log: readonly string[]) => log.some((line) => line.includes('polling for orders instead'));

/** Follows the events of the service until its signal is aborted. */
function follow({ url }: HttpProxy) {
  const stop = new AbortController();
  const connections: Connection[] = [];
  const actions: string[] = [];
  const client = createPatchbayClient(url, service.key);
  const { signal } = stop;
  const onConnection = (now: Connection) => connections.push(now);
  const done = (async () => {
    const following = { after: await readNewestEventNumber(client), types: ['build'] as const, signal, wasThere: true, onConnection };
    for await (const { action } of streamEvents(client, following)) actions.push(action);
  })();
  ended.push(async () => {
    stop.abort();
    await done;
  });
  return { connections, actions };
}

test('every event stream has headers against proxy buffering, and begins with a comment', async () => {
  const agent = new Agent(service);
  await agent.register('agent', ['d1']);
  await service.push('tcp', '1.0.0', workModule(1));
  const device = firstOf(await service.get('/v1/devices')).id;
  const rollout = await service.post('/v1/rollouts', { module: 'tcp', version: '1.0.0', devices: [device] });
  const paths: Record<string, [path: string, token: string]> = {
    '/v1/events': ['/v1/events', service.key],
    '/v1/rollouts/{rollout}/progress': [`${rollout.headers.get('location')}/progress`, service.key],
    '/agent/v1/hosts/{host}/orders': [`/agent/v1/hosts/${agent.host}/orders?bootId=${agent.bootId}`, agent.token],
  };
  expect(Object.keys(paths).toSorted()).toEqual(streamsOf((await service.get('/documentation/json')).body));
  for (const [path, token] of Object.values(paths)) {
    const leaving = new AbortController();
    const response = await fetch(`${service.url}${path}`, { headers: bearer(token), signal: leaving.signal });
    const first = await response.body?.getReader().read();
    leaving.abort();
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    });
    expect(new TextDecoder().decode(first?.value)).toMatch(/^:/);
  }
});

/** Returns the paths of the document that return an event stream. */
function streamsOf(document: unknown): string[] {
  const { paths } = z.object({ paths: z.record(z.string(), z.unknown()) }).parse(document);
  return Object.keys(paths)
    .filter((path) => JSON.stringify(paths[path]).includes('text/event-stream'))
    .toSorted();
}

test.each([
  ['the body of each response', false],
  ['each response whole, its headers too', true],
])('behind a proxy that buffers %s, a host and a load fall back to polling and say so', async (_, holdsHeaders) => {
  const proxy = await through(startBufferingProxy(service.url, holdsHeaders));
  const log = startHost(proxy);
  await service.push('tcp', '1.0.0', workModule(1));
  await service.connectedDevices(1);
  expect(isPolling(log)).toBe(true);
  const loading = ['load', '--module', 'tcp', '--version', '1.0.0', '--device', 'device', '--service', proxy.url];
  const said = await runPatchbay(service.folder, loading, { PATCHBAY_KEY: service.key });
  expect(said).toMatchObject({ code: 0, stdout: expect.stringContaining('installed') });
  expect(said.stderr).toContain(
    'the event stream brings no data, probably because a proxy buffers it: polling the service every second instead',
  );
});

test('behind a buffering proxy, filtered events arrive in order, and a rollout is followed to its end', async () => {
  const proxy = await through(startBufferingProxy(service.url, true));
  startHost(proxy);
  const { connections, actions } = follow(proxy);
  await until('the events are polled', async () => connections.includes('polling'));
  for (const version of ['1.0.0', '1.1.0']) await service.push('tcp', version, workModule(1));
  await until('both events come', async () => actions.length === 2);
  expect(actions).toEqual(['build.created', 'build.created']);
  expect(connections).toEqual(['polling']);

  const [device = ''] = await service.connectedDevices(1);
  const waves = [{ upToPercent: 100, soakSeconds: 0 }];
  const made = await service.post('/v1/rollouts', { module: 'tcp', version: '1.1.0', devices: [device], waves });
  const states: string[] = [];
  const following = { signal: new AbortController().signal, wasThere: true };
  for await (const { state } of streamRollout(createPatchbayClient(proxy.url, service.key), String(made.body.id), following))
    states.push(state);
  expect(states.at(-1)).toBe('completed');
});

test.skipIf(!isNginxInstalled)('nginx, which buffers by default, forwards streams because of their headers (needs nginx)', async () => {
  const proxy = await through(startNginx(service.url));
  const log = startHost(proxy);
  const { connections, actions } = follow(proxy);
  await service.connectedDevices(1);
  await until('the events are followed', async () => {
    await service.push('tcp', `1.0.${Date.now()}`, workModule(1));
    return actions.length > 0;
  });
  expect(connections).toEqual([]);
  expect(isPolling(log)).toBe(false);
});

test.skipIf(!isNginxInstalled)('behind an nginx that ignores these headers, hosts and commands poll (needs nginx)', async () => {
  const proxy = await through(startNginx(service.url, 'proxy_ignore_headers X-Accel-Buffering;'));
  const log = startHost(proxy);
  const { connections, actions } = follow(proxy);
  await service.connectedDevices(1);
  expect(isPolling(log)).toBe(true);
  await until('the events are polled', async () => connections.includes('polling'));
  await service.push('tcp', '1.0.0', workModule(1));
  await until('an event comes', async () => actions.length === 1);
});
