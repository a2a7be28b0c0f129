// A number of service replicas on their own PostgreSQL database, and the hosts that connect to one of them.

import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Client, createPatchbayClient } from '../../src/client/client.ts';
import { createDatabase } from '../../test/postgresql/server.ts';
import { addressOf, type HostSize, startServe } from '../service/installation.ts';
import { until } from '../service/measuring.ts';
import { MeasuredProcess } from '../service/processes.ts';
import { ServerView } from './server-view.ts';

/** Creates a database with a unique name on a server, and returns its URL. */
export function newDatabase(server: string): Promise<string> {
  return createDatabase(server, `bench_${randomUUID().replaceAll('-', '')}`);
}

export class Replicas {
  readonly urls: readonly string[];
  /** The API key of operators. */
  readonly key: string;
  readonly joinToken: string;
  /** A client of the first replica. */
  readonly client: Client;
  readonly view: ServerView;
  readonly #folder: string;
  readonly #services: readonly MeasuredProcess[];
  readonly #hosts: MeasuredProcess[] = [];

  /** @param server URL of the server on which the database is created. */
  static async start(count: number, server: string): Promise<Replicas> {
    const folder = mkdtempSync(join(tmpdir(), `patchbay-bench-replicas-${count}-`));
    const database = await newDatabase(server);
    const files = ['token-file', 'admin-key-file', 'signing-keys'].flatMap((name) => [`--${name}`, join(folder, name)]);
    const services = Array.from({ length: count }, (_, index) => startServe(`replica-${index + 1}`, database, { profile: null }, files));
    const urls = await Promise.all(services.map(addressOf));
    return new Replicas(folder, services, urls, await ServerView.open(database));
  }

  private constructor(folder: string, services: readonly MeasuredProcess[], urls: readonly string[], view: ServerView) {
    this.#folder = folder;
    this.#services = services;
    this.urls = urls;
    this.view = view;
    this.key = readFileSync(join(folder, 'admin-key-file'), 'utf8').trim();
    this.joinToken = readFileSync(join(folder, 'token-file'), 'utf8').trim();
    this.client = createPatchbayClient(this.url, this.key);
  }

  /** The URL of the first replica. */
  get url(): string {
    return this.urls[0] ?? '';
  }

  /** Starts a host that connects to the last replica, and waits until all its devices are attached. */
  async addHost({ name, devices, labels }: HostSize): Promise<void> {
    const there = await this.view.attachedDevices();
    const args = ['host', '--control', this.urls.at(-1) ?? '', '--name', name, '--devices', String(devices), '--capacity', String(devices)];
    const rest = ['--labels', labels, '--ram-pages', '256', '--token-file', join(this.#folder, 'token-file'), '--log-level', 'error'];
    this.#hosts.push(new MeasuredProcess(name, [...args, ...rest]));
    await until('all devices are attached', 100, async () => (await this.view.attachedDevices()) === there + devices);
  }

  /** Returns the memory of each replica, in bytes. */
  residentBytes(): number[] {
    return this.#services.map((service) => service.residentBytes());
  }

  async end(): Promise<void> {
    await this.view.close();
    await Promise.all(this.#hosts.map((host) => host.end()));
    await Promise.all(this.#services.map((service) => service.end()));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
