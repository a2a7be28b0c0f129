// A service with its database in its own folder, and the hosts that connect to it.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type Client, createPatchbayClient, unwrapResponse } from '../../src/client/client.ts';
import { inParallel } from '../../test/system/chaos/async.ts';
import { generateModule } from '../../test/system/chaos/modules.ts';
import { DatabaseView } from './database-view.ts';
import { until } from './measuring.ts';
import { MeasuredProcess } from './processes.ts';
import type { Bench } from './settings.ts';

/** The profile folder of the service, and the flags of its runtime. */
type Runtime = Pick<Bench, 'profile'> & { readonly flags?: readonly string[] };

/** The module of the benchmark. */
export const module = 'tcp';
/** The devices of one host process. */
export type HostSize = { readonly name: string; readonly devices: number; readonly labels: string };

/** Starts `patchbay serve` on a free port, with default authentication and without rate limits. @param files The folder of its files, if it differs from that of the database. */
export function startServe(
  name: string,
  database: string,
  { profile, flags = [] }: Runtime,
  files: readonly string[] = [],
): MeasuredProcess {
  const args = ['serve', '--no-embedded-host', '--port', '0', '--database', database, '--log-level', 'warn'];
  const patience = ['--rate-limit', '1000000000', '--unreachable-after', '3600'];
  return new MeasuredProcess(name, [...args, ...patience, ...files], { profile, flags });
}

/** Returns the URL that the service prints. */
export async function addressOf(service: MeasuredProcess): Promise<string> {
  const [, url = ''] = await service.says(/API +(http\S+)\/v1/);
  return url;
}

export class Installation {
  readonly name: string;
  readonly url: string;
  /** The API key of operators. */
  readonly key: string;
  readonly client: Client;
  readonly service: MeasuredProcess;
  /** The database, read from outside. */
  readonly view: DatabaseView;
  readonly hosts: MeasuredProcess[] = [];
  readonly #folder: string;
  readonly #profile: string | null;

  private constructor(name: string, folder: string, url: string, service: MeasuredProcess, profile: string | null) {
    this.name = name;
    this.url = url;
    this.service = service;
    this.key = readFileSync(join(folder, 'admin-key'), 'utf8').trim();
    this.client = createPatchbayClient(url, this.key, insist);
    this.view = new DatabaseView(join(folder, 'patchbay.db'));
    this.#folder = folder;
    this.#profile = profile;
  }

  /** @param prepare Fills the folder before the service starts. */
  static async start(name: string, runtime: Runtime, prepare: (folder: string) => Promise<void> = async () => {}): Promise<Installation> {
    const folder = mkdtempSync(join(tmpdir(), `patchbay-bench-${name}-`));
    await prepare(folder);
    const service = startServe(`${name}-service`, join(folder, 'patchbay.db'), runtime);
    return new Installation(name, folder, await addressOf(service), service, runtime.profile);
  }

  /** A folder for files of the measurement, on the same disk as the database. */
  file(name: string): string {
    return join(this.#folder, name);
  }

  /** The token that hosts register with. */
  get joinToken(): string {
    return readFileSync(join(this.#folder, 'join-token'), 'utf8').trim();
  }

  /** Starts host processes and waits until all their devices are attached. @param flags Flags of their runtime. */
  async addHosts(sizes: readonly HostSize[], flags: readonly string[] = []): Promise<void> {
    const there = this.view.attachedDevices();
    for (const { name, devices, labels } of sizes) {
      const args = ['host', '--control', this.url, '--name', name, '--devices', String(devices), '--capacity', String(devices)];
      const rest = ['--labels', labels, '--ram-pages', '256', '--token-file', join(this.#folder, 'join-token'), '--log-level', 'error'];
      this.hosts.push(new MeasuredProcess(`${this.name}-${name}`, [...args, ...rest], { profile: this.#profile, flags }));
    }
    const wanted = there + sizes.reduce((sum, { devices }) => sum + devices, 0);
    await until('all devices are attached', 100, () => this.view.attachedDevices() === wanted);
  }

  /** Pushes builds of the module: 1.0.0, 1.1.0 and so on. */
  pushBuilds(count: number): Promise<void> {
    return pushBuilds(this.client, count);
  }

  async end(): Promise<void> {
    this.view.close();
    await Promise.all(this.hosts.map((host) => host.end()));
    await this.service.end();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Pushes a build with an earlier service process, so that the memory of the compilation is not measured. */
export async function pushBuildBefore(folder: string): Promise<void> {
  const service = startServe('before-service', join(folder, 'patchbay.db'), { profile: null });
  const url = await addressOf(service);
  await pushBuilds(createPatchbayClient(url, readFileSync(join(folder, 'admin-key'), 'utf8').trim()), 1);
  await service.end();
}

/** Pushes builds of the module: 1.0.0, 1.1.0 and so on. */
export async function pushBuilds(client: Client, count: number): Promise<void> {
  const path = { module };
  await inParallel([...Array(count).keys()], 8, async (build) => {
    const body = { version: versionOf(build), language: 'wat' as const, source: generateModule(module, build) };
    unwrapResponse(await client.POST('/v1/modules/{module}/builds', { params: { path }, body }));
  });
}

/** Sends a request, and retries it while the service is overloaded. */
async function insist(request: Request): Promise<Response> {
  for (;;) {
    const response = await fetch(request.clone());
    if (response.status !== 503) return response;
    await setTimeout(Number(response.headers.get('retry-after') ?? 1) * 1_000);
  }
}

/** Returns the version of a build by its number. */
export function versionOf(build: number): string {
  return `1.${build}.0`;
}
