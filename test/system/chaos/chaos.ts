// A service and its hosts as real processes on a faulty network, killed repeatedly while a client requests loads.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Client, createPatchbayClient, unwrapResponse } from '../../../src/client/client.ts';
import { fetchWithRetries } from '../../../src/client/fetch-with-retries.ts';
import { inParallel, pause, waitUntil } from './async.ts';
import { type CheckResult, checkInvariants } from './checker.ts';
import { generateModule } from './modules.ts';
import { createHostProcess, createServiceProcess, findFreePort, type RestartableProcess } from './processes.ts';
import { databaseNetwork, type FaultCounts, FaultProxy } from './proxy.ts';
import { Random } from './random.ts';
import { Requester } from './requester.ts';
import { readDevices, readLoads, readPrograms, readServiceState } from './service-state.ts';

/** A PostgreSQL server that can be killed. */
type DatabaseServer = { readonly url: string; readonly restart: () => Promise<void> };

export type ChaosOptions = {
  /** Replicas on a PostgreSQL server; null: one service on SQLite. */
  readonly cluster: { readonly replicas: number; readonly server: DatabaseServer } | null;
  readonly kills: number;
  readonly seed: number;
  readonly hosts: number;
  readonly devicesPerHost: number;
  readonly log: (line: string) => void;
};

type ChaosCounts = Omit<CheckResult, 'violations'> &
  FaultCounts & {
    readonly devices: number;
    kills: number;
    serviceKills: number;
    hostKills: number;
    databaseKills: number;
    /** Faults between replicas and their database; the counts above are of hosts and clients. */
    databaseFaults: number;
    readonly requests: number;
    /** Attempts after the first. */
    readonly retries: number;
    readonly loads: number;
    readonly installed: number;
    readonly expired: number;
    readonly cancelled: number;
    readonly superseded: number;
    /** Expired loads that their devices performed nevertheless. */
    readonly lateReports: number;
    readonly interrupted: number;
    readonly programs: number;
    readonly callsCompleted: number;
    readonly events: number;
    /** Time to settle after the last kill and fault. */
    readonly settledMilliseconds: number;
    readonly milliseconds: number;
  };

export type ChaosResult = { readonly counts: ChaosCounts; readonly violations: readonly string[] };

/** Maximum time to connect the fleet, and to settle at the end, in milliseconds. */
const settleTimeout = 120_000;
/** Maximum time between a restart and the next kill. */
const killMilliseconds = 300;
/** Maximum wait of a kill for the completion of loads, so that there is something to interrupt. */
const progressMilliseconds = 2_000;
const progressProbability = 0.5;
/** Probability that the next kill waits until the restarted process is ready. */
const readyProbability = 0.8;
/** A slower start is logged, in milliseconds. */
const slowStartMilliseconds = 10_000;
/** Probability that a kill or an outage hits the database, if it is a server. */
const databaseProbability = 0.1;
/** Concurrent clients that request loads. */
const requesters = 2;
const requestMilliseconds = { min: 20, max: 400 } as const;
/** Devices per request. */
const devicesPerRequest = { min: 1, max: 40 } as const;
/** Time between outages, which hit every connection of one proxy or of all. */
const outageMilliseconds = { min: 200, max: 3_000 } as const;
/** Probability that an outage hits the whole network. */
const allProbability = 0.1;
/** Probability that an outage drops bytes silently. */
const lossProbability = 0.05;
const invalidations = ['none', 'mark-invalid', 'nx', 'delete', 'delete', 'delete'] as const;
/** Concurrent requests during the setup. */
const concurrency = 8;
/** Concurrent builds during the setup: each replica starts its compilers with its first build. */
const buildConcurrency = 2;

/** Runs the kills, waits until the fleet has settled, and checks the invariants. @throws {Error} if the fleet does not connect. */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-chaos-'));
  const chaos = await Chaos.create(options, folder);
  // An aborted run leaves nothing behind either.
  const cleanUp = () => {
    chaos.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', cleanUp);
  try {
    return await chaos.run();
  } finally {
    await chaos.stop();
    process.off('exit', cleanUp);
    rmSync(folder, { recursive: true, force: true });
  }
}

class Chaos {
  readonly #options: ChaosOptions;
  readonly #random: Random;
  readonly #services: readonly RestartableProcess[];
  readonly #hosts: RestartableProcess[] = [];
  /** One proxy between each host and the service; the last is between the requester and the service. */
  readonly #proxies: FaultProxy[];
  /** The proxy for reading the state, without faults. */
  readonly #view: FaultProxy;
  /** One proxy between each replica and the PostgreSQL server. */
  readonly #databaseProxies: readonly FaultProxy[];
  readonly #client: Client;
  /** A client with retries, for the setup and the final checks. */
  readonly #retryingClient: Client;
  readonly #requester: Requester;
  readonly #startedAt = performance.now();
  #devices: string[] = [];
  /** Restarted processes that did not become ready. */
  readonly #failedStarts: string[] = [];
  #serviceKills = 0;
  #hostKills = 0;
  #databaseKills = 0;
  /** From 0 to 1: selects the requested versions. */
  #progress = 0;
  #isStopping = false;

  static async create(options: ChaosOptions, folder: string): Promise<Chaos> {
    const random = new Random(options.seed);
    const ports: number[] = [];
    for (let replica = 0; replica < (options.cluster?.replicas ?? 1); replica += 1) ports.push(await findFreePort(random.fork()));
    const proxies = Array.from({ length: options.hosts + 1 }, () => new FaultProxy(ports, random.fork()));
    const view = new FaultProxy(ports, random.fork());
    const server = options.cluster === null ? null : new URL(options.cluster.server.url);
    const databases = server === null ? [] : ports.map(() => new FaultProxy([Number(server.port)], random.fork(), databaseNetwork));
    await Promise.all([...proxies, view, ...databases].map((proxy) => proxy.listen()));
    const services = ports.map((port, index) => {
      const database = server === null ? join(folder, 'patchbay.db') : viaProxy(databases[index], server);
      return createServiceProcess(`replica ${index + 1}`, port, database, folder);
    });
    for (const service of services) service.start();
    await Promise.all(services.map((service) => service.ready()));
    return new Chaos(options, random, services, folder, { proxies, view, databases });
  }

  private constructor(
    options: ChaosOptions,
    random: Random,
    services: readonly RestartableProcess[],
    folder: string,
    { proxies, view, databases }: { readonly proxies: FaultProxy[]; readonly view: FaultProxy; readonly databases: readonly FaultProxy[] },
  ) {
    this.#options = options;
    this.#random = random;
    this.#proxies = proxies;
    this.#view = view;
    this.#databaseProxies = databases;
    this.#services = services;
    const urls = proxies.map(({ url }) => url);
    for (const [index, url] of urls.slice(0, options.hosts).entries())
      this.#hosts.push(createHostProcess(`chaos-${index + 1}`, url, options.devicesPerHost, folder));
    const key = readFileSync(join(folder, 'admin-key'), 'utf8').trim();
    this.#client = createPatchbayClient(view.url, key);
    this.#retryingClient = createPatchbayClient(view.url, key, (request) => fetchWithRetries(request, new AbortController().signal));
    this.#requester = new Requester(createPatchbayClient(urls.at(-1) ?? '', key), random.fork());
  }

  async run(): Promise<ChaosResult> {
    await this.#setUp();
    for (const proxy of this.#network) proxy.startFaults();
    const loadRequests = Array.from({ length: requesters }, () => this.#requestLoads(this.#random.fork()));
    const activities = [...loadRequests, this.#requestPrograms(this.#random.fork()), this.#causeOutages(this.#random.fork())];
    try {
      await this.#kill();
    } finally {
      this.#isStopping = true;
      for (const proxy of this.#network) proxy.endFaults();
    }
    this.#log('all kills done: waiting until the fleet has settled');
    const settlingAt = performance.now();
    await Promise.all(activities);
    const unsettled = await this.#settle();
    return this.#evaluate(unsettled, performance.now() - settlingAt);
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#services, ...this.#hosts].map((process) => process.kill()));
    await Promise.all([...this.#network, this.#view].map((proxy) => proxy.close()));
  }

  /** The proxies with faults. */
  get #network(): readonly FaultProxy[] {
    return [...this.#proxies, ...this.#databaseProxies];
  }

  /** One version per kill, so that there is always a newer version. */
  get #builds(): number {
    return Math.max(this.#options.kills, 1);
  }

  async #setUp(): Promise<void> {
    for (const host of this.#hosts) host.start();
    await inParallel(
      Array.from({ length: this.#builds + 1 }, (_, build) => build),
      buildConcurrency,
      async (build) => {
        await this.#push('tcp', build);
        if (build % 5 === 0) await this.#push('udp', build);
      },
    );
    const count = this.#options.hosts * this.#options.devicesPerHost;
    if (!(await waitUntil(() => this.#areConnected(count), settleTimeout)))
      throw new Error(`${count} devices did not connect:\n${this.#lastLines()}`);
    this.#devices = (await readDevices(this.#client)).map(({ id }) => id).toSorted();
    for (const module of ['tcp', 'udp'])
      await this.#requester.load({ module, version: '1.0.0', devices: this.#devices, strategy: 'inject', invalidation: 'nx' });
    if (!(await waitUntil(() => this.#haveOutcomes(), settleTimeout)))
      throw new Error(`the first loads have no outcomes:\n${this.#lastLines()}`);
    await inParallel(this.#devices, concurrency, (device) => this.#startPrograms(device));
    this.#log(`${count} devices on ${this.#hosts.length} hosts are connected, with ${this.#requester.programs} programs`);
  }

  async #push(module: string, build: number): Promise<void> {
    const body = { version: `1.${build}.0`, language: 'wat' as const, source: generateModule(module, build) };
    unwrapResponse(await this.#retryingClient.POST('/v1/modules/{module}/builds', { params: { path: { module } }, body }));
  }

  /** Starts an endless program on every device, and a finite program on some devices. */
  async #startPrograms(device: string): Promise<void> {
    const endless = { export: 'work', arguments: [100, 100], threads: 2, calls: null };
    await this.#requester.startProgram(device, { ...endless, module: 'tcp', pauseMilliseconds: this.#random.integer(500, 2_000) });
    if (this.#random.happens(0.2)) await this.#requester.startProgram(device, this.#finiteProgram(this.#random));
  }

  #finiteProgram(random: Random) {
    const times = { threads: random.integer(1, 4), calls: random.integer(1, 10), pauseMilliseconds: random.integer(0, 300) };
    return { module: random.pick(['tcp', 'udp']), export: 'work', arguments: [random.integer(1, 1_000), random.integer(0, 200)], ...times };
  }

  async #kill(): Promise<void> {
    const { kills } = this.#options;
    for (let kill = 1; kill <= kills; kill += 1) {
      this.#progress = kill / kills;
      await pause(this.#random.integer(0, killMilliseconds));
      // The database is killed at least once, in the middle.
      const isDatabase = kill === Math.ceil(kills / 2) || this.#random.happens(databaseProbability);
      if (this.#options.cluster !== null && isDatabase) {
        this.#databaseKills += 1;
        await this.#options.cluster.server.restart();
        continue;
      }
      const isService = this.#random.happens(0.5);
      const victim = this.#random.pick(isService ? this.#services : this.#hosts);
      if (isService) this.#serviceKills += 1;
      else this.#hostKills += 1;
      await victim.kill();
      const restartedAt = performance.now();
      victim.start();
      if (this.#random.happens(readyProbability)) await victim.ready().catch((error) => this.#failedStarts.push(String(error)));
      const waited = performance.now() - restartedAt;
      if (waited > slowStartMilliseconds) this.#log(`${victim.name} was ready after ${(waited / 1_000).toFixed(1)} s`);
      if (this.#random.happens(progressProbability)) await this.#waitForProgress();
      if (kill % 10 === 0) this.#log(`${kill} kills, ${this.#requester.accepted.length} loads accepted`);
    }
  }

  /** Waits until a load completes, for at most 2 s. */
  async #waitForProgress(): Promise<void> {
    const completed = async () => unwrapResponse(await this.#client.GET('/v1/health')).loads.completed;
    let before: number | null = null;
    await waitUntil(async () => {
      const now = await completed();
      before ??= now;
      return now > before;
    }, progressMilliseconds);
  }

  async #requestLoads(random: Random): Promise<void> {
    while (!this.#isStopping) {
      const module = random.happens(0.8) ? 'tcp' : 'udp';
      await this.#requester.load({
        module,
        version: this.#versionOf(module, random),
        devices: random.sample(this.#devices, random.logUniform(devicesPerRequest.min, devicesPerRequest.max)),
        strategy: 'inject',
        invalidation: random.pick(invalidations),
        supersede: random.happens(0.2),
        ...(random.happens(0.1) ? { deadlineSeconds: random.integer(1, 5) } : {}),
      });
      if (random.happens(0.2)) await this.#requester.cancelRecentLoad();
      await pause(random.integer(requestMilliseconds.min, requestMilliseconds.max));
    }
  }

  /** Returns mostly the next version, and sometimes any version, which a device may refuse. */
  #versionOf(module: string, random: Random): string {
    const next = Math.floor(this.#progress * this.#builds);
    const build = random.happens(0.7) ? next : random.integer(0, this.#builds);
    return `1.${module === 'udp' ? build - (build % 5) : build}.0`;
  }

  async #requestPrograms(random: Random): Promise<void> {
    while (!this.#isStopping) {
      await this.#requester.startProgram(random.pick(this.#devices), this.#finiteProgram(random));
      await pause(random.integer(200, 1_500));
    }
  }

  /** Causes outages of one host, of one replica's database connections, or of the whole network. */
  async #causeOutages(random: Random): Promise<void> {
    while (!this.#isStopping) {
      await pause(random.logUniform(outageMilliseconds.min, outageMilliseconds.max));
      if (this.#isStopping) return;
      const hit = random.happens(allProbability)
        ? this.#network
        : [random.pick(random.happens(databaseProbability) ? this.#network : this.#proxies)];
      const kind = random.happens(lossProbability) ? 'lose' : random.pick(['reset', 'end', 'hold'] as const);
      for (const proxy of hit) {
        if (kind === 'hold') proxy.hold();
        else if (kind === 'lose') proxy.lose();
        else proxy.cut(kind);
      }
    }
  }

  /** Waits until every device is connected, every load has an outcome, and every program has settled. Returns the conditions that are not met. */
  async #settle(): Promise<string[]> {
    const conditions: [string, () => Promise<boolean>][] = [
      ['every device is connected', () => this.#areConnected(this.#devices.length)],
      ['every load has an outcome', () => this.#haveOutcomes()],
      ['every finite program has finished, and every interrupted access was retried', () => this.#haveProgramsSettled()],
    ];
    const deadline = Date.now() + settleTimeout;
    const missed: string[] = [];
    for (const [condition, check] of conditions) {
      if (!(await waitUntil(check, deadline - Date.now()))) missed.push(`not within ${settleTimeout / 1_000} s: ${condition}`);
      this.#log(condition);
    }
    return missed;
  }

  async #areConnected(count: number): Promise<boolean> {
    const devices = await readDevices(this.#client);
    return devices.length === count && devices.every(({ status }) => status === 'connected');
  }

  async #haveOutcomes(): Promise<boolean> {
    return (await readLoads(this.#client)).every(({ outcome }) => outcome !== null);
  }

  async #haveProgramsSettled(): Promise<boolean> {
    const programs = await inParallel(this.#devices, concurrency, (device) => readPrograms(this.#client, device));
    return programs
      .flat()
      .every(
        ({ state, calls, statistics }) =>
          state !== 'starting' &&
          (calls === null || state !== 'running') &&
          statistics !== null &&
          statistics.accessesInterrupted === statistics.accessesRetried,
      );
  }

  async #evaluate(unsettled: readonly string[], settledMilliseconds: number): Promise<ChaosResult> {
    const state = await readServiceState(this.#retryingClient);
    const { violations, ...result } = checkInvariants(state, { loads: this.#requester.accepted, batches: this.#requester.batches });
    const unexpectedExits = [...this.#services, ...this.#hosts].flatMap(({ unexpectedExit: ownEnd }) => ownEnd ?? []);
    const all = [...unsettled, ...this.#failedStarts, ...unexpectedExits, ...this.#requester.unexpectedResponses, ...violations];
    const programs = state.devices.flatMap((device) => device.programs);
    const countOutcome = (name: string) => state.loads.filter(({ outcome }) => outcome === name).length;
    const counts: ChaosCounts = {
      devices: state.devices.length,
      kills: this.#serviceKills + this.#hostKills + this.#databaseKills,
      serviceKills: this.#serviceKills,
      hostKills: this.#hostKills,
      databaseKills: this.#databaseKills,
      ...totalOf(this.#proxies.map((proxy) => proxy.counts)),
      databaseFaults: sum(this.#databaseProxies.map(({ counts }) => faultsIn(counts))),
      requests: this.#requester.requests,
      retries: this.#requester.retries,
      loads: this.#requester.accepted.length,
      ...result,
      installed: state.loads.filter(({ outcome }) => outcome?.startsWith('replaced') || outcome === 'installed').length,
      expired: countOutcome('expired'),
      cancelled: countOutcome('cancelled'),
      superseded: countOutcome('superseded'),
      lateReports: state.events.filter(({ action }) => action === 'load.reported-late').length,
      interrupted: sum(state.loads.map(({ interrupted }) => interrupted ?? 0)),
      programs: programs.length,
      callsCompleted: sum(programs.map(({ statistics }) => statistics?.callsCompleted ?? 0)),
      events: state.events.length,
      settledMilliseconds: Math.round(settledMilliseconds),
      milliseconds: Math.round(performance.now() - this.#startedAt),
    };
    if (all.length > 0) this.#log(this.#lastLines());
    return { counts, violations: all };
  }

  #lastLines(): string {
    return [...this.#services, ...this.#hosts].map(({ name, lastLines: tail }) => `--- last lines of ${name}:\n${tail}`).join('\n');
  }

  #log(text: string): void {
    this.#options.log(`${((performance.now() - this.#startedAt) / 1_000).toFixed(1).padStart(6)} s  ${text}`);
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function totalOf(counts: readonly FaultCounts[]): FaultCounts {
  const total = (name: keyof FaultCounts) => sum(counts.map((item) => item[name]));
  return {
    connections: total('connections'),
    cutsByReset: total('cutsByReset'),
    cutsByEnd: total('cutsByEnd'),
    halfCloses: total('halfCloses'),
    delays: total('delays'),
    holds: total('holds'),
    losses: total('losses'),
    duplicates: total('duplicates'),
  };
}

function faultsIn({ cutsByReset, cutsByEnd, halfCloses, delays, holds, losses }: FaultCounts): number {
  return sum([cutsByReset, cutsByEnd, halfCloses, delays, holds, losses]);
}

/** Returns the URL of a server through a proxy. */
function viaProxy(proxy: FaultProxy | undefined, server: URL): string {
  const url = new URL(server);
  url.port = String(proxy?.port ?? server.port);
  return url.href;
}
