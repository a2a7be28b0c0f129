// Three replicas on one PostgreSQL database: one of them at a time brings devices to their desired versions, and another one takes over.

import { afterAll, beforeAll, expect } from 'vitest';
import { ofReplicas, startReplicas } from '../replicas.ts';
import { itemsOf, TestService, until, workModule } from '../test-service.ts';

const replicas = [new TestService(), new TestService(), new TestService()];
const devices = 12;

beforeAll(async () => {
  await startReplicas(replicas);
});
afterAll(() => Promise.all(replicas.map((replica) => replica.close())));

ofReplicas('each device gets one load, whichever replica acts, and the others continue when replicas stop', async () => {
  const [stopped, other, kept] = replicas;
  if (stopped === undefined || other === undefined || kept === undefined) throw new Error('expected three replicas');
  kept.startHost('edge', devices, { zone: 'edge' });
  const ids = await kept.connectedDevices(devices);
  for (const [index, version] of ['1.0.0', '1.1.0'].entries()) await kept.push('tcp', version, workModule(index));
  expect((await kept.post('/v1/groups', { name: 'edge', selector: 'zone=edge' })).status).toBe(201);
  expect((await kept.post('/v1/channels', { name: 'edge' })).status).toBe(201);
  expect((await kept.post('/v1/channels/edge/promotions', { module: 'tcp', version: '1.0.0' })).status).toBe(201);
  const versions = async (version: string) =>
    itemsOf(await kept.get('/v1/devices?limit=200')).filter(({ modules }) => modules['tcp'] === version).length;
  const assignment = { name: 'edge', group: 'edge', channel: 'edge', module: 'tcp', range: '^1', mode: 'enforce' } as const;
  // Two loads a second: a replica stops before all of them were requested.
  const created = await kept.post('/v1/assignments', { ...assignment, devicesPerMinute: 120 });
  expect(created.status).toBe(201);
  await until('some devices have the version', async () => (await versions('1.0.0')) > 0);
  await stopped.stop();
  expect(await versions('1.0.0')).toBeLessThan(devices);
  await until('all devices have the version', async () => (await versions('1.0.0')) === devices);
  const satisfied = async (replica: TestService) => {
    const text = String((await replica.request('GET', '/metrics')).body['text']);
    return text.includes(`patchbay_desired_state_devices{mode="enforce",state="satisfied"} ${devices}`);
  };
  const remaining = [kept, other];
  await until('a replica reports that all are satisfied', async () => (await Promise.all(remaining.map(satisfied))).includes(true));

  // Two promotions of the same version at the same time start one rollout, which the last replica completes.
  const waves = [{ devices: 1 }, { upToPercent: 100 }];
  const { headers } = await kept.get('/v1/assignments/edge');
  const etag = { 'if-match': headers.get('etag') ?? '' };
  expect((await kept.put('/v1/assignments/edge', { ...assignment, waves, soakSeconds: 0 }, etag)).status).toBe(200);
  const promoted = await Promise.all(
    remaining.map((replica) => replica.post('/v1/channels/edge/promotions', { module: 'tcp', version: '1.1.0' })),
  );
  expect(promoted.map(({ status }) => status)).toEqual([201, 201]);
  const rollouts = promoted.flatMap(({ body }) => body.assignments?.map(({ rollout }) => rollout) ?? []);
  expect(rollouts.filter((rollout) => rollout !== null)).toHaveLength(1);
  await other.stop();

  await until('all devices have the new version', async () => (await versions('1.1.0')) === devices);
  for (const device of ids) {
    const loads = itemsOf(await kept.get(`/v1/loads?device=${device}&limit=200&order=asc`));
    expect(loads.map(({ version, outcome }) => `${version} ${outcome}`)).toEqual([
      '1.0.0 installed',
      expect.stringMatching(/^1\.1\.0 replaced/),
    ]);
  }
});
