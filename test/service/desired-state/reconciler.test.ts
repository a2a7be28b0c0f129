// Passes of the reconciler, one at a time, on the database of a service that has stopped.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemTime } from '../../../src/service/clock/service-clock.ts';
import { TimeKeeper } from '../../../src/service/clock/time-keeper.ts';
import { Store } from '../../../src/service/database/store.ts';
import { devicesByState, ExaminationRecords } from '../../../src/service/desired-state/examination.ts';
import { Reconciler } from '../../../src/service/desired-state/reconciler.ts';
import { runSql, timeInSql } from '../../databases.ts';
import { firstOf, TestService, until, workModule } from '../test-service.ts';

const service = new TestService();
beforeAll(async () => {
  await service.start();
});
afterAll(() => service.close());

test('devices for which an assignment no longer decides do not delay the loads of others', async () => {
  const stopHost = service.startHost('edge', 1, { zone: 'edge' });
  const [device = ''] = await service.connectedDevices(1);
  await service.push('tcp', '1.0.0', workModule(1));
  await service.post('/v1/groups', { name: 'edge', selector: 'zone=edge' });
  await service.post('/v1/channels', { name: 'edge' });
  await service.post('/v1/channels/edge/promotions', { module: 'tcp', version: '1.0.0' });
  const assignment = { name: 'edge', group: 'edge', channel: 'edge', module: 'tcp', range: '^1', devicesPerMinute: 1 };
  const { body } = await service.post('/v1/assignments', assignment);
  await until('the device was examined', async () =>
    (await service.get('/v1/assignments/edge')).body.unmet?.some(({ reason }) => reason === 'report-only'),
  );
  const { host } = firstOf(await service.get('/v1/devices'));
  const { database } = service;
  await service.stop();
  await stopHost();

  // Decommissioned devices, whose turn comes before that of the device. The last one had waited for a load.
  const time = timeInSql(Date.now());
  await runSql(
    database,
    `INSERT INTO "Device" ("id", "name", "hostId", "ramPages", "createdAt", "decommissionedAt", "labelsByOperator")
     WITH RECURSIVE "n"("i") AS (SELECT 10000 UNION ALL SELECT "i" + 1 FROM "n" WHERE "i" < 11999)
     SELECT 'dev_00' || "i", 'gone-' || "i", '${host}', 64, ${time}, ${time}, FALSE FROM "n"`,
  );
  await runSql(database, `UPDATE "Assignment" SET "mode" = 'enforce'`);
  await runSql(database, `UPDATE "DesiredState" SET "state" = 'pending', "reason" = 'waiting'`);
  await runSql(
    database,
    `INSERT INTO "DesiredState" ("deviceId", "assignmentId", "version", "state", "reason", "attempts")
     VALUES ('dev_0011999', '${body.id}', '1.0.0', 'pending', 'waiting', 0)`,
  );
  const store = await Store.open(database, { isExclusive: false });
  const timeKeeper = await TimeKeeper.start(store, systemTime);
  const reconciler = new Reconciler({ store, clock: timeKeeper.clock, onLoadsEnded: async () => {} });
  await reconciler.stop();
  try {
    // At one load a minute, each pass takes the first device that waits.
    await reconciler.pass();
    await reconciler.pass();
    expect(reconciler.faults).toEqual([]);
    expect(await runSql(database, `SELECT "deviceId" FROM "Load"`)).toEqual([{ deviceId: device }]);
    expect(await runSql(database, `SELECT "deviceId", "reason" FROM "DesiredState"`)).toEqual([{ deviceId: device, reason: 'loading' }]);

    // Replicas take turns: another one continues the examination, after 1,000 of 2,001 devices.
    const other = new Reconciler({ store, clock: timeKeeper.clock, onLoadsEnded: async () => {} });
    await other.stop();
    const examination = () => new ExaminationRecords(store.readConnection).find();
    expect(await examination()).toMatchObject({ position: 'dev_0010999' });
    await other.pass();
    await reconciler.pass();
    await other.pass();
    expect(await examination()).toMatchObject({ position: '', counts: {}, lastCounts: { 'enforce pending': 1 } });

    // A damaged row costs one examination.
    await runSql(database, `UPDATE "FleetExamination" SET "counts" = '{"enforce pending":-1}'`);
    for (let part = 0; part < 5; part += 1) await reconciler.pass();
    expect(devicesByState(await examination())).toContainEqual({ mode: 'enforce', state: 'pending', devices: 1 });
  } finally {
    await timeKeeper.stop();
    await store.close();
  }
});
