// A database that is temporarily unavailable: the background work of the service resumes by itself, loses nothing and does nothing twice.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';
import { type Client, type Schemas, unwrapAccepted, unwrapResponse } from '../../src/client/client.ts';
import { verifyExport } from '../../src/proof/audit-export.ts';
import { readPublicKey } from '../../src/proof/ed25519.ts';
import { applyMigrations } from '../../src/service/database/postgresql/migrations.ts';
import { alterPostgresql, createPostgresql, endConnections } from '../databases.ts';
import { bearer, until, workModule } from '../service/test-service.ts';
import { retryingClient } from './retrying-client.ts';

let folder: string;
const children: PatchbayProcess[] = [];
const lockers: ChildProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-faults-'));
});
afterEach(async () => {
  for (const locker of lockers.splice(0)) await kill(locker);
  await Promise.all(children.splice(0).map((child) => child.stop('SIGKILL')));
  rmSync(folder, { recursive: true, force: true });
});

async function kill(locker: ChildProcess): Promise<void> {
  if (locker.exitCode !== null || locker.signalCode !== null) return;
  const exited = once(locker, 'exit');
  locker.kill('SIGKILL');
  await exited;
}

type Fault = { readonly begin: (database: string) => Promise<void>; readonly end: (database: string) => Promise<void> };

/** Another process holds the write lock of the file longer than the service waits. */
const lockedFile: Fault = {
  begin: async (database) => {
    const program = `
      import Database from ${JSON.stringify(import.meta.resolve('better-sqlite3'))};
      const database = new Database(process.argv[1], { timeout: 60_000 });
      database.exec('BEGIN IMMEDIATE');
      console.log('locked');
      setInterval(() => {}, 1_000);`;
    const locker = spawn(process.execPath, ['--input-type=module', '--eval', program, database], { stdio: ['ignore', 'pipe', 'inherit'] });
    lockers.push(locker);
    await once(locker.stdout, 'data');
  },
  end: async () => {
    for (const locker of lockers.splice(0)) await kill(locker);
  },
};

/** Ends every session and rejects new ones, as during a server restart. */
const lostServer: Fault = {
  begin: async (database) => {
    await alterPostgresql(database, 'ALLOW_CONNECTIONS false');
    await endConnections(database);
  },
  end: (database) => alterPostgresql(database, 'ALLOW_CONNECTIONS true'),
};

function start(name: string, ...args: string[]): PatchbayProcess {
  const child = new PatchbayProcess(name, args);
  children.push(child);
  return child;
}

const keyFile = () => join(folder, 'admin-key');

async function startService(database: string): Promise<string> {
  const files = ['--admin-key-file', keyFile(), '--signing-keys', join(folder, 'keys'), '--token-file', join(folder, 'token')];
  // A killed host counts as connected, so that its load expires instead of being refused.
  const settings = ['--port', '0', '--embedded-devices', '2', '--unreachable-after', '3600'];
  const service = start('the service', 'serve', '--database', database, ...settings, ...files);
  return (await service.waitForLine(/API +(http:\S+)\/v1$/, 120_000))[1] ?? '';
}

async function connectedDevices(client: Client, count: number): Promise<Schemas['Device'][]> {
  return until(`${count} devices are connected`, async () => {
    const { items } = unwrapResponse(await client.GET('/v1/devices', { params: { query: { status: 'connected' } } }));
    return items.length === count && items;
  });
}

async function* linesOf(url: string): AsyncGenerator<string> {
  yield* (await (await fetch(`${url}/v1/audit/export`, { headers: bearer(readFileSync(keyFile(), 'utf8').trim()) })).text()).split('\n');
}

/** Returns the number of audit events of an action by object. */
async function eventsOf(client: Client, action: 'load.requested' | 'load.completed'): Promise<Map<string, number>> {
  const { items } = unwrapResponse(await client.GET('/v1/audit', { params: { query: { action, limit: 200 } } }));
  return new Map([...Map.groupBy(items, ({ object }) => object)].map(([object, events]) => [object, events.length]));
}

test.each([
  ['a SQLite file with a long lock of another process', 'sqlite', lockedFile],
  ['a PostgreSQL server that ends all sessions and rejects new ones', 'postgresql', lostServer],
] as const)(
  '%s: deadlines, rollouts, checkpoints and the audit trail resume without a restart',
  { timeout: 400_000 },
  async (_what, kind, fault) => {
    const database = kind === 'sqlite' ? join(folder, 'patchbay.db') : await createPostgresql();
    if (kind === 'postgresql') await applyMigrations(database);
    const url = await startService(database);
    const client = retryingClient(url, keyFile());
    const build = { version: '1.0.0', language: 'wat', source: workModule(1) } as const;
    unwrapResponse(await client.POST('/v1/modules/{module}/builds', { params: { path: { module: 'tcp' } }, body: build }));
    const host = start('the host', 'host', '--control', url, '--name', 'lost', '--devices', '1', '--token-file', join(folder, 'token'));
    const devices = await connectedDevices(client, 3);
    await host.stop('SIGKILL');
    const [lost] = devices.filter(({ name }) => name === 'lost-1').map(({ id }) => id);
    const others = devices.filter(({ name }) => name !== 'lost-1').map(({ id }) => id);
    if (lost === undefined) throw new Error('the device of the killed host is missing');
    const requested = unwrapAccepted(
      await client.POST('/v1/loads', { body: { module: 'tcp', version: '1.0.0', devices: [lost], deadlineSeconds: 12 } }),
    );
    const waves = [
      { devices: 1, soakSeconds: 5 },
      { upToPercent: 100, soakSeconds: 0 },
    ];
    const rollout = unwrapResponse(
      await client.POST('/v1/rollouts', { body: { module: 'tcp', version: '1.0.0', devices: others, waves } }),
    );
    if (!('id' in rollout)) throw new Error('a dry run is not a rollout');
    await until('the first wave is loaded', async () => {
      const { items } = unwrapResponse(await client.GET('/v1/loads', { params: { query: { state: 'completed' } } }));
      return items.some((load) => load.rollout === rollout.id);
    });

    await fault.begin(database);
    // The deadline and the soak time pass during the fault. fetch does not retry, as the client would.
    const headers = {
      ...bearer(readFileSync(keyFile(), 'utf8').trim()),
      'content-type': 'application/json',
      'idempotency-key': crypto.randomUUID(),
    };
    const body = JSON.stringify({ name: 'during-the-fault', role: 'viewer' });
    const createKey = () => fetch(`${url}/v1/keys`, { method: 'POST', headers, body });
    await until('a request returns 503 because the database is unavailable', async () => {
      const response = await createKey();
      return response.status === 503 && (await response.text()).includes('database-unavailable');
    });
    await fault.end(database);

    const readLoads = async () => unwrapResponse(await client.GET('/v1/loads', { params: { query: { limit: 200 } } })).items;
    await until('the load expires', async () =>
      (await readLoads()).some(({ batch, outcome }) => batch === requested.batch && outcome === 'expired'),
    );
    const readRollout = async () =>
      unwrapResponse(await client.GET('/v1/rollouts/{rollout}', { params: { path: { rollout: rollout.id } } }));
    await until('the rollout completes', async () => (await readRollout()).state === 'completed');
    const loads = await readLoads();
    expect(loads.map(({ device, outcome }) => [device, outcome]).toSorted()).toEqual(
      [[lost, 'expired'], ...others.map((device) => [device, 'installed'])].toSorted(),
    );
    const onceEach = new Map(loads.map(({ id }) => [id, 1]));
    expect(await eventsOf(client, 'load.requested')).toEqual(new Map(loads.map(({ batch }) => [batch, 1])));
    expect(await eventsOf(client, 'load.completed')).toEqual(onceEach);

    // The rejected request is accepted now, and takes effect once.
    await until('the request is accepted', async () => (await createKey()).status === 201);
    expect((await createKey()).status).toBe(201);
    const { items: keys } = unwrapResponse(await client.GET('/v1/keys'));
    expect(keys.filter(({ name }) => name === 'during-the-fault')).toHaveLength(1);

    const [newest] = unwrapResponse(await client.GET('/v1/audit', { params: { query: { limit: 1 } } })).items;
    const checkpoint = await until('a checkpoint covers the newest event', async () => {
      const [last] = unwrapResponse(await client.GET('/v1/audit/checkpoints', { params: { query: { limit: 1 } } })).items;
      return last !== undefined && last.size >= (newest?.number ?? 0) && last;
    });
    const trusted = unwrapResponse(await client.GET('/v1/signing-keys')).items.map(({ publicKey }) => readPublicKey(publicKey));
    const request = { checkpoints: [checkpoint.note], keys: trusted.flatMap((key) => key ?? []), isPartial: false };
    expect(await verifyExport(linesOf(url), request)).toMatchObject({ kind: 'intact', first: 1 });
  },
);
