// Logging of audit events: only after the commit, never after a rollback, and summarized if there are many.

import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HostRegistration } from '../../../src/protocol/agent.ts';
import { ModuleName } from '../../../src/protocol/identifiers.ts';
import { DamagedItem } from '../../../src/service/database/damaged-rows.ts';
import { Installation, type InstallationSettings } from '../../../src/service/installation.ts';
import { newDatabase } from '../../databases.ts';
import { defaultSettings } from '../../default-settings.ts';
import { LogLines } from '../../log-lines.ts';

const settings: InstallationSettings = {
  joinToken: 'not used',
  unreachableAfter: 60_000,
  adminKey: null,
  ...defaultSettings(),
};
const requester = { actor: 'key_1', requestId: 'req_1' };

let folder: string;
let database: string;
let log: LogLines;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-event-log-'));
  database = await newDatabase(folder);
  log = new LogLines();
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const open = (more: Partial<InstallationSettings> = {}) => Installation.open(database, { ...settings, ...more }, pino({}, log));

test('logs an event after its commit, not before', async () => {
  const installation = await open();
  const idempotentRequest = { actor: 'key_1', key: 'k', route: 'POST /builds', body: '{}', sealedBy: null };
  let whileItRan: unknown[] | null = null;
  const responseOf = () => {
    whileItRan = log.with({ action: 'build.created' });
    return { status: 201, contentType: null, location: null, body: '' };
  };
  const source = { module: ModuleName.parse('tcp'), version: '1.0.0', language: 'wat', source: '(module (func (export "f")))' } as const;
  const { build } = await installation.builds.push(source, { ...requester, idempotentRequest }, responseOf);
  expect(whileItRan).toEqual([]);
  expect(log.with({ action: 'build.created' })).toMatchObject([
    { level: 30, object: build.id, actor: 'key_1', request: 'req_1', detail: { module: 'tcp', version: '1.0.0' }, msg: 'build.created' },
  ]);
  await installation.close();
});

test('does not log events of a rolled back transaction', async () => {
  const keep = () => {
    throw new Error('the disk is full');
  };
  await expect(open({ adminKey: { when: 'always', keep } })).rejects.toThrow('the disk is full');
  const installation = await open({ adminKey: { when: 'always', keep: () => {} } });
  expect(log.with({ action: 'key.created' })).toHaveLength(1);
  await installation.close();
});

test('logs the first events of a large transaction and summarizes the others', async () => {
  const installation = await open();
  const devices = Array.from({ length: 2_000 }, (_, index) => ({ name: `d${index}`, labels: {}, ramPages: 64 }));
  await installation.agents.register(
    HostRegistration.parse({ name: 'rack', bootId: randomUUID(), capacity: 2_000, devices }),
    null,
    requester,
  );
  const lines = log.with({ request: 'req_1' });
  expect(lines).toHaveLength(21);
  expect(lines[0]).toMatchObject({ action: 'host.registered' });
  expect(lines.at(-1)).toMatchObject({ action: 'device.created', events: 1_981, actor: 'key_1', msg: 'device.created, 1981 more' });
  await installation.close();
});

test('logs the events of each request of a batch', async () => {
  const installation = await open();
  const devices = Array.from({ length: 30 }, (_, index) => ({ name: `d${index}`, labels: {}, ramPages: 64 }));
  await installation.agents.register(
    HostRegistration.parse({ name: 'rack', bootId: randomUUID(), capacity: 30, devices }),
    null,
    requester,
  );
  const source = { module: ModuleName.parse('tcp'), version: '1.0.0', language: 'wat', source: '(module (func (export "f")))' } as const;
  await installation.builds.push(source, requester, () => ({ status: 201, contentType: null, location: null, body: '' }));
  const page = await installation.devices.list({}, { sort: 'name', order: 'asc', limit: 30, after: null });
  const items = page.items.flatMap((item) => (item instanceof DamagedItem ? [] : item));
  const terms = {
    strategy: 'inject',
    invalidation: 'nx',
    drainMilliseconds: null,
    versionPolicy: 'newer',
    similarityPolicy: 'require',
    linkPolicy: 'require',
  } as const;
  const request = {
    ...terms,
    downgradeReason: null,
    deadlineSeconds: 600,
    supersede: false,
    overrideMaintenanceWindow: null,
    module: source.module,
    version: '1.0.0',
  };
  await Promise.all(
    items.map(({ device: { id } }) => {
      return installation.loads.request(
        { ...request, selector: { devices: [id] } },
        { actor: 'key_1', requestId: `req_${id}` },
        ({ batch }) => {
          return { status: 202, contentType: null, location: null, body: batch };
        },
      );
    }),
  );
  const logged = items.map(({ device: { id } }) => log.with({ action: 'load.requested', request: `req_${id}` }));
  expect(logged.map((lines) => lines.length)).toEqual(items.map(() => 1));
  await installation.close();
});
