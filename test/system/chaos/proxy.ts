// A TCP proxy that is a bad network: it cuts connections, delays, holds and loses their bytes, closes half of them, and sends requests once more.

import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { pause } from './async.ts';
import type { Random } from './random.ts';
import { RequestRecorder } from './recorder.ts';

/** What a proxy has done. */
export type FaultCounts = {
  connections: number;
  cutsByReset: number;
  cutsByEnd: number;
  halfCloses: number;
  delays: number;
  holds: number;
  /** Connections that were there, and on which nothing came through any more. */
  losses: number;
  /** Requests that were sent once more and answered. */
  duplicates: number;
};

/** Connections at once; more are refused. */
const connectionLimit = 256;
/** Requests that wait to be sent once more. */
const duplicateLimit = 64;
const delayMilliseconds = { least: 5, most: 300 } as const;
const holdMilliseconds = { least: 200, most: 2_500 } as const;
/** A request that is sent once more comes this much later. */
const duplicateMilliseconds = { least: 1, most: 4_000 } as const;
const duplicateProbability = 0.3;
/** How long the answer to such a request is waited for, in milliseconds. */
const answerMilliseconds = 10_000;

type Direction = 'to-service' | 'to-client';
type Cut = 'reset' | 'end';
const faultKinds = ['reset', 'end', 'half-close', 'delay', 'delay', 'hold'] as const;
type Fault = { readonly kind: (typeof faultKinds)[number] | 'lose'; readonly direction: Direction; bytesLeft: number };

/** What is between the two ends: how likely it is that the fault of a connection is that it is lost, after how many bytes it comes, and whether its requests are sent once more. */
type Network = {
  readonly lossProbability: number;
  readonly bytesBeforeFault: { readonly least: number; readonly most: number };
  readonly sendsAgain: boolean;
};

/** Between those who make requests and the service. */
const requestNetwork: Network = {
  lossProbability: 0,
  bytesBeforeFault: { least: 500, most: 1_000_000 },
  sendsAgain: true,
};
/** Between a replica of the service and its database: a replica has few connections, which stay and carry much. */
export const databaseNetwork: Network = {
  // It takes half a minute until one is given up, with what it was asked.
  lossProbability: 0.03,
  bytesBeforeFault: { least: 20_000, most: 1_000_000 },
  sendsAgain: false,
};

export class FaultProxy {
  readonly counts: FaultCounts = {
    connections: 0,
    cutsByReset: 0,
    cutsByEnd: 0,
    halfCloses: 0,
    delays: 0,
    holds: 0,
    losses: 0,
    duplicates: 0,
  };
  readonly random: Random;
  readonly network: Network;
  readonly #servicePorts: readonly number[];
  readonly #server: Server;
  readonly #links = new Set<Link>();
  readonly #duplicates = new Set<NodeJS.Timeout>();
  #isFaulty = false;
  #port = 0;

  /** Does no harm until it is told to. @param servicePorts Of the replicas, any of which gets a connection. */
  constructor(servicePorts: readonly number[], random: Random, network: Network = requestNetwork) {
    this.random = random;
    this.network = network;
    this.#servicePorts = servicePorts;
    // A client is not read before there is somebody who hears it.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (client) => void this.#accept(client));
    this.#server.maxConnections = connectionLimit;
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get isFaulty(): boolean {
    return this.#isFaulty;
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    this.#port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  }

  /** From now on it is a bad network. */
  startFaults(): void {
    this.#isFaulty = true;
    for (const link of this.#links) link.drawFault();
  }

  /** From now on it only passes bytes on. */
  endFaults(): void {
    this.#isFaulty = false;
    for (const timer of this.#duplicates) clearTimeout(timer);
    this.#duplicates.clear();
    for (const link of this.#links) link.release();
  }

  /** Cuts every connection at once. */
  cut(cut: Cut): void {
    for (const link of this.#links) link.cut(cut);
  }

  /** From now on nothing comes through on the connections that there are, and neither end is told. */
  lose(): void {
    for (const link of this.#links) link.lose();
  }

  /** Holds the bytes of every connection for a while. */
  hold(): void {
    for (const link of this.#links) link.hold(this.random.integer(holdMilliseconds.least, holdMilliseconds.most));
  }

  async close(): Promise<void> {
    this.endFaults();
    for (const link of this.#links) link.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** Sends a request once more, later and on a connection of its own. */
  sendAgain(request: Buffer): void {
    if (!this.#isFaulty || this.#duplicates.size >= duplicateLimit || !this.random.chance(duplicateProbability)) return;
    const timer = setTimeout(
      () => {
        this.#duplicates.delete(timer);
        void this.#send(request);
      },
      this.random.magnitude(duplicateMilliseconds.least, duplicateMilliseconds.most),
    );
    this.#duplicates.add(timer);
  }

  async #send(request: Buffer): Promise<void> {
    const socket = await this.#connectToAny();
    if (socket === null) return;
    socket.setTimeout(answerMilliseconds, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.once('data', () => {
      this.counts.duplicates += 1;
      socket.destroy();
    });
    socket.write(request);
  }

  async #accept(client: Socket): Promise<void> {
    this.counts.connections += 1;
    client.on('error', () => client.destroy());
    const service = await this.#connectToAny();
    if (service === null) return reset(client);
    const link = new Link(client, service, this);
    this.#links.add(link);
    await link.run().finally(() => this.#links.delete(link));
  }

  /** A connection to any replica that there is; null where there is none. */
  async #connectToAny(): Promise<Socket | null> {
    const first = this.random.integer(0, this.#servicePorts.length - 1);
    for (const index of this.#servicePorts.keys()) {
      const port = this.#servicePorts[(first + index) % this.#servicePorts.length] ?? 0;
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
      const isThere = await once(socket, 'connect').then(
        () => true,
        () => false,
      );
      if (isThere) return socket;
    }
    return null;
  }
}

/** One connection of a client's, and the one to the service that carries it on. */
class Link {
  readonly #client: Socket;
  readonly #service: Socket;
  readonly #proxy: FaultProxy;
  readonly #recorder = new RequestRecorder();
  readonly #isEnded = { 'to-service': false, 'to-client': false };
  #fault: Fault | null = null;
  #held: { readonly until: Promise<void>; readonly release: () => void } | null = null;
  #isLost = false;

  constructor(client: Socket, service: Socket, proxy: FaultProxy) {
    this.#client = client;
    this.#service = service;
    this.#proxy = proxy;
    this.drawFault();
    // What goes wrong with either shows in the loops that carry the bytes.
    for (const socket of [client, service]) socket.on('error', () => this.destroy());
  }

  /** Carries bytes until both directions have ended. */
  async run(): Promise<void> {
    try {
      await Promise.all([this.#carry('to-service', this.#client, this.#service), this.#carry('to-client', this.#service, this.#client)]);
    } catch {
      // One of the two is gone: so is the other.
      reset(this.#client);
      reset(this.#service);
    }
    this.destroy();
  }

  /** Chooses what is to go wrong with the connection next. */
  drawFault(): void {
    const { random, isFaulty, network } = this.#proxy;
    const { lossProbability, bytesBeforeFault } = network;
    if (!isFaulty) return;
    this.#fault = {
      kind: random.chance(lossProbability) ? 'lose' : random.pick(faultKinds),
      direction: random.pick(['to-service', 'to-client'] as const),
      bytesLeft: random.magnitude(bytesBeforeFault.least, bytesBeforeFault.most),
    };
  }

  cut(cut: Cut): void {
    this.#proxy.counts[cut === 'reset' ? 'cutsByReset' : 'cutsByEnd'] += 1;
    this.release();
    for (const socket of [this.#client, this.#service]) {
      if (cut === 'reset') reset(socket);
      else socket.destroySoon();
    }
  }

  /** Keeps the bytes of both directions back. */
  hold(milliseconds: number): void {
    if (this.#held !== null) return;
    this.#proxy.counts.holds += 1;
    const { promise, resolve } = Promise.withResolvers<void>();
    const release = () => {
      clearTimeout(timer);
      this.#held = null;
      resolve();
    };
    const timer = setTimeout(release, milliseconds);
    this.#held = { until: promise, release };
  }

  /** Takes bytes from both ends and passes none on, until either gives the connection up. */
  lose(): void {
    if (this.#isLost) return;
    this.#proxy.counts.losses += 1;
    this.#isLost = true;
    this.release();
  }

  /** Nothing more goes wrong with the connection; what is lost stays lost. */
  release(): void {
    this.#fault = null;
    this.#held?.release();
  }

  destroy(): void {
    this.release();
    this.#client.destroy();
    this.#service.destroy();
  }

  /** Reads no more than it can write: what waits, waits at the sender. */
  async #carry(direction: Direction, from: Socket, to: Socket): Promise<void> {
    for await (const chunk of chunksOf(from)) {
      if (direction === 'to-service' && this.#proxy.network.sendsAgain)
        for (const request of this.#recorder.take(chunk)) this.#proxy.sendAgain(request);
      const passed = await this.#suffer(direction, chunk, to);
      if (this.#isEnded[direction] || this.#isLost) continue;
      if (!to.write(passed)) await writable(to);
    }
    // Whoever has given up a connection that is lost cannot tell the other end either.
    if (!this.#isEnded[direction] && !this.#isLost) to.end();
  }

  /** Lets the fault happen if it is its time; answers the bytes that pass. */
  async #suffer(direction: Direction, chunk: Uint8Array, to: Socket): Promise<Uint8Array> {
    await this.#held?.until;
    const fault = this.#fault;
    if (fault === null || fault.direction !== direction) return chunk;
    const before = fault.bytesLeft;
    fault.bytesLeft -= chunk.length;
    if (fault.bytesLeft > 0) return chunk;
    this.drawFault();
    switch (fault.kind) {
      case 'delay':
        this.#proxy.counts.delays += 1;
        await pause(this.#proxy.random.magnitude(delayMilliseconds.least, delayMilliseconds.most));
        return chunk;
      case 'hold':
        this.hold(this.#proxy.random.integer(holdMilliseconds.least, holdMilliseconds.most));
        await this.#held?.until;
        return chunk;
      case 'lose':
        this.lose();
        return chunk;
      case 'half-close':
        this.#proxy.counts.halfCloses += 1;
        this.#isEnded[direction] = true;
        to.end(chunk.subarray(0, before));
        return chunk;
      case 'reset':
      case 'end':
        // The bytes before the cut may arrive.
        to.write(chunk.subarray(0, before));
        this.#isEnded[direction] = true;
        this.cut(fault.kind);
        return chunk;
    }
  }
}

/** What a socket receives; when that ends, its other direction stays open. */
function chunksOf(socket: Socket): AsyncIterable<Uint8Array> {
  return socket.iterator({ destroyOnReturn: false });
}

/** Ends a connection by a reset. While its own end is under way it cannot be reset: the runtime would keep the socket for ever. */
function reset(socket: Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy();
  else socket.resetAndDestroy();
}

/** Resolves when a socket takes more bytes. @throws {Error} when it never will. */
async function writable(socket: Socket): Promise<void> {
  if (socket.destroyed) throw new Error('the connection is gone');
  const heard = new AbortController();
  const { signal } = heard;
  try {
    await Promise.race([once(socket, 'drain', { signal }), once(socket, 'close', { signal })]);
  } finally {
    heard.abort();
  }
}
