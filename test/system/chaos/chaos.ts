// A service and its hosts as real processes on a bad network, killed again and again while loads are asked for.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Client, createPatchbayClient, unwrapResponse } from '../../../src/client/client.ts';
import { fetchWithRetries } from '../../../src/client/fetch-with-retries.ts';
import { cameAbout, inParallel, pause } from './async.ts';
import { check, type Verdict } from './checker.ts';
import { moduleText } from './modules.ts';
import { freePort, hostProcess, type RestartedProcess, serviceProcess } from './processes.ts';
import { databaseNetwork, type FaultCounts, FaultProxy } from './proxy.ts';
import { Random } from './random.ts';
import { Requester } from './requester.ts';
import { readDevices, readEverything, readLoads, readPrograms } from './service-state.ts';

/** A server of PostgreSQL that can be killed. */
type DatabaseServer = { readonly url: string; readonly restart: () => Promise<void> };

export type ChaosOptions = {
  /** Replicas of the service, on that server; null: one, on a file. */
  readonly cluster: { readonly replicas: number; readonly server: DatabaseServer } | null;
  readonly kills: number;
  readonly seed: number;
  readonly hosts: number;
  readonly devicesPerHost: number;
  readonly log: (line: string) => void;
};

type ChaosCounts = Omit<Verdict, 'violations'> &
  FaultCounts & {
    readonly devices: number;
    kills: number;
    serviceKills: number;
    hostKills: number;
    databaseKills: number;
    /** Of the connections of replicas to their database; those above are of hosts and clients. */
    databaseFaults: number;
    readonly requests: number;
    /** Attempts of requests beyond the first. */
    readonly repeats: number;
    readonly loads: number;
    readonly installed: number;
    readonly expired: number;
    readonly cancelled: number;
    readonly superseded: number;
    /** Expired loads that their devices had carried out nevertheless. */
    readonly reportedLate: number;
    readonly interrupted: number;
    readonly programs: number;
    readonly callsCompleted: number;
    readonly events: number;
    /** How long all took to settle when nothing more was killed or cut. */
    readonly settledMilliseconds: number;
    readonly milliseconds: number;
  };

export type ChaosResult = { readonly counts: ChaosCounts; readonly violations: readonly string[] };

/** How long the fleet may take to come up, and to settle in the end. */
const patience = 120_000;
/** A kill comes at most so long after the last process was started again. */
const killMilliseconds = 300;
/** Now and then the next kill waits until loads have been carried out, so that there is something to interrupt; not for longer than this. */
const progressMilliseconds = 2_000;
const progressProbability = 0.5;
/** How often the next kill waits until the process that was killed is ready. */
const readyProbability = 0.8;
/** A start that takes longer is told, in milliseconds. */
const toldMilliseconds = 10_000;
/** How often it is the database that is killed or may be cut off, where it is a process. */
const databaseProbability = 0.1;
/** Clients that ask for loads at the same time. */
const requesters = 2;
const requestMilliseconds = { least: 20, most: 400 } as const;
/** Devices of one request for loads. */
const devicesOfRequest = { least: 1, most: 40 } as const;
/** Time between faults that hit every connection of one host, or of all. */
const outageMilliseconds = { least: 200, most: 3_000 } as const;
/** How often they hit the whole network. */
const allProbability = 0.1;
/** How often such a fault is that nothing comes through any more and neither end is told. */
const lossProbability = 0.05;
const invalidations = ['none', 'mark-invalid', 'nx', 'delete', 'delete', 'delete'] as const;
/** Requests at once while the fleet is set up. */
const atOnce = 8;
/** Of these, builds: each replica begins its compilers with the first that it gets. */
const buildsAtOnce = 2;

/** Runs the chaos until that many kills, waits until all has settled, and checks. @throws {Error} when the fleet does not come up at all. */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-chaos-'));
  const chaos = await Chaos.make(options, folder);
  // A run that is broken off leaves nothing behind either.
  const breakOff = () => {
    chaos.end();
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', breakOff);
  try {
    return await chaos.run();
  } finally {
    await chaos.end();
    process.off('exit', breakOff);
    rmSync(folder, { recursive: true, force: true });
  }
}

class Chaos {
  readonly #options: ChaosOptions;
  readonly #random: Random;
  readonly #services: readonly RestartedProcess[];
  readonly #hosts: RestartedProcess[] = [];
  /** One between each host and the service, and the last between the requester and the service. */
  readonly #proxies: FaultProxy[];
  /** By which is asked how things are: it does no harm. */
  readonly #view: FaultProxy;
  /** One between each replica of the service and the server of PostgreSQL. */
  readonly #databaseProxies: readonly FaultProxy[];
  readonly #client: Client;
  /** What pushes and judges, while nothing is killed: a service that is busy is asked again. */
  readonly #patientClient: Client;
  readonly #requester: Requester;
  readonly #began = performance.now();
  #devices: string[] = [];
  /** Processes that were started again and did not come up. */
  readonly #failedStarts: string[] = [];
  #serviceKills = 0;
  #hostKills = 0;
  #databaseKills = 0;
  /** From 0 to 1: which versions are asked for. */
  #progress = 0;
  #isOver = false;

  static async make(options: ChaosOptions, folder: string): Promise<Chaos> {
    const random = new Random(options.seed);
    const ports: number[] = [];
    for (let replica = 0; replica < (options.cluster?.replicas ?? 1); replica += 1) ports.push(await freePort(random.fork()));
    const proxies = Array.from({ length: options.hosts + 1 }, () => new FaultProxy(ports, random.fork()));
    const view = new FaultProxy(ports, random.fork());
    const server = options.cluster === null ? null : new URL(options.cluster.server.url);
    const databases = server === null ? [] : ports.map(() => new FaultProxy([Number(server.port)], random.fork(), databaseNetwork));
    await Promise.all([...proxies, view, ...databases].map((proxy) => proxy.listen()));
    const services = ports.map((port, index) => {
      const database = server === null ? join(folder, 'patchbay.db') : through(databases[index], server);
      return serviceProcess(`replica ${index + 1}`, port, database, folder);
    });
    for (const service of services) service.start();
    await Promise.all(services.map((service) => service.ready()));
    return new Chaos(options, random, services, folder, { proxies, view, databases });
  }

  private constructor(
    options: ChaosOptions,
    random: Random,
    services: readonly RestartedProcess[],
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
      this.#hosts.push(hostProcess(`chaos-${index + 1}`, url, options.devicesPerHost, folder));
    const key = readFileSync(join(folder, 'admin-key'), 'utf8').trim();
    this.#client = createPatchbayClient(view.url, key);
    this.#patientClient = createPatchbayClient(view.url, key, (request) => fetchWithRetries(request, new AbortController().signal));
    this.#requester = new Requester(createPatchbayClient(urls.at(-1) ?? '', key), random.fork());
  }

  async run(): Promise<ChaosResult> {
    await this.#setUp();
    for (const proxy of this.#network) proxy.startFaults();
    const asking = Array.from({ length: requesters }, () => this.#askForLoads(this.#random.fork()));
    const others = [...asking, this.#askForPrograms(this.#random.fork()), this.#makeOutages(this.#random.fork())];
    try {
      await this.#kill();
    } finally {
      this.#isOver = true;
      for (const proxy of this.#network) proxy.endFaults();
    }
    this.#say('all kills are done: waiting until all has settled');
    const began = performance.now();
    await Promise.all(others);
    const unsettled = await this.#settle();
    return this.#judge(unsettled, performance.now() - began);
  }

  async end(): Promise<void> {
    await Promise.all([...this.#services, ...this.#hosts].map((one) => one.kill()));
    await Promise.all([...this.#network, this.#view].map((proxy) => proxy.close()));
  }

  /** What faults happen to. */
  get #network(): readonly FaultProxy[] {
    return [...this.#proxies, ...this.#databaseProxies];
  }

  /** A version for each kill, so that there is always a newer one. */
  get #builds(): number {
    return Math.max(this.#options.kills, 1);
  }

  async #setUp(): Promise<void> {
    for (const host of this.#hosts) host.start();
    await inParallel(
      Array.from({ length: this.#builds + 1 }, (_, build) => build),
      buildsAtOnce,
      async (build) => {
        await this.#push('tcp', build);
        if (build % 5 === 0) await this.#push('udp', build);
      },
    );
    const count = this.#options.hosts * this.#options.devicesPerHost;
    if (!(await cameAbout(() => this.#areConnected(count), patience)))
      throw new Error(`${count} devices did not come up:\n${this.#tails()}`);
    this.#devices = (await readDevices(this.#client)).map(({ id }) => id).toSorted();
    for (const module of ['tcp', 'udp'])
      await this.#requester.load({ module, version: '1.0.0', devices: this.#devices, strategy: 'inject', invalidation: 'nx' });
    if (!(await cameAbout(() => this.#haveOutcomes(), patience))) throw new Error(`the first loads had no outcomes:\n${this.#tails()}`);
    await inParallel(this.#devices, atOnce, (device) => this.#startPrograms(device));
    this.#say(`${count} devices on ${this.#hosts.length} hosts are up, with ${this.#requester.programs} programs`);
  }

  async #push(module: string, build: number): Promise<void> {
    const body = { version: `1.${build}.0`, language: 'wat' as const, source: moduleText(module, build) };
    unwrapResponse(await this.#patientClient.POST('/v1/modules/{module}/builds', { params: { path: { module } }, body }));
  }

  /** On every device threads that call for ever, and on some those that come to an end. */
  async #startPrograms(device: string): Promise<void> {
    const endless = { export: 'work', arguments: [100, 100], threads: 2, calls: null };
    await this.#requester.startProgram(device, { ...endless, module: 'tcp', pauseMilliseconds: this.#random.integer(500, 2_000) });
    if (this.#random.chance(0.2)) await this.#requester.startProgram(device, this.#finiteProgram(this.#random));
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
      // At least once, in the middle.
      const isDatabase = kill === Math.ceil(kills / 2) || this.#random.chance(databaseProbability);
      if (this.#options.cluster !== null && isDatabase) {
        this.#databaseKills += 1;
        await this.#options.cluster.server.restart();
        continue;
      }
      const isService = this.#random.chance(0.5);
      const victim = this.#random.pick(isService ? this.#services : this.#hosts);
      if (isService) this.#serviceKills += 1;
      else this.#hostKills += 1;
      await victim.kill();
      const began = performance.now();
      victim.start();
      if (this.#random.chance(readyProbability)) await victim.ready().catch((error) => this.#failedStarts.push(String(error)));
      const waited = performance.now() - began;
      if (waited > toldMilliseconds) this.#say(`${victim.name} was ready after ${(waited / 1_000).toFixed(1)} s`);
      if (this.#random.chance(progressProbability)) await this.#progressOf();
      if (kill % 10 === 0) this.#say(`${kill} kills, ${this.#requester.accepted.length} loads accepted`);
    }
  }

  /** Waits until some loads have been carried out, or for so long that there is to be a kill anyway. */
  async #progressOf(): Promise<void> {
    const completed = async () => unwrapResponse(await this.#client.GET('/v1/health')).loads.completed;
    let before: number | null = null;
    await cameAbout(async () => {
      const now = await completed();
      before ??= now;
      return now > before;
    }, progressMilliseconds);
  }

  async #askForLoads(random: Random): Promise<void> {
    while (!this.#isOver) {
      const module = random.chance(0.8) ? 'tcp' : 'udp';
      await this.#requester.load({
        module,
        version: this.#versionOf(module, random),
        devices: random.some(this.#devices, random.magnitude(devicesOfRequest.least, devicesOfRequest.most)),
        strategy: 'inject',
        invalidation: random.pick(invalidations),
        supersede: random.chance(0.2),
        ...(random.chance(0.1) ? { deadlineSeconds: random.integer(1, 5) } : {}),
      });
      if (random.chance(0.2)) await this.#requester.cancelOne();
      await pause(random.integer(requestMilliseconds.least, requestMilliseconds.most));
    }
  }

  /** Mostly the next version; now and then any, which a device may refuse. */
  #versionOf(module: string, random: Random): string {
    const next = Math.floor(this.#progress * this.#builds);
    const build = random.chance(0.7) ? next : random.integer(0, this.#builds);
    return `1.${module === 'udp' ? build - (build % 5) : build}.0`;
  }

  async #askForPrograms(random: Random): Promise<void> {
    while (!this.#isOver) {
      await this.#requester.startProgram(random.pick(this.#devices), this.#finiteProgram(random));
      await pause(random.integer(200, 1_500));
    }
  }

  /** Faults that hit all that one host has to do with the service, or a replica with its database, or the whole network. */
  async #makeOutages(random: Random): Promise<void> {
    while (!this.#isOver) {
      await pause(random.magnitude(outageMilliseconds.least, outageMilliseconds.most));
      if (this.#isOver) return;
      const hit = random.chance(allProbability)
        ? this.#network
        : [random.pick(random.chance(databaseProbability) ? this.#network : this.#proxies)];
      const kind = random.chance(lossProbability) ? 'lose' : random.pick(['reset', 'end', 'hold'] as const);
      for (const proxy of hit) {
        if (kind === 'hold') proxy.hold();
        else if (kind === 'lose') proxy.lose();
        else proxy.cut(kind);
      }
    }
  }

  /** Waits until every load has its outcome, every device is up and every program has what it is to have. Answers what did not come about. */
  async #settle(): Promise<string[]> {
    const conditions: [string, () => Promise<boolean>][] = [
      ['every device is connected', () => this.#areConnected(this.#devices.length)],
      ['every load has an outcome', () => this.#haveOutcomes()],
      ['every program that has an end has ended, and every interrupted access was retried', () => this.#haveProgramsSettled()],
    ];
    const deadline = Date.now() + patience;
    const missed: string[] = [];
    for (const [what, ask] of conditions) {
      if (!(await cameAbout(ask, deadline - Date.now()))) missed.push(`it did not come about in ${patience / 1_000} s that ${what}`);
      this.#say(what);
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
    const programs = await inParallel(this.#devices, atOnce, (device) => readPrograms(this.#client, device));
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

  async #judge(unsettled: readonly string[], settledMilliseconds: number): Promise<ChaosResult> {
    const reading = await readEverything(this.#patientClient);
    const { violations, ...verdict } = check(reading, { loads: this.#requester.accepted, batches: this.#requester.batches });
    const ends = [...this.#services, ...this.#hosts].flatMap(({ ownEnd }) => ownEnd ?? []);
    const all = [...unsettled, ...this.#failedStarts, ...ends, ...this.#requester.surprises, ...violations];
    const programs = reading.devices.flatMap((device) => device.programs);
    const ended = (how: string) => reading.loads.filter(({ outcome }) => outcome === how).length;
    const counts: ChaosCounts = {
      devices: reading.devices.length,
      kills: this.#serviceKills + this.#hostKills + this.#databaseKills,
      serviceKills: this.#serviceKills,
      hostKills: this.#hostKills,
      databaseKills: this.#databaseKills,
      ...totalOf(this.#proxies.map((proxy) => proxy.counts)),
      databaseFaults: sum(this.#databaseProxies.map(({ counts }) => faultsIn(counts))),
      requests: this.#requester.requests,
      repeats: this.#requester.repeats,
      loads: this.#requester.accepted.length,
      ...verdict,
      installed: reading.loads.filter(({ outcome }) => outcome?.startsWith('replaced') || outcome === 'installed').length,
      expired: ended('expired'),
      cancelled: ended('cancelled'),
      superseded: ended('superseded'),
      reportedLate: reading.events.filter(({ action }) => action === 'load.reported-late').length,
      interrupted: sum(reading.loads.map(({ interrupted }) => interrupted ?? 0)),
      programs: programs.length,
      callsCompleted: sum(programs.map(({ statistics }) => statistics?.callsCompleted ?? 0)),
      events: reading.events.length,
      settledMilliseconds: Math.round(settledMilliseconds),
      milliseconds: Math.round(performance.now() - this.#began),
    };
    if (all.length > 0) this.#say(this.#tails());
    return { counts, violations: all };
  }

  #tails(): string {
    return [...this.#services, ...this.#hosts].map(({ name, tail }) => `--- last lines of ${name}:\n${tail}`).join('\n');
  }

  #say(text: string): void {
    this.#options.log(`${((performance.now() - this.#began) / 1_000).toFixed(1).padStart(6)} s  ${text}`);
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function totalOf(counts: readonly FaultCounts[]): FaultCounts {
  const total = (name: keyof FaultCounts) => sum(counts.map((one) => one[name]));
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

/** The address of a server by way of a proxy. */
function through(proxy: FaultProxy | undefined, server: URL): string {
  const url = new URL(server);
  url.port = String(proxy?.port ?? server.port);
  return url.href;
}
