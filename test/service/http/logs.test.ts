// The logs of a real service and a real host process: request IDs appear in all of them, and secrets in none.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newIdentifier } from '../../../src/protocol/identifiers.ts';
import { redactSecrets } from '../../../src/protocol/logging.ts';
import { LogLines } from '../../log-lines.ts';
import { Agent } from '../agents/agent.ts';
import { bearer, firstOf, itemsOf, joinToken, type LoadPolicy, TestService, until, workModule } from '../test-service.ts';

const secretText = () => randomBytes(32).toString('base64url');
const unknownKey = `patchbay_${randomUUID().replaceAll('-', '')}_${secretText()}`;
const unknownToken = `agt_${secretText()}`;
const cookie = `session=${secretText()}`;

let service: TestService;
let log: LogLines;
let children: { readonly child: ChildProcess; readonly ended: Promise<void> }[];
beforeEach(async () => {
  children = [];
  service = new TestService();
  log = new LogLines();
  service.logger = { level: 'trace', stream: log };
  service.prepare = (app) =>
    app.get('/fails', { config: { access: 'public' } }, async () => {
      const error = new Error(`cannot use ${unknownKey}, ${unknownToken} and ${joinToken}`);
      throw Object.assign(error, {
        cause: new Error(unknownKey),
        response: { config: { headers: { authorization: cookie, cookie: [cookie] } } },
      });
    });
  await service.start();
});
afterEach(async () => {
  for (const { child } of children) child.kill('SIGKILL');
  await Promise.all(children.map(({ ended }) => ended));
  await service.close();
});

/** A host process, with its output. */
function startHostProcess(control: string, token = joinToken): LogLines {
  const lines = new LogLines();
  const tokenFile = join(service.folder, 'token');
  writeFileSync(tokenFile, token);
  const command = fileURLToPath(new URL('../../../src/cli/patchbay.ts', import.meta.url));
  const options = ['--control', control, '--name', 'rack', '--devices', '1', '--token-file', tokenFile, '--log-level', 'debug'];
  const child = spawn(process.execPath, [command, 'host', ...options], { stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => lines.write(text));
  children.push({ child, ended: new Promise((resolve) => child.on('close', () => resolve())) });
  return lines;
}

test('the X-Request-Id of a client appears in the response and in every log, down to the device', async () => {
  const host = startHostProcess(service.url);
  const devices = await service.connectedDevices(1);
  await service.push('tcp', '1.0.0', workModule(1));
  const body = { module: 'tcp', version: '1.0.0', devices };
  const accepted = await service.post('/v1/loads', body, { 'x-request-id': 'change-4711.a_B' });
  expect(accepted.headers.get('x-request-id')).toBe('change-4711.a_B');
  const [{ id: load } = { id: '' }] = itemsOf(await service.get(`/v1/loads?batch=${accepted.body.batch}`));
  const [done] = await until('the host says that it has loaded', async () => {
    const lines = host.with({ msg: 'executed an order', kind: 'load' });
    return lines.length === 1 && lines;
  });
  expect(done).toMatchObject({ level: 30, device: devices[0], load, request: 'change-4711.a_B', order: expect.stringMatching(/^ord_/) });
  expect(itemsOf(await service.get('/v1/audit?action=load.requested'))).toMatchObject([{ request: 'change-4711.a_B' }]);

  const [key] = itemsOf(await service.get('/v1/keys'));
  const ofRequest = log.with({ reqId: 'change-4711.a_B' });
  expect(ofRequest.map(({ msg }) => msg)).toEqual(['incoming request', 'request completed']);
  expect(ofRequest[1]).toMatchObject({ actor: key?.id, res: { statusCode: 202 }, responseTime: expect.any(Number) });
  expect(log.with({ action: 'load.requested' })).toMatchObject([
    { level: 30, object: accepted.body.batch, actor: key?.id, request: 'change-4711.a_B', detail: { module: 'tcp', devices: 1 } },
  ]);
  const [registered] = itemsOf(await service.get('/v1/hosts'));
  await until('the service says how the load ended', async () => log.with({ action: 'load.completed' }).length === 1);
  expect(log.with({ action: 'load.completed' })).toMatchObject([{ object: load, actor: registered?.id, detail: { outcome: 'installed' } }]);
  expect(log.with({ msg: 'request completed', actor: registered?.id }).length).toBeGreaterThan(0);
  expect(log.with({ action: 'key.created' })).toMatchObject([{ actor: 'service', request: null }]);
});

test('an order carries the ID of its request, even when it is sent again to a restarted host', async () => {
  const agent = new Agent(service);
  await agent.register('agent', ['d1']);
  const [attach] = await agent.next(0, 10);
  expect(attach?.request).toMatch(/^req_/);
  await service.push('tcp', '1.0.0', workModule(1));
  const devices = itemsOf(await service.get('/v1/devices')).map(({ id }) => id);
  await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices }, { 'x-request-id': 'change-1' });
  agent.bootId = randomUUID();
  await agent.register('agent', ['d1']);
  expect(await agent.next(0, 10)).toMatchObject([{ kind: 'attach-device' }, { kind: 'load', request: 'change-1' }]);
});

test.each(['', 'a b', 'ä', 'a'.repeat(65), 'a,b', unknownToken])('the request ID "%s" is not accepted', async (name) => {
  const response = await service.get('/v1/hosts', { 'x-request-id': name });
  expect(response.headers.get('x-request-id')).toMatch(/^req_[0-9a-f]{32}$/);
});

test('no log line contains a secret, wherever it comes from', async () => {
  const { key } = service;
  const agent = new Agent(service);
  await agent.register('agent', ['d1']);
  const made = await service.post('/v1/keys', { name: 'made', role: 'operator' });
  const secrets = [key, String(made.body.secret), agent.token, joinToken, unknownKey, unknownToken];
  await service.push('tcp', '1.0.0', workModule(1));
  for (const secret of secrets) {
    for (const headers of [bearer(secret), { cookie, authorization: `Basic ${secret}` }, { 'x-api-key': secret, 'user-agent': secret }])
      await service.get('/v1/devices', headers);
    for (const path of [`/v1/devices?cursor=${secret}`, `/v1/devices/${secret}`, `/${secret}/x`, `/v1/modules?access_token=${secret}`]) {
      await service.get(path);
      await service.request('DELETE', path);
    }
    await service.postRaw('/v1/devices', { name: secret, labels: { note: secret }, [secret]: 1 });
    await service.postRaw('/v1/devices', `{"name": "${secret}`);
    await service.postRaw('/v1/devices', secret, { 'content-type': secret });
    await service.post('/v1/loads', { module: secret, version: secret, devices: [secret] }, { 'idempotency-key': secret });
    const device = firstOf(await service.get('/v1/devices'));
    const downgrade: LoadPolicy = { versionPolicy: 'downgrade', downgradeReason: `because of ${secret}` };
    const load = await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices: [device.id], ...downgrade });
    expect(load.status).toBe(202);
  }
  expect((await service.get('/fails', { cookie })).status).toBe(500);

  for (const secret of [...secrets, cookie]) expect(log.text).not.toContain(secret);
  expect(log.with({ msg: 'request failed' })).toMatchObject([
    {
      err: {
        message: expect.stringMatching(/^cannot use \[redacted\], \[redacted\] and \[redacted\]/),
        response: { config: { headers: { authorization: '[redacted]', cookie: '[redacted]' } } },
      },
    },
  ]);
  const requested = log.with({ action: 'load.requested' });
  expect(requested).toHaveLength(secrets.length);
  for (const { detail } of requested) expect(detail).toMatchObject({ downgradeReason: 'because of [redacted]' });
  const paths = log.with({ msg: 'incoming request' }).map(({ req }) => Object(req).url);
  expect(paths).toContain('/v1/devices/[redacted]');
  expect(paths.length).toBeGreaterThan(secrets.length * 14);
});

test('redaction keeps a placeholder and removes a token in the same position', () => {
  for (const placeholder of ['TOKEN', 'KEY']) {
    const message = `shown as \`Authorization: Bearer ${placeholder}\`: ask for another`;
    expect(redactSecrets(message)).toBe(message);
  }
  for (const secret of [secretText(), `TOKEN${secretText()}`, 'TOKEN'])
    expect(redactSecrets(`Authorization: Bearer  ${secret} is shown`)).toBe('Authorization: [redacted] is shown');
});

test('a host without a service logs why the connection failed', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  await new Promise((resolve) => server.close(resolve));
  const host = startHostProcess(`http://127.0.0.1:${port}`, secretText());
  const lost = { msg: 'lost the connection to the control service; trying again' };
  await until('the host has lost the service', async () => host.with(lost).length > 0);
  expect(host.with(lost)[0]).toMatchObject({ reason: `TypeError: fetch failed: connect ECONNREFUSED 127.0.0.1:${port}` });
});

test('a host process never logs its tokens, whatever the service responds', async () => {
  const token = `agt_${secretText()}`;
  let registrations = 0;
  // The server echoes the request.
  const server: Server = createServer((request, response) => {
    const isRegistered = request.url === '/agent/v1/hosts' && ++registrations > 1;
    const registered = { host: newIdentifier('host'), name: 'rack', devices: 1, token, heartbeatSeconds: 0.05, signingKeys: [] };
    request.resume();
    if (isRegistered) response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify(registered));
    else response.writeHead(500).end(`${request.headers.authorization} is shown, ${request.headers.authorization?.split(' ')[1]} it has`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  try {
    const ownToken = secretText();
    const host = startHostProcess(`http://127.0.0.1:${port}`, ownToken);
    await until(
      'the host has lost the service twice',
      async () => host.with({ msg: 'lost the connection to the control service; trying again' }).length > 1,
    );
    await until('heartbeats have failed', async () => host.with({ msg: 'could not send a heartbeat' }).length > 0);
    expect(host.with({ msg: 'lost the connection to the control service; trying again' })[0]).toMatchObject({
      reason: expect.stringMatching(/500 \[redacted\] is shown, \[redacted\] it has$/),
    });
    for (const secret of [token, ownToken]) expect(host.text).not.toContain(secret);
  } finally {
    await new Promise((resolve) => {
      server.closeAllConnections();
      server.close(resolve);
    });
  }
});
