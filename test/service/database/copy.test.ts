// Copying an installation from SQLite to PostgreSQL.

import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type CopyProgress, copyDatabase } from '../../../src/service/database/copy.ts';
import { createPostgresql, kind, runSql } from '../../databases.ts';
import { bearer, itemsOf, TestService, until, workModule } from '../test-service.ts';

let service: TestService;
let file: string;
let target: string;

const lists = ['devices', 'loads', 'hosts', 'modules', 'keys', 'rollouts', 'patch-sets', 'signing-keys', 'audit', 'signature-policies'];
/** Reads all lists of the service. */
async function notified(): Promise<Record<string, unknown>> {
  const paths = [...lists.map((list) => `/v1/${list}?order=asc&limit=200`), ...(await devicePaths())];
  const responses = await Promise.all(paths.map(async (path) => [path, withoutUses((await service.get(path)).body)] as const));
  return Object.fromEntries(responses);
}

/** Removes the time of the last use of keys, which differs. */
function withoutUses(body: unknown): unknown {
  return JSON.parse(JSON.stringify(body, (name, value: unknown) => (name === 'lastUsedAt' ? null : value)));
}

async function devicePaths(): Promise<string[]> {
  const ids = itemsOf(await service.get('/v1/devices?limit=200')).map(({ id }) => id);
  return ids.flatMap((id) => [`/v1/devices/${id}/history`, `/v1/devices/${id}/programs`]);
}

async function exported(): Promise<string> {
  return (await fetch(`${service.url}/v1/audit/export`, { headers: bearer(service.key) })).text();
}

// Uses both databases; runs in the project of the target.
describe.runIf(kind === 'postgresql')('copying an installation', () => {
  beforeEach(async () => {
    service = new TestService();
    file = join(service.folder, 'patchbay.db');
    service.database = file;
    target = await createPostgresql();
    await service.start();
    const stopHost = service.startHost('host', 3, { zone: 'north' });
    const devices = await service.connectedDevices(3);
    for (const minor of [0, 1, 2]) await service.push('tcp', `1.${minor}.0`, workModule(minor));
    await service.push('udp', '1.0.0', workModule(3));
    const builds = ['tcp', 'udp'].map((module) => ({ module, version: '1.0.0' }));
    await service.post('/v1/patch-sets', { name: 'net', version: '1.0.0', builds });
    await service.load('tcp', '1.0.0', devices);
    await service.post(`/v1/devices/${devices[0]}/programs`, {
      name: 'caller',
      module: 'tcp',
      export: 'work',
      arguments: [5],
      threads: 1,
      calls: 3,
    });
    await service.load('tcp', '1.1.0', devices);
    await service.post('/v1/rollouts', {
      module: 'tcp',
      version: '1.2.0',
      labels: { zone: 'north' },
      waves: [{ upToPercent: 100, soakSeconds: 0 }],
    });
    await until('the rollout is completed', async () => itemsOf(await service.get('/v1/rollouts'))[0]?.state === 'completed');
    await service.post('/v1/audit/checkpoints', undefined);
    await stopHost();
    await service.stop();
  });
  afterEach(() => service.close());

  test('preserves all data, and the service continues on PostgreSQL', async () => {
    await service.start();
    const [before, trail] = [await notified(), await exported()];
    await service.stop();
    const progress: CopyProgress[] = [];
    await copyDatabase(file, target, (one) => progress.push(one));
    expect(progress.at(-1)).toMatchObject({ kind: 'chain' });
    service.database = target;
    await service.start();
    const after = await notified();
    for (const [path, body] of Object.entries(before))
      if (!path.includes('/audit') && !path.includes('signing')) expect(after[path], path).toEqual(body);
    // The service creates a checkpoint when it closes, which is not an audit event.
    const eventsOf = (text: string): unknown[] =>
      text
        .split('\n')
        .slice(1, 20)
        .map((line) => JSON.parse(line));
    expect(eventsOf(await exported())).toEqual(eventsOf(trail));
    expect((await service.post('/v1/audit/checkpoints', undefined)).status).toBeLessThan(300);

    service.startHost('host', 3, { zone: 'north' });
    const devices = await service.connectedDevices(3);
    await service.push('tcp', '1.3.0', workModule(3));
    expect(await service.load('tcp', '1.3.0', devices)).toMatchObject(Array(3).fill({ outcome: 'replaced' }));
  });

  test('resumes after an interruption at any table', async () => {
    const tables: string[] = [];
    const stopAt = (name: string) => (progress: CopyProgress) => {
      if (progress.kind !== 'table') return;
      tables.push(progress.table);
      if (progress.table === name) throw new Error(`interrupted at ${name}`);
    };
    for (const name of ['Device', 'AuditEvent', 'RolloutWave'])
      await expect(copyDatabase(file, target, stopAt(name))).rejects.toThrow('interrupted');
    await runSql(target, `DELETE FROM "AuditEvent" WHERE "number" > 5`);
    const had: number[] = [];
    await copyDatabase(file, target, (progress) => progress.kind === 'table' && progress.table === 'AuditEvent' && had.push(progress.had));
    expect(had).toEqual([5]);
    // Existing data is not overwritten.
    await expect(copyDatabase(file, target, () => {})).rejects.toThrow(/the target is not empty/);
  });

  test('is rejected while a service has the file open, and if the audit trail was altered', async () => {
    await service.start();
    await expect(copyDatabase(file, target, () => {})).rejects.toThrow(/is in use by process/);
    await service.stop();
    await runSql(file, `UPDATE "AuditEvent" SET "actor" = 'intruder' WHERE "number" = 7`);
    await expect(copyDatabase(file, target, () => {})).rejects.toThrow(/event 7 of the audit trail has been altered/);
  });
});
