// Groups of devices are brought to the versions that channels have: by rollouts, and at a rate when devices join, return or drift.

import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { runSql, timeInSql } from '../../databases.ts';
import { Publisher } from '../publishing.ts';
import { itemsOf, TestService, until, workModule } from '../test-service.ts';

const service = new TestService();
type Promoted = Pick<Schemas['PromotionResult'], 'id' | 'assignments'>;
const problem = (type: string) => `urn:patchbay:problem:${type}`;

beforeAll(async () => {
  await service.start();
  for (const module of ['tcp', 'udp'])
    for (const [index, version] of ['1.0.0', '1.1.0', '1.2.0', '1.3.0-rc.1', '2.0.0'].entries())
      await service.push(module, version, workModule(index + 1));
});
afterAll(() => service.close());

/** Creates what a test needs: a group of the devices with a label, a channel, and versions that are promoted to it. */
async function prepare(name: string, versions: readonly string[], module = 'tcp'): Promise<void> {
  expect((await service.post('/v1/groups', { name, selector: `zone=${name}` })).status).toBe(201);
  expect((await service.post('/v1/channels', { name })).status).toBe(201);
  for (const version of versions) await promote(name, version, module);
}

async function promote(channel: string, version: string, module = 'tcp'): Promise<Promoted> {
  const promoted = await service.post(`/v1/channels/${channel}/promotions`, { module, version });
  expect(promoted).toMatchObject({ status: 201, body: { module, version } });
  return { id: promoted.body.id ?? '', assignments: promoted.body.assignments ?? [] };
}

async function assign(name: string, changes: Partial<Schemas['NewAssignment']> = {}) {
  const waves = [{ devices: 1 }, { upToPercent: 100 }];
  const body = {
    name,
    group: name,
    channel: name,
    module: 'tcp',
    range: '^1',
    mode: 'enforce',
    waves,
    soakSeconds: 0,
    ...changes,
  } as const;
  const created = await service.post('/v1/assignments', { devicesPerMinute: 6_000, ...body });
  expect(created).toMatchObject({ status: 201, body: { name } });
  return created.body;
}

const devicesIn = async (zone: string) => itemsOf(await service.get(`/v1/devices?limit=200&sort=name&order=asc&label=zone%3D${zone}`));
const versionsIn = async (zone: string, module = 'tcp') => (await devicesIn(zone)).map(({ modules }) => modules[module] ?? null);
const allHave = (zone: string, count: number, version: string) =>
  until(`${count} devices of ${zone} have ${version}`, async () => {
    const versions = await versionsIn(zone);
    return versions.length === count && versions.every((found) => found === version);
  });
const statusOf = async (assignment: string) => {
  const { desiredVersion, held, unmet = [], deviceCounts } = (await service.get(`/v1/assignments/${assignment}`)).body;
  return { desiredVersion, held, unmet, satisfied: deviceCounts?.satisfied };
};
const settled = (assignment: string, satisfied: number, unmet: readonly string[] = []) =>
  until(`${assignment} has ${satisfied} satisfied devices, and ${unmet.join()}`, async () => {
    const found = await statusOf(assignment);
    const texts = found.unmet.map(({ state, reason, devices }) => `${state} ${reason} ${devices}`);
    return found.satisfied === satisfied && texts.join() === unmet.join();
  });
const loadsOf = async (device: string) => itemsOf(await service.get(`/v1/loads?device=${device}&limit=200&order=asc`));
const reasons = async () => (await service.get('/v1/health')).body.reasons ?? [];
/** Waits until the reconciler has made a pass. */
async function passes(): Promise<void> {
  // Each pass corrects the states of the devices that do not wait for a retry.
  await runSql(service.database, `UPDATE "DesiredState" SET "detail" = 'changed' WHERE "attempts" = 0 AND "nextAttemptAt" IS NULL`);
  await until('every device was examined again', async () => {
    const [row] = await runSql(service.database, `SELECT COUNT(*) AS "count" FROM "DesiredState" WHERE "detail" = 'changed'`);
    return Number(row?.['count']) === 0;
  });
}

test('a promotion rolls out to the group; devices that join and drift are brought to it, and a withdrawn version is not taken away', async () => {
  service.startHost('edge-a', 3, { zone: 'edge' });
  await until('three devices', async () => (await devicesIn('edge')).filter(({ status }) => status === 'connected').length === 3);
  await prepare('edge', ['1.0.0']);
  const assignment = await assign('edge');
  expect(assignment).toMatchObject({ module: 'tcp', patchSet: null, groupName: 'edge', channelName: 'edge', mode: 'enforce' });
  await allHave('edge', 3, '1.0.0');
  await settled('edge', 3);

  const promotion = await promote('edge', '1.1.0');
  const [promoted] = promotion.assignments;
  expect(promoted).toEqual({ id: assignment.id, name: 'edge', rollout: expect.stringMatching(/^rol_/), reason: null });
  const rollout = (await service.get(`/v1/rollouts/${promoted?.rollout}`)).body;
  expect(rollout).toMatchObject({ name: 'edge', selector: { devices: 3, group: { name: 'edge' } }, onConflict: 'queue' });
  expect(rollout.waves?.map(({ devices }) => devices)).toEqual([1, 2]);
  await allHave('edge', 3, '1.1.0');
  await settled('edge', 3);
  const { body: channel } = await service.get('/v1/channels/edge');
  expect(channel.promotions?.map(({ version }) => version)).toEqual(['1.1.0', '1.0.0']);

  // A device joins, and another gets an older version by hand.
  service.startHost('edge-b', 1, { zone: 'edge' });
  await allHave('edge', 4, '1.1.0');
  const [first] = await devicesIn('edge');
  const id = first?.id ?? '';
  await service.load('tcp', '1.0.0', [id], { versionPolicy: 'downgrade', downgradeReason: 'a test' });
  await until(
    'the device is brought back',
    async () => (await loadsOf(id)).length === 4 && (await versionsIn('edge')).every((one) => one === '1.1.0'),
  );
  const last = (await loadsOf(id)).at(-1);
  expect(last).toMatchObject({ version: '1.1.0', requestedBy: assignment.id, rollout: null });

  // The version is out of the range of a pre-release, and of another major version.
  expect((await promote('edge', '2.0.0')).assignments).toEqual([]);
  expect((await promote('edge', '1.3.0-rc.1')).assignments).toEqual([]);
  expect((await statusOf('edge')).desiredVersion).toBe('1.1.0');

  const location = `/v1/channels/edge/promotions/${promotion.id}`;
  expect((await service.get(location)).body).toMatchObject({ version: '1.1.0' });
  expect((await service.request('DELETE', location)).status).toBe(204);
  await settled('edge', 0, ['unsatisfied newer-installed 4']);
  expect(await versionsIn('edge')).toEqual(Array.from({ length: 4 }, () => '1.1.0'));
  expect(await reasons()).toContainEqual(
    expect.stringMatching(
      /^the assignment edge of tcp is not satisfied on 4 devices: edge-\S+ \(newer-installed: the device has tcp 1\.1\.0\), /,
    ),
  );
  const events = itemsOf(await service.get(`/v1/audit?object=${channel.id}&order=asc`)).map(({ action }) => action);
  expect(events).toEqual(['channel.created', ...Array.from({ length: 4 }, () => 'channel.promoted'), 'channel.withdrawn']);
});

test('an aborted rollout keeps its version from other devices until it is promoted again', async () => {
  service.startHost('stopped', 2, { zone: 'stopped' });
  await until('two devices', async () => (await devicesIn('stopped')).filter(({ status }) => status === 'connected').length === 2);
  await prepare('stopped', ['1.0.0']);
  await assign('stopped', { waves: [{ devices: 1, approval: true }, { upToPercent: 100 }] });
  await allHave('stopped', 2, '1.0.0');
  const rolloutOf = ({ assignments }: Promoted) => assignments[0]?.rollout ?? '';
  const rollout = rolloutOf(await promote('stopped', '1.1.0'));
  await settled('stopped', 2);
  // Promoted again while it is in progress, and an older version.
  expect((await promote('stopped', '1.1.0')).assignments).toMatchObject([
    { rollout: null, reason: `the rollout ${rollout} of the version is open` },
  ]);
  expect(await statusOf('stopped')).toMatchObject({ desiredVersion: '1.0.0', held: [{ version: '1.1.0', rollout, state: 'open' }] });
  // A device that joins meanwhile gets the version that has reached all others.
  service.startHost('stopped-b', 1, { zone: 'stopped' });
  await allHave('stopped', 3, '1.0.0');
  expect((await service.post(`/v1/rollouts/${rollout}/abort`, {})).status).toBe(200);
  await until('health names the rollout', async () =>
    (await reasons()).includes(
      `the rollout ${rollout} of tcp@1.1.0 for the assignment stopped was stopped: promote the version again, or withdraw it`,
    ),
  );
  await settled('stopped', 3);
  expect(await versionsIn('stopped')).toEqual(['1.0.0', '1.0.0', '1.0.0']);
  const again = rolloutOf(await promote('stopped', '1.1.0'));
  expect((await service.get(`/v1/rollouts/${again}`)).body.deviceCounts).toMatchObject({ waiting: 3 });
  await service.post(`/v1/rollouts/${again}/approve`, { wave: 1 });
  await until('the wave is approved', async () => {
    await service.post(`/v1/rollouts/${again}/approve`, { wave: 1 });
    return (await service.get(`/v1/rollouts/${again}`)).body.state === 'completed';
  });
  await allHave('stopped', 3, '1.1.0');
  await settled('stopped', 3);
  // A promotion of an older version downgrades no device.
  expect((await promote('stopped', '1.0.0')).assignments).toMatchObject([
    { rollout: null, reason: 'the channel has the newer version 1.1.0' },
  ]);
  await passes();
  await settled('stopped', 3);
  expect(await versionsIn('stopped')).toEqual(['1.1.0', '1.1.0', '1.1.0']);
});

test('the assignment with the highest priority decides; reports request no load', async () => {
  service.startHost('overlap', 2, { zone: 'overlap' });
  await until('two devices', async () => (await devicesIn('overlap')).filter(({ status }) => status === 'connected').length === 2);
  const [first] = await devicesIn('overlap');
  const id = first?.id ?? '';
  await prepare('overlap', ['1.0.0', '1.1.0']);
  const report = await assign('overlap', { mode: 'report', priority: 5 });
  const below = await assign('overlap-below', { group: 'overlap', channel: 'overlap', range: '1.0.x' });
  await settled('overlap', 0, ['unsatisfied report-only 2']);
  await settled('overlap-below', 0);
  await passes();
  expect(await loadsOf(id)).toEqual([]);
  expect((await service.get(`/v1/devices/${id}/desired-state`)).body).toMatchObject({
    versions: [
      {
        assignment: report.id,
        mode: 'report',
        desiredVersion: '1.1.0',
        installedVersion: null,
        state: 'unsatisfied',
        reason: 'report-only',
      },
    ],
    overridden: [{ assignment: below.id, by: report.id, byName: 'overlap' }],
  });
  expect((await reasons()).filter((text) => text.includes('overlap'))).toEqual([]);

  // Off: the other one decides. Neither a promotion to the one that is off, nor one of a version outside the range, starts a rollout.
  const { status } = await replaceMode('overlap', 'off');
  expect(status).toBe(200);
  await allHave('overlap', 2, '1.0.0');
  expect((await promote('overlap', '1.2.0')).assignments).toEqual([]);
  await settled('overlap', 0);
  // A promotion to an overridden assignment reaches no device.
  await replaceMode('overlap', 'report');
  await service.push('tcp', '1.0.1', workModule(9));
  expect((await promote('overlap', '1.0.1')).assignments.find(({ id: own }) => own === below.id)).toMatchObject({
    rollout: null,
    reason: 'no connected device of the group needs the version',
  });
  expect(await versionsIn('overlap')).toEqual(['1.0.0', '1.0.0']);
});

async function replaceMode(name: string, mode: 'off' | 'report' | 'enforce') {
  const { headers, body } = await service.get(`/v1/assignments/${name}`);
  const { group, channel, module, range, priority, devicesPerMinute } = body;
  const replaced = { name, group, channel, module, range, mode, priority, devicesPerMinute, soakSeconds: 0 };
  return service.request('PUT', `/v1/assignments/${name}`, replaced, { 'if-match': headers.get('etag') ?? '' });
}

test('a device that refuses the version is reported with the reason, and is retried after its back-off', async () => {
  service.startHost('refusing', 2, { zone: 'refusing' });
  await until('two devices', async () => (await devicesIn('refusing')).filter(({ status }) => status === 'connected').length === 2);
  const devices = await devicesIn('refusing');
  const id = devices[0]?.id ?? '';
  const publisher = new Publisher(service, 'release');
  await publisher.register();
  const policy = await service.post('/v1/signature-policies', { name: 'released', device: id, publisherKeys: [publisher.id] });
  expect(policy.status).toBe(201);
  await prepare('refusing', ['1.0.0']);
  const assignment = await assign('refusing');
  await settled('refusing', 1, ['unsatisfied refused-image 1']);
  await passes();
  await passes();
  const [load, ...others] = await loadsOf(id);
  expect(others).toEqual([]);
  const { unmet } = await statusOf('refusing');
  expect(unmet[0]?.first).toEqual([
    { device: id, deviceName: 'refusing-1', detail: expect.any(String), load: load?.id, attempts: 1, nextAttemptAt: expect.any(String) },
  ]);
  expect(await reasons()).toContainEqual(
    expect.stringMatching(/^the assignment refusing of tcp is not satisfied on 1 device: refusing-1 \(refused-image: .*signature/),
  );
  // The back-off grows, and the device remains unsatisfied during the attempt.
  const end = () =>
    runSql(
      service.database,
      `UPDATE "DesiredState" SET "nextAttemptAt" = ${timeInSql(Date.now())} WHERE "assignmentId" = '${assignment.id}' AND "attempts" > 0`,
    );
  await end();
  await until('the second attempt has failed', async () => (await statusOf('refusing')).unmet[0]?.first[0]?.attempts === 2);
  const attempt = (await statusOf('refusing')).unmet[0]?.first[0];
  expect(Date.parse(attempt?.nextAttemptAt ?? '') - Date.now()).toBeGreaterThan(90_000);
  expect((await service.request('DELETE', `/v1/signature-policies/${policy.body.id}`)).status).toBe(204);
  await end();
  await allHave('refusing', 2, '1.0.0');
  await settled('refusing', 2);
  expect((await service.get(`/v1/devices/${id}/desired-state`)).body.versions?.[0]).toMatchObject({
    state: 'satisfied',
    reason: null,
    attempts: 0,
  });
  expect((await loadsOf(id)).map(({ outcome }) => outcome)).toEqual(['refused-image', 'refused-image', 'installed']);
});

test('a version that an operator takes away is brought back after a delay that grows, and the device is reported meanwhile', async () => {
  service.startHost('fought', 1, { zone: 'fought' });
  await until('the device', async () => (await devicesIn('fought')).some(({ status }) => status === 'connected'));
  const [device] = await devicesIn('fought');
  const id = device?.id ?? '';
  await prepare('fought', ['1.1.0']);
  const assignment = await assign('fought');
  await allHave('fought', 1, '1.1.0');
  await settled('fought', 1);
  const takeAway = () => service.load('tcp', '1.0.0', [id], { versionPolicy: 'downgrade', downgradeReason: 'it drops packets' });
  const ownLoads = async () => (await loadsOf(id)).filter(({ requestedBy }) => requestedBy === assignment.id);
  const waitOf = (text: string | null | undefined, load: Schemas['Load'] | undefined) =>
    Date.parse(text ?? '') - Date.parse(load?.completedAt ?? '');

  await takeAway();
  await settled('fought', 0, ['unsatisfied reverted 1']);
  await passes();
  await passes();
  expect(await versionsIn('fought')).toEqual(['1.0.0']);
  const [first, ...others] = await ownLoads();
  expect(others).toEqual([]);
  const attempt = (await statusOf('fought')).unmet[0]?.first[0];
  expect(attempt).toMatchObject({ device: id, load: first?.id, attempts: 0 });
  expect(attempt?.detail).toBe('the device has tcp 1.0.0. It had the version after 1 load of the assignment in the last 24 hours');
  expect(waitOf(attempt?.nextAttemptAt, first)).toBe(60_000);
  expect(await reasons()).toContainEqual(
    expect.stringMatching(/^the assignment fought of tcp is not satisfied on 1 device: fought-1 \(reverted: /),
  );

  // The minute passes: the device gets the version again. The next delay is twice as long.
  await runSql(
    service.database,
    `UPDATE "DesiredState" SET "nextAttemptAt" = ${timeInSql(Date.now())} WHERE "assignmentId" = '${assignment.id}'`,
  );
  await allHave('fought', 1, '1.1.0');
  await settled('fought', 1);
  await takeAway();
  await settled('fought', 0, ['unsatisfied reverted 1']);
  const again = (await statusOf('fought')).unmet[0]?.first[0];
  expect(await ownLoads()).toHaveLength(2);
  expect(waitOf(again?.nextAttemptAt, (await ownLoads())[1])).toBe(120_000);

  // The delay is that of the module: another one, of the same version, is loaded at once.
  await promote('fought', '1.1.0', 'udp');
  const { headers } = await service.get('/v1/assignments/fought');
  const shared = { name: 'fought', group: 'fought', channel: 'fought', range: '^1', mode: 'enforce' } as const;
  const changed = { ...shared, module: 'udp', devicesPerMinute: 6_000 };
  expect((await service.put('/v1/assignments/fought', changed, { 'if-match': headers.get('etag') ?? '' })).status).toBe(200);
  await settled('fought', 1);
  const udp = (await ownLoads()).at(-1);
  expect(udp?.module).toBe('udp');
  expect(Date.parse(udp?.requestedAt ?? '')).toBeLessThan(Date.parse(again?.nextAttemptAt ?? ''));
  expect((await replaceMode('fought', 'off')).status).toBe(200);
});

test('devices get a patch set at the rate of the assignment, also while the service restarts, and each is loaded once', async () => {
  service.startHost('sets', 6, { zone: 'sets' });
  await until('six devices', async () => (await devicesIn('sets')).filter(({ status }) => status === 'connected').length === 6);
  const builds = [
    { module: 'tcp', version: '1.0.0' },
    { module: 'udp', version: '1.0.0' },
  ];
  expect((await service.post('/v1/patch-sets', { name: 'net', version: '1.0.0', builds })).status).toBe(201);
  await prepare('sets', []);
  const promoted = await service.post('/v1/channels/sets/promotions', { patchSet: { name: 'net', version: '1.0.0' } });
  expect(promoted).toMatchObject({ status: 201, body: { module: 'net', version: '1.0.0', patchSet: expect.stringMatching(/^pset_/) } });
  const body = {
    name: 'sets',
    group: 'sets',
    channel: 'sets',
    patchSet: 'net',
    range: '^1',
    mode: 'enforce',
    devicesPerMinute: 120,
  } as const;
  expect((await service.post('/v1/assignments', body)).status).toBe(201);
  const loaded = async () => (await versionsIn('sets')).filter((version) => version === '1.0.0').length;
  await until('the first device has the set', async () => (await loaded()) > 0);
  expect(await loaded()).toBeLessThan(4);
  await service.stop();
  await service.start();
  await allHave('sets', 6, '1.0.0');
  await settled('sets', 6);
  expect(await versionsIn('sets', 'udp')).toEqual(Array.from({ length: 6 }, () => '1.0.0'));
  for (const { id } of await devicesIn('sets')) expect((await loadsOf(id)).map(({ kind }) => kind)).toEqual(['patch-set']);
});

test('a yanked version is passed over, and a channel without a version in the range is a health reason', async () => {
  await prepare('yanked', ['1.0.0', '1.2.0'], 'udp');
  await assign('yanked', { module: 'udp' });
  expect((await statusOf('yanked')).desiredVersion).toBe('1.2.0');
  await service.post('/v1/modules/udp/builds/1.2.0/yank', { reason: 'a test' });
  expect((await statusOf('yanked')).desiredVersion).toBe('1.0.0');
  const rejected = await service.post('/v1/channels/yanked/promotions', { module: 'udp', version: '1.2.0' });
  expect(rejected).toMatchObject({ status: 409, body: { type: problem('build-yanked') } });
  await assign('yanked-3', { group: 'yanked', channel: 'yanked', module: 'udp', range: '^3' });
  expect(await reasons()).toContain('the channel yanked has no usable version of udp in ^3, which the assignment yanked-3 desires');
  expect((await statusOf('yanked-3')).unmet).toEqual([]);
});

test('groups, channels and builds in use are not deleted; changes are checked against the version that was read', async () => {
  await prepare('kept', ['1.0.0']);
  const { id } = await assign('kept', { mode: 'off' });
  const remove = (path: string, etag?: string) =>
    service.request('DELETE', path, undefined, etag === undefined ? {} : { 'if-match': etag });
  expect(await remove('/v1/groups/kept')).toMatchObject({ status: 409, body: { type: problem('group-in-use') } });
  expect(await remove('/v1/channels/kept')).toMatchObject({ status: 409, body: { type: problem('channel-in-use') } });
  await service.push('fresh', '1.0.0', workModule(1));
  await promote('kept', '1.0.0', 'fresh');
  const used = await remove('/v1/modules/fresh/builds/1.0.0');
  expect(used.body).toMatchObject({ type: problem('build-in-use'), detail: expect.stringContaining('it is promoted to the channel kept') });

  const read = await service.get(`/v1/assignments/${id}`);
  const etag = read.headers.get('etag') ?? '';
  // A new name of the group does not change the assignment.
  expect((await service.put('/v1/groups/kept', { name: 'kept-2', selector: 'zone=kept' })).status).toBe(200);
  expect(await replaceMode('kept', 'report')).toMatchObject({ status: 200, body: { mode: 'report', groupName: 'kept-2' } });
  expect(await remove(`/v1/assignments/${id}`, etag)).toMatchObject({ status: 412, body: { type: problem('precondition-failed') } });
  expect((await remove('/v1/assignments/kept')).status).toBe(204);
  expect((await remove('/v1/channels/kept')).status).toBe(204);
  expect((await service.get('/v1/channels/kept')).status).toBe(404);
});

test('rejects unknown groups, channels, versions and ranges, names in use, and what exceeds a limit', async () => {
  await prepare('limits', []);
  const body = { name: 'limits', group: 'limits', channel: 'limits', module: 'tcp', range: '^1' };
  const rejections = [
    [{ group: 'nobody' }, '/group'],
    [{ channel: 'nobody' }, '/channel'],
    [{ range: 'one' }, '/range'],
    [{ window: { days: ['monday'], from: '01:00', until: '02:00', timeZone: 'Mars' } }, '/window/timeZone'],
    [{ patchSet: 'net' }, ''],
    [{ waves: [{ devices: 1 }] }, '/waves'],
    [{ devicesPerMinute: 10_001 }, '/devicesPerMinute'],
  ] as const;
  for (const [changes, pointer] of rejections)
    expect(await service.postRaw('/v1/assignments', { ...body, ...changes })).toMatchObject({
      status: 422,
      body: { errors: [{ pointer }] },
    });
  expect((await service.post('/v1/assignments', body)).body).toMatchObject({ mode: 'report', priority: 0, devicesPerMinute: 60 });
  expect(await service.post('/v1/assignments', body)).toMatchObject({ status: 409, body: { type: problem('name-taken') } });
  expect(await service.post('/v1/channels', { name: 'limits' })).toMatchObject({ status: 409, body: { type: problem('name-taken') } });
  const unknown = await service.post('/v1/channels/limits/promotions', { module: 'tcp', version: '9.9.9' });
  expect(unknown).toMatchObject({ status: 422, body: { errors: [{ pointer: '/version' }] } });

  const { body: channel } = await service.get('/v1/channels/limits');
  const time = timeInSql(Date.now());
  for (let index = 0; index < 20; index += 1)
    await runSql(
      service.database,
      `INSERT INTO "ChannelPromotion" VALUES ('prm_${index}', '${channel.id}', 'build', 'tcp', '0.0.${index}', 'bld_x', ${time}, 'key_x')`,
    );
  const full = await service.post('/v1/channels/limits/promotions', { module: 'tcp', version: '1.0.0' });
  expect(full).toMatchObject({ status: 409, body: { type: problem('too-many-promotions') } });
  expect((await service.request('DELETE', '/v1/channels/limits/promotions/prm_0')).status).toBe(204);
  expect((await service.post('/v1/channels/limits/promotions', { module: 'tcp', version: '1.0.0' })).status).toBe(201);
  const copies = (table: string, columns: string, values: string, count: number) =>
    runSql(
      service.database,
      `INSERT INTO "${table}" (${columns}) WITH RECURSIVE "n"("i") AS (SELECT 1 UNION ALL SELECT "i" + 1 FROM "n" WHERE "i" < ${count}) SELECT ${values} FROM "n"`,
    );
  await copies('Channel', '"id", "name", "createdAt"', `'chn_' || "i", 'copy-' || "i", ${time}`, 100);
  expect(await service.post('/v1/channels', { name: 'one-more' })).toMatchObject({
    status: 409,
    body: { type: problem('too-many-channels') },
  });
  await runSql(service.database, `DELETE FROM "Channel" WHERE "name" LIKE 'copy-%'`);
  await copies(
    'Assignment',
    '"id", "name", "groupId", "channelId", "kind", "content", "range", "mode", "priority", "devicesPerMinute", "rollout", "createdAt"',
    `'asg_' || "i", 'copy-' || "i", '', '', 'build', 'tcp', '^1', 'off', 0, 1, '{}', ${time}`,
    200,
  );
  const more = await service.post('/v1/assignments', { ...body, name: 'one-more' });
  expect(more).toMatchObject({ status: 409, body: { type: problem('too-many-assignments') } });
});
