// A service whose database has devices, loads, load batches, rollouts and programs, with groups and a key with a scope.

import Database from 'better-sqlite3';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { createService } from '../../src/service/app.ts';
import { applyMigrations } from '../../src/service/database/sqlite/migrations.ts';
import { defaultLimits } from '../../src/service/http/request-limits.ts';
import { retainEverything } from '../../src/service/retention/retention.ts';
import { PrivateKeysInMemory } from '../../test/private-keys-in-memory.ts';
import { fillFleet } from './fleet-rows.ts';

/** Label selectors that are requested as text, and as a group with the same selector. */
export const selections = [
  { name: 'everything', what: 'of all devices', selector: 'fleet=main' },
  { name: 'ring', what: 'of half of the devices', selector: 'ring=stable' },
  { name: 'without', what: 'of all but a ring', selector: 'fleet=main,ring!=beta' },
  { name: 'zones', what: 'of three zones of 5 %', selector: 'zone in (1,2,3)' },
  { name: 'zone', what: 'of 5 %', selector: 'zone=1' },
  { name: 'pilot', what: 'of 500 devices', selector: 'stage=pilot' },
  { name: 'canary', what: 'of 50 devices', selector: 'stage=canary' },
  { name: 'nothing', what: 'of no device', selector: 'stage=none' },
] as const;

/** A group, or a key with its secret. */
const Created = z.object({ secret: z.string().optional() });

export class ListedFleet {
  readonly devices: number;
  readonly #app: FastifyInstance;
  readonly #url: string;
  readonly #keys = new Map<string, string>();

  /** Fills the database, starts the service, and creates the groups and the key. */
  static async start(database: string, devices: number): Promise<ListedFleet> {
    applyMigrations(database);
    const rows = new Database(database);
    fillFleet(rows, devices);
    rows.close();
    let admin = '';
    const app = await createService({
      database,
      joinToken: 'join-token-of-the-benchmark',
      unreachableAfter: 3_600_000,
      keys: 'required',
      signingKeys: { privateKeys: new PrivateKeysInMemory(), isLost: false },
      retention: retainEverything,
      adminKey: {
        when: 'first start',
        keep: (secret) => {
          admin = secret;
        },
      },
      limits: { ...defaultLimits, requestsPerMinute: 1_000_000, eventLoopDelay: 0 },
      logger: false,
    });
    const fleet = new ListedFleet(devices, app, await app.listen({ port: 0, host: '127.0.0.1' }), admin);
    for (const { name, selector } of selections) await fleet.#create('/v1/groups', { name, selector });
    const { secret } = await fleet.#create('/v1/keys', { name: 'zone', role: 'viewer', scope: 'zone=1' });
    fleet.#keys.set('zone', secret ?? '');
    return fleet;
  }

  private constructor(devices: number, app: FastifyInstance, url: string, admin: string) {
    this.devices = devices;
    this.#app = app;
    this.#url = url;
    this.#keys.set('admin', admin);
  }

  /** Reads the first page of a list; returns its number of items. @throws {Error} if the request fails. */
  async list(path: string, key = 'admin'): Promise<number> {
    const response = await fetch(`${this.#url}${path}`, { headers: { authorization: `Bearer ${this.#keys.get(key)}` } });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path} responded with ${response.status}: ${text}`);
    const { items }: { items: unknown[] } = JSON.parse(text);
    return items.length;
  }

  async #create(path: string, body: Record<string, string>): Promise<z.infer<typeof Created>> {
    const response = await fetch(`${this.#url}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.#keys.get('admin')}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (response.status !== 201) throw new Error(`${path} responded with ${response.status}: ${await response.text()}`);
    return Created.parse(await response.json());
  }

  async end(): Promise<void> {
    await this.#app.close();
  }
}
