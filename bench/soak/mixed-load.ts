// The concurrent requests of operators, publishers and misbehaving clients, for the whole run.

import { randomInt } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { type Client, type Schemas, unwrapResponse } from '../../src/client/client.ts';
import { generateModule } from '../../test/system/chaos/modules.ts';
import type { Installation } from '../service/installation.ts';
import { until } from '../service/measuring.ts';

/** Maximum running programs; older ones are stopped. */
const programLimit = 200;
/** Builds of `tcp` that devices switch between; pushed at the start. */
const builds = 4;
/** A module that gets new versions during the whole run. */
const growing = 'udp';

/** `shed`: 503 responses with Retry-After of an overloaded service. `unexpected`: responses that no client should get. */
export type Counts = Record<string, number> & { requests: number; unexpected: number; shed: number };

export class MixedLoad {
  readonly #installation: Installation;
  readonly #client: Client;
  readonly #racks: readonly string[];
  readonly #devices: readonly string[];
  readonly #ending = new AbortController();
  readonly #counts: Counts = { requests: 0, unexpected: 0, shed: 0 };
  readonly #programs: { readonly device: string; readonly program: string }[] = [];
  #growingBuild = 0;
  #tasks: readonly Promise<void>[] = [];

  private constructor(installation: Installation, racks: readonly string[], devices: readonly string[]) {
    this.#installation = installation;
    this.#client = installation.client;
    this.#racks = racks;
    this.#devices = devices;
  }

  /** Pushes the first builds, loads them on all devices, and starts the load. */
  static async start(installation: Installation, racks: readonly string[]): Promise<MixedLoad> {
    const { client } = installation;
    for (let build = 0; build < builds; build += 1) await push(client, 'tcp', build);
    await push(client, growing, 0);
    const load = new MixedLoad(installation, racks, await deviceIds(client));
    for (const module of ['tcp', growing])
      unwrapResponse(await client.POST('/v1/loads', { body: { module, version: '1.0.0', labels: { fleet: 'soak' } } }));
    await until('the first builds are loaded', 200, () => haveLoadsEnded(client));
    load.#begin();
    return load;
  }

  summary(): string {
    return Object.entries(this.#counts)
      .map(([what, count]) => `${what} ${count}`)
      .join(', ');
  }

  /** Stops the load. Returns how often each operation was executed. */
  async end(): Promise<Counts> {
    this.#ending.abort();
    await Promise.all(this.#tasks);
    return this.#counts;
  }

  #begin(): void {
    this.#tasks = [
      this.#repeat('load', 500, () => this.#load()),
      this.#repeat('program', 200, () => this.#startProgram()),
      this.#repeat('rollback', 2_000, () => this.#rollBack()),
      this.#repeat('rollout', 15_000, () => this.#rollOut()),
      this.#repeat('push', 20_000, () => this.#pushGrowing()),
      this.#repeat('read', 50, () => this.#read()),
      this.#repeat('bad request', 500, () => this.#askWrongly()),
      this.#repeat('followed events', 3_000, () => this.#follow()),
    ];
  }

  /** Repeats an operation with a pause in milliseconds. A failure is counted and printed. */
  async #repeat(what: string, pause: number, action: () => Promise<void>): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        await action();
        this.#counts[what] = (this.#counts[what] ?? 0) + 1;
      } catch (error) {
        this.#counts.unexpected += 1;
        process.stderr.write(`${what}: ${String(error)}\n`);
      }
      this.#counts.requests += 1;
      await setTimeout(pause, undefined, { signal }).catch(() => {});
    }
  }

  async #load(): Promise<void> {
    const devices = [...new Set(Array.from({ length: 10 }, () => anyOf(this.#devices)))];
    const strategy = anyOf(['inject', 'drain-then-inject'] as const);
    const body: Schemas['NewLoads'] = {
      ...terms,
      module: 'tcp',
      version: `1.${randomInt(builds)}.0`,
      devices,
      strategy,
      ...(strategy === 'inject' ? {} : { drainMilliseconds: 50 }),
      versionPolicy: 'different',
    };
    unwrapResponse(await this.#client.POST('/v1/loads', { body }));
  }

  async #startProgram(): Promise<void> {
    const device = anyOf(this.#devices);
    const body = { module: anyOf(['tcp', growing]), export: 'work', arguments: [20_000, 5], threads: 4, pauseMilliseconds: 50 };
    const { id } = unwrapResponse(await this.#client.POST('/v1/devices/{device}/programs', { params: { path: { device } }, body }));
    this.#programs.push({ device, program: id });
    const oldest = this.#programs.length > programLimit ? this.#programs.shift() : undefined;
    if (oldest !== undefined)
      unwrapResponse(await this.#client.POST('/v1/devices/{device}/programs/{program}/stop', { params: { path: oldest } }));
  }

  async #rollBack(): Promise<void> {
    const devices = [anyOf(this.#devices)];
    const body = {
      module: 'tcp',
      devices,
      reason: 'the soak goes back',
      invalidation: 'delete',
      supersede: true,
      onMissingVersion: 'skip',
    } as const;
    const { response } = await this.#client.POST('/v1/rollbacks', { body });
    // A device may have no earlier version to roll back to.
    if (!response.ok && response.status !== 409 && response.status !== 422)
      throw new Error(`unexpected status of a rollback: ${response.status}`);
  }

  async #rollOut(): Promise<void> {
    const rack = anyOf(this.#racks);
    const version = `1.${this.#growingBuild}.0`;
    const rollout = {
      ...terms,
      module: growing,
      version,
      labels: { rack },
      soakSeconds: 1,
      onConflict: 'queue',
      versionPolicy: 'different',
    } as const;
    const waves = [{ upToPercent: 10 }, { upToPercent: 100 }];
    for (const body of [
      { ...rollout, dryRun: true },
      { ...rollout, waves },
    ]) {
      const { response } = await this.#client.POST('/v1/rollouts', { body });
      // The rack may already have the newest version.
      if (!response.ok && response.status !== 409) throw new Error(`unexpected status of a rollout: ${response.status}`);
    }
  }

  async #pushGrowing(): Promise<void> {
    await push(this.#client, growing, this.#growingBuild + 1);
    this.#growingBuild += 1;
  }

  async #read(): Promise<void> {
    const device = anyOf(this.#devices);
    const path = anyOf([
      '/v1/devices?limit=200',
      `/v1/devices/${device}`,
      `/v1/devices/${device}/history`,
      `/v1/devices/${device}/programs`,
      '/v1/loads?limit=200',
      '/v1/rollouts',
      '/v1/audit?limit=200',
      '/v1/health',
      '/v1/modules/tcp/builds',
      '/metrics',
      '/health/ready',
    ]);
    const response = await fetch(`${this.#installation.url}${path}`, { headers: { authorization: `Bearer ${this.#installation.key}` } });
    await response.arrayBuffer();
    if (isShed(response)) this.#counts.shed += 1;
    else if (!response.ok) throw new Error(`${path} responded with ${response.status}`);
  }

  async #askWrongly(): Promise<void> {
    const [path, init, status] = anyOf([
      ['/v1/loads', { method: 'POST', body: '{"module":' }, 400],
      ['/v1/loads', { method: 'POST', body: '{"module":"tcp"}' }, 422],
      ['/v1/modules/tcp/builds', { method: 'POST', body: '{"version":"9.9.9","language":"wat","source":"(module (func"}' }, 422],
      ['/v1/nothing', {}, 404],
    ] as const);
    const headers = { authorization: `Bearer ${this.#installation.key}`, 'content-type': 'application/json' };
    const response = await fetch(`${this.#installation.url}${path}`, { ...init, headers });
    await response.arrayBuffer();
    if (isShed(response)) this.#counts.shed += 1;
    else if (response.status !== status) throw new Error(`${path}: expected ${status}, received ${response.status}`);
  }

  /** Follows the event stream for a second. */
  async #follow(): Promise<void> {
    const signal = AbortSignal.timeout(1_000);
    const headers = { authorization: `Bearer ${this.#installation.key}` };
    try {
      const response = await fetch(`${this.#installation.url}/v1/events`, { headers, signal });
      if (isShed(response)) this.#counts.shed += 1;
      else if (!response.ok) throw new Error(`/v1/events responded with ${response.status}`);
      await response.arrayBuffer();
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}

/** Old versions are deleted from the devices, so that growth is a fault. */
const terms = { invalidation: 'delete', supersede: true, similarityPolicy: 'off', deadlineSeconds: 60 } as const;

async function push(client: Client, module: string, build: number): Promise<void> {
  const body = { version: `1.${build}.0`, language: 'wat' as const, source: generateModule(module, build) };
  unwrapResponse(await client.POST('/v1/modules/{module}/builds', { params: { path: { module } }, body }));
}

async function haveLoadsEnded(client: Client): Promise<boolean> {
  for (const state of ['queued', 'dispatched'] as const) {
    const { items } = unwrapResponse(await client.GET('/v1/loads', { params: { query: { state, limit: 1 } } }));
    if (items.length > 0) return false;
  }
  return true;
}

async function deviceIds(client: Client): Promise<string[]> {
  const ids: string[] = [];
  let cursor: string | undefined;
  do {
    const query = { limit: 200, ...(cursor === undefined ? {} : { cursor }) };
    const page = unwrapResponse(await client.GET('/v1/devices', { params: { query } }));
    ids.push(...page.items.map(({ id }) => id));
    cursor = page.next ?? undefined;
  } while (cursor !== undefined);
  return ids;
}

function isShed({ status, headers }: Response): boolean {
  return status === 503 && headers.has('retry-after');
}

function anyOf<Item>(items: readonly Item[]): Item {
  const item = items[randomInt(items.length)];
  if (item === undefined) throw new Error('the list to choose from is empty');
  return item;
}
