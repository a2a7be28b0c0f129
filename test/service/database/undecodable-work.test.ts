// Work on many rows, one of them undecodable: loads expire, hosts register and report, events are streamed and the service starts, except what
// concerns the damaged row itself.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { newIdentifier } from '../../../src/protocol/identifiers.ts';
import { kind as databaseKind, openSql, type Sql } from '../../databases.ts';
import { Agent, attached, loaded, state } from '../agents/agent.ts';
import { bearer, eventsOf, itemsOf, TestService, until, workModule } from '../test-service.ts';

const far = '9007199254740993';
const text = "'garbage'";
const json = "'garbage{'";

describe.runIf(databaseKind === 'sqlite')('with a row that cannot be decoded', () => {
  const service = new TestService();
  const agent = new Agent(service);
  const other = new Agent(service);
  let sql: Sql;
  let devices: readonly [string, string];

  beforeAll(async () => {
    await service.start();
    sql = await openSql(service.database);
    await agent.register('host-a', ['device-1', 'device-2']);
    await agent.connect();
    await agent.report(...(await agent.order('attach-device', 2)).map((order) => attached(order)));
    await other.register('host-b', []);
    const [first = '', second = ''] = await service.connectedDevices(2);
    devices = [first, second];
    for (const version of ['1.0.0', '1.1.0']) expect((await service.push('tcp', version, workModule(1))).status).toBe(201);
  });
  afterAll(async () => {
    agent.disconnect();
    await sql.close();
    await service.close();
  });

  /** Damages a cell. Returns a function that corrects it. */
  async function damage(table: string, column: string, value: string, where: string): Promise<() => Promise<void>> {
    const saved = `saved_${randomUUID().replaceAll('-', '')}`;
    await sql.run(`CREATE TABLE "${saved}" AS SELECT "${column}" AS "cell" FROM "${table}" WHERE ${where}`);
    await sql.run(`UPDATE "${table}" SET "${column}" = ${value} WHERE ${where}`);
    return async () => {
      await sql.run(`UPDATE "${table}" SET "${column}" = (SELECT "cell" FROM "${saved}") WHERE ${where}`);
      await sql.run(`DROP TABLE "${saved}"`);
    };
  }

  const reasons = async () => String((await service.get('/v1/health')).body.reasons);

  /** Requests a load for each device. Returns the identifiers, in the order of the devices. */
  async function requestLoads(version: string, deadlineSeconds = 600): Promise<[string, string]> {
    const { status, body } = await service.post('/v1/loads', { module: 'tcp', version, devices, deadlineSeconds });
    expect(status).toBe(202);
    const loads = itemsOf(await service.get(`/v1/loads?limit=200&batch=${String(body.batch)}`));
    const [first, second] = devices.map((device) => String(loads.find((load) => load.device === device)?.id));
    return [first ?? '', second ?? ''];
  }

  const outcomeOf = async (load: string) => (await service.get(`/v1/loads/${load}`)).body.outcome;

  const loadOrder = (load: string) =>
    until(`the order of ${load}`, async () => agent.orders.find((order) => order.kind === 'load' && order.load === load) ?? null);

  test.each([
    ['requestedAt', far],
    ['requestedAt', text],
    ['dispatchedAt', far],
    ['deadlineAt', `-${far}`],
    ['interrupted', text],
  ])('a load whose %s is %s does not keep another from expiring', async (column, value) => {
    const [damaged, whole] = await requestLoads('1.0.0', 1);
    const correct = await damage('Load', column, value, `"id" = '${damaged}'`);
    await until('the other load has expired', async () => (await outcomeOf(whole)) === 'expired');
    await correct();
    await until('the corrected load has expired', async () => (await outcomeOf(damaged)) === 'expired');
    expect(await reasons()).not.toContain('stored rows are damaged');
  });

  test('a load with an undecodable time does not block the correction of another whose clock was ahead', async () => {
    const [damaged, whole] = await requestLoads('1.0.0');
    const correct = await damage('Load', 'requestedAt', text, `"id" = '${damaged}'`);
    await sql.run(`UPDATE "Load" SET "requestedAt" = "requestedAt" + 86400000 WHERE "id" = '${whole}'`);
    await until('the other load has been moved', async () => {
      const { body } = await service.get(`/v1/loads/${whole}`);
      return Date.parse(String(body.requestedAt)) < Date.now() + 3_600_000;
    });
    expect(await reasons()).toContain(`load ${damaged} (`);
    await correct();
    expect(await reasons()).not.toContain('stored rows are damaged');
    await agent.report(loaded(await loadOrder(damaged)), loaded(await loadOrder(whole)));
  });

  test('a damaged device history does not block reports of other devices', async () => {
    const [damaged, whole] = await requestLoads('1.1.0');
    const correct = await damage('HistoryEntry', 'installedAt', text, `"deviceId" = '${devices[0]}'`);
    const reports = [loaded(await loadOrder(damaged), '0x2000'), loaded(await loadOrder(whole), '0x2000')];
    expect((await agent.report(...reports)).status).toBe(204);
    expect(await outcomeOf(whole)).toBe('installed');
    expect(await outcomeOf(damaged)).toBeNull();
    expect(await reasons()).toContain(`report of device ${devices[0]} (`);
    await correct();
    // The order was not settled, so it is sent again, and the host reports it again.
    expect((await agent.report(...reports)).status).toBe(204);
    expect(await outcomeOf(damaged)).toBe('installed');
    expect(await reasons()).not.toContain('stored rows are damaged');
  });

  test('a load of a device with an undecodable sequence completes, and the damage is reported', async () => {
    const [damaged, whole] = await requestLoads('1.0.0');
    const reports = [loaded(await loadOrder(damaged)), loaded(await loadOrder(whole))];
    const correct = await damage('Device', 'stateSequence', text, `"id" = '${devices[0]}'`);
    expect((await agent.report(...reports)).status).toBe(204);
    expect([await outcomeOf(damaged), await outcomeOf(whole)]).toEqual(['installed', 'installed']);
    expect(await reasons()).toContain(`device ${devices[0]} (`);
    await correct();
    expect(await reasons()).not.toContain('stored rows are damaged');
  });

  test('a device is readable if a time of its host cannot be decoded', async () => {
    const correct = await damage('Host', 'unreachableSince', text, `"name" = 'host-a'`);
    expect(await service.get(`/v1/devices/${devices[0]}`)).toMatchObject({ status: 200, body: { status: 'unreachable' } });
    await correct();
  });

  test('an ABI violation with an undecodable count does not block the state of its device', async () => {
    const [program, digest] = [newIdentifier('program'), `sha256:${'0'.repeat(64)}`];
    await sql.run(`INSERT INTO "Program" ("id", "deviceId", "name", "module", "export", "type", "arguments", "threads", "pauseMilliseconds",
      "driverDigest", "createdAt") VALUES ('${program}', '${devices[0]}', 'one', 'tcp', 'f', '{"parameters":[],"results":[]}', '[]', 1, 0, '${digest}', 1)`);
    const violation = (faults: number): Schemas['ReportedAbiViolation'] => {
      const at = new Date().toISOString();
      return { program, module: 'tcp', version: '1.0.0', address: '0x1000', page: 1, flag: 'nx', at, lastAt: at, faults };
    };
    const report = (faults: number) => {
      const current: Schemas['DeviceState'] = { ...state(), abiViolations: { total: 1, newest: [violation(faults)] } };
      return agent.report({ kind: 'device-state', device: devices[0], state: current });
    };
    expect(await report(1)).toMatchObject({ status: 204 });
    const correct = await damage('AbiViolation', 'faults', text, `"deviceId" = '${devices[0]}'`);
    expect((await report(2)).status).toBe(204);
    expect(await reasons()).toContain('ABI violation ');
    await correct();
    expect((await report(3)).status).toBe(204);
    const [listed] = itemsOf(await service.get(`/v1/devices/${devices[0]}/abi-violations`));
    expect(listed?.faults).toBe(3);
    expect(await reasons()).not.toContain('stored rows are damaged');
    await sql.run(`DELETE FROM "Program" WHERE "id" = '${program}'`);
  });

  test.each([
    ['Device', 'ramPages', text, () => `"id" = '${devices[0]}'`, 'device'],
    ['Device', 'state', json, () => `"id" = '${devices[0]}'`, null],
    ['Device', 'createdAt', far, () => `"id" = '${devices[0]}'`, null],
    ['Device', 'labelsByOperator', text, () => `"id" = '${devices[0]}'`, null],
    ['DeviceModule', 'loadedAt', text, () => `"deviceId" = '${devices[0]}'`, null],
    ['DeviceModule', 'driftedAt', far, () => `"deviceId" = '${devices[0]}'`, null],
    ['Host', 'capacity', text, () => `"name" = 'host-b'`, null],
    ['Host', 'registeredAt', text, () => `"name" = 'host-b'`, null],
    ['Host', 'unreachableSince', far, () => `"name" = 'host-b'`, null],
    ['AuditEvent', 'detail', json, () => `"number" = 3`, null],
    ['Load', 'requestedAt', far, () => `"deviceId" = '${devices[0]}'`, null],
  ])('a damaged %s (%s = %s) keeps no host from registering with its other devices', async (table, column, value, where, kind) => {
    const correct = await damage(table, column, value, where());
    agent.disconnect();
    agent.bootId = randomUUID();
    expect((await agent.register('host-a', ['device-1', 'device-2'])).status).toBe(201);
    await agent.connect();
    const attaching = await until('the other device comes up', async () => {
      const orders = agent.orders.filter((order) => order.kind === 'attach-device');
      return orders.some(({ device }) => device === devices[1]) && orders;
    });
    if (kind !== null) expect(await reasons()).toContain(`${kind} ${devices[0]} (`);
    await correct();
    expect((await agent.report(...attaching.map((order) => attached(order)))).status).toBe(204);
    expect(await reasons()).not.toContain('stored rows are damaged');
  });

  test.each(['capacity', 'registeredAt', 'unreachableSince', 'heartbeatCount'])(
    'a host whose row is damaged in %s is whole once it registers',
    async (column) => {
      await damage('Host', column, text, `"name" = 'host-b'`);
      expect((await service.get('/v1/hosts')).body.damaged).toMatchObject([{ id: other.host }]);
      expect((await other.register('host-b', [])).status).toBe(201);
      expect((await service.get('/v1/hosts')).body.damaged).toEqual([]);
      expect(await reasons()).not.toContain('stored rows are damaged');
    },
  );

  test('an order with an invalid JSON body does not block other orders of its host', async () => {
    agent.disconnect();
    const [damaged, whole] = await requestLoads('1.0.0');
    const correct = await damage('AgentOrder', 'body', json, `"loadId" = '${damaged}'`);
    await agent.connect();
    await loadOrder(whole);
    expect(agent.orders.some((order) => order.kind === 'load' && order.load === damaged)).toBe(false);
    expect(await reasons()).toContain('order ord_');
    await correct();
    agent.disconnect();
    await agent.connect();
    await loadOrder(damaged);
    expect(await reasons()).not.toContain('stored rows are damaged');
  });

  test.each([far, text])('an order with the time %s is sent and settled, and does not block others', async (value) => {
    agent.disconnect();
    const [damaged, whole] = await requestLoads('1.0.0');
    const correct = await damage('AgentOrder', 'createdAt', value, `"loadId" = '${damaged}'`);
    await agent.connect();
    expect((await agent.report(loaded(await loadOrder(damaged)), loaded(await loadOrder(whole)))).status).toBe(204);
    expect(await Promise.all([outcomeOf(damaged), outcomeOf(whole)])).not.toContain(null);
    await correct();
    expect(await reasons()).not.toContain('stored rows are damaged');
  });

  test.each([
    ['at', far],
    ['at', text],
    ['detail', json],
  ])('an event whose %s is %s is left out of the stream of events, which does not end', async (column, value) => {
    const before = Number(itemsOf(await service.get('/v1/audit?limit=1'))[0]?.number);
    for (let keys = 0; keys < 3; keys += 1) await service.post('/v1/keys', { name: `key-${randomUUID()}`, role: 'viewer' });
    const correct = await damage('AuditEvent', column, value, `"number" = ${before + 2}`);
    const abort = new AbortController();
    const response = await fetch(`${service.url}/v1/events?after=${before}`, { headers: bearer(service.key), signal: abort.signal });
    const numbers: string[] = [];
    for await (const { id = '' } of eventsOf(response)) {
      numbers.push(id);
      if (numbers.length === 2) break;
    }
    abort.abort();
    expect(numbers).toEqual([String(before + 1), String(before + 3)]);
    expect(await reasons()).toContain(`audit event ${before + 2} (`);
    await correct();
    expect(await reasons()).not.toContain('stored rows are damaged');
  });

  test('a rollout report lists a device with a damaged row and its fault', async () => {
    await service.push('udp', '1.0.0', workModule(1));
    const asked = { module: 'udp', version: '1.0.0', devices, startAt: '2999-01-01T00:00:00Z' };
    const requested = await service.post('/v1/rollouts', asked);
    expect(requested).toMatchObject({ status: 202 });
    const rollout = String(requested.body.id);
    const correct = await damage('RolloutDevice', 'interrupted', text, `"rolloutId" = '${rollout}' AND "deviceId" = '${devices[0]}'`);
    const { body } = await service.get(`/v1/rollouts/${rollout}/report`);
    expect(body.devices).toMatchObject([{ device: devices[1] }]);
    expect(body.damaged).toMatchObject([{ id: devices[0], reason: expect.stringContaining('interrupted') }]);
    const csv = await fetch(`${service.url}/v1/rollouts/${rollout}/report?format=csv`, { headers: bearer(service.key) });
    expect(await csv.text()).toMatch(new RegExp(`^${devices[0]},.*the stored row is damaged: `, 'm'));
    await correct();
    expect((await service.get(`/v1/rollouts/${rollout}/report`)).body.damaged).toEqual([]);
  });

  test('the service starts with a damaged row in each table, and a host registers', async () => {
    await service.post('/v1/signing-keys', undefined);
    await service.post('/v1/audit/checkpoints', undefined);
    agent.disconnect();
    await service.stop();
    const cells: readonly (readonly [table: string, column: string, value: string, where: string])[] = [
      ['Build', 'createdAt', text, `"version" = '1.0.0'`],
      ['Host', 'capacity', text, `"name" = 'host-b'`],
      ['Device', 'state', json, `"id" = '${devices[0]}'`],
      ['Load', 'requestedAt', far, `"deviceId" = '${devices[0]}'`],
      ['LoadTotal', 'loads', text, `"outcome" = 'expired'`],
      ['HistoryEntry', 'pages', text, `"deviceId" = '${devices[0]}'`],
      ['Rollout', 'plan', json, 'true'],
      ['RolloutWave', 'startedAt', far, 'true'],
      ['RolloutDevice', 'attempts', text, 'true'],
      ['AuditEvent', 'detail', json, '"number" = 2'],
      ['Checkpoint', 'at', far, 'true'],
      ['SigningKey', 'createdAt', far, 'true'],
      ['ApiKey', 'createdAt', far, `"role" = 'viewer'`],
    ];
    await sql.run(`UPDATE "Build" SET "envelope" = NULL`);
    for (const [table, column, value, where] of cells) await sql.run(`UPDATE "${table}" SET "${column}" = ${value} WHERE ${where}`);
    await service.start();
    expect((await service.get('/health/ready')).status).toBe(200);
    const health = await service.get('/v1/health');
    expect(health.status).toBe(200);
    expect(health.body.reasons).not.toEqual([]);
    agent.bootId = randomUUID();
    expect((await agent.register('host-a', ['device-1', 'device-2'])).status).toBe(201);
    await agent.connect();
    await agent.order('attach-device', 2);
    expect((await service.post('/v1/keys', { name: 'last', role: 'viewer' })).status).toBe(201);
  });
});
