// A TCP proxy that simulates a faulty network: it cuts and half-closes connections, delays, holds and drops bytes, and duplicates requests.

import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { pause } from './async.ts';
import type { Random } from './random.ts';
import { RequestRecorder } from './request-recorder.ts';

/** Number of faults of each kind. */
export type FaultCounts = {
  connections: number;
  cutsByReset: number;
  cutsByEnd: number;
  halfCloses: number;
  delays: number;
  holds: number;
  /** Connections on which bytes are dropped silently. */
  losses: number;
  /** Duplicate requests that got a response. */
  duplicates: number;
};

/** Maximum concurrent connections. */
const connectionLimit = 256;
/** Maximum pending duplicates. */
const duplicateLimit = 64;
const delayMilliseconds = { min: 5, max: 300 } as const;
const holdMilliseconds = { min: 200, max: 2_500 } as const;
/** Delay of a duplicate request. */
const duplicateMilliseconds = { min: 1, max: 4_000 } as const;
const duplicateProbability = 0.3;
/** Maximum wait for the response to a duplicate, in milliseconds. */
const responseMilliseconds = 10_000;

type Direction = 'to-service' | 'to-client';
type Cut = 'reset' | 'end';
const faultKinds = ['reset', 'end', 'half-close', 'delay', 'delay', 'hold'] as const;
type Fault = { readonly kind: (typeof faultKinds)[number] | 'lose'; readonly direction: Direction; bytesLeft: number };

/** The probability that a fault is a silent loss, the bytes before a fault, and whether requests are duplicated. */
type NetworkProfile = {
  readonly lossProbability: number;
  readonly bytesBeforeFault: { readonly min: number; readonly max: number };
  readonly duplicatesRequests: boolean;
};

/** Between clients or hosts and the service. */
const requestNetwork: NetworkProfile = {
  lossProbability: 0,
  bytesBeforeFault: { min: 500, max: 1_000_000 },
  duplicatesRequests: true,
};
/** Between a replica and its database: few long-lived connections with much traffic. */
export const databaseNetwork: NetworkProfile = {
  // It takes half a minute until a replica closes a lost connection.
  lossProbability: 0.03,
  bytesBeforeFault: { min: 20_000, max: 1_000_000 },
  duplicatesRequests: false,
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
  readonly network: NetworkProfile;
  readonly #servicePorts: readonly number[];
  readonly #server: Server;
  readonly #links = new Set<Link>();
  readonly #duplicates = new Set<NodeJS.Timeout>();
  #isFaulty = false;
  #port = 0;

  /** Creates a proxy without faults. @param servicePorts Ports of the replicas; each connection goes to any of them. */
  constructor(servicePorts: readonly number[], random: Random, network: NetworkProfile = requestNetwork) {
    this.random = random;
    this.network = network;
    this.#servicePorts = servicePorts;
    // A client is not read before its connection to the service exists.
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

  /** Starts faults. */
  startFaults(): void {
    this.#isFaulty = true;
    for (const link of this.#links) link.drawFault();
  }

  /** Stops faults; from then on the proxy only forwards bytes. */
  endFaults(): void {
    this.#isFaulty = false;
    for (const timer of this.#duplicates) clearTimeout(timer);
    this.#duplicates.clear();
    for (const link of this.#links) link.release();
  }

  /** Cuts every connection. */
  cut(cut: Cut): void {
    for (const link of this.#links) link.cut(cut);
  }

  /** Drops all further bytes of the current connections silently. */
  lose(): void {
    for (const link of this.#links) link.lose();
  }

  /** Holds the bytes of every connection for a random time. */
  hold(): void {
    for (const link of this.#links) link.hold(this.random.integer(holdMilliseconds.min, holdMilliseconds.max));
  }

  async close(): Promise<void> {
    this.endFaults();
    for (const link of this.#links) link.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** Sends a duplicate of a request later, on its own connection. */
  scheduleDuplicate(request: Buffer): void {
    if (!this.#isFaulty || this.#duplicates.size >= duplicateLimit || !this.random.happens(duplicateProbability)) return;
    const timer = setTimeout(
      () => {
        this.#duplicates.delete(timer);
        void this.#send(request);
      },
      this.random.logUniform(duplicateMilliseconds.min, duplicateMilliseconds.max),
    );
    this.#duplicates.add(timer);
  }

  async #send(request: Buffer): Promise<void> {
    const socket = await this.#connectToAny();
    if (socket === null) return;
    socket.setTimeout(responseMilliseconds, () => socket.destroy());
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

  /** Connects to any reachable replica; returns null if there is none. */
  async #connectToAny(): Promise<Socket | null> {
    const first = this.random.integer(0, this.#servicePorts.length - 1);
    for (const index of this.#servicePorts.keys()) {
      const port = this.#servicePorts[(first + index) % this.#servicePorts.length] ?? 0;
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
      const isConnected = await once(socket, 'connect').then(
        () => true,
        () => false,
      );
      if (isConnected) return socket;
    }
    return null;
  }
}

/** A client connection, and its connection to the service. */
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
    // Errors also end the loops that forward bytes.
    for (const socket of [client, service]) socket.on('error', () => this.destroy());
  }

  /** Forwards bytes until both directions have ended. */
  async run(): Promise<void> {
    try {
      await Promise.all([
        this.#forward('to-service', this.#client, this.#service),
        this.#forward('to-client', this.#service, this.#client),
      ]);
    } catch {
      // If one connection is closed, close the other.
      reset(this.#client);
      reset(this.#service);
    }
    this.destroy();
  }

  /** Chooses the next fault of the connection. */
  drawFault(): void {
    const { random, isFaulty, network } = this.#proxy;
    const { lossProbability, bytesBeforeFault } = network;
    if (!isFaulty) return;
    this.#fault = {
      kind: random.happens(lossProbability) ? 'lose' : random.pick(faultKinds),
      direction: random.pick(['to-service', 'to-client'] as const),
      bytesLeft: random.logUniform(bytesBeforeFault.min, bytesBeforeFault.max),
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

  /** Holds the bytes of both directions. */
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

  /** Reads bytes from both ends and forwards none, until either end closes the connection. */
  lose(): void {
    if (this.#isLost) return;
    this.#proxy.counts.losses += 1;
    this.#isLost = true;
    this.release();
  }

  /** Removes the pending fault and ends a hold; a lost connection remains lost. */
  release(): void {
    this.#fault = null;
    this.#held?.release();
  }

  destroy(): void {
    this.release();
    this.#client.destroy();
    this.#service.destroy();
  }

  /** Forwards bytes with backpressure. */
  async #forward(direction: Direction, from: Socket, to: Socket): Promise<void> {
    for await (const chunk of chunksOf(from)) {
      if (direction === 'to-service' && this.#proxy.network.duplicatesRequests)
        for (const request of this.#recorder.extractRequests(chunk)) this.#proxy.scheduleDuplicate(request);
      const forwarded = await this.#applyFault(direction, chunk, to);
      if (this.#isEnded[direction] || this.#isLost) continue;
      if (!to.write(forwarded)) await waitUntilWritable(to);
    }
    // The end of a lost connection is not forwarded either.
    if (!this.#isEnded[direction] && !this.#isLost) to.end();
  }

  /** Applies the fault if it is due. Returns the bytes to forward. */
  async #applyFault(direction: Direction, chunk: Uint8Array, to: Socket): Promise<Uint8Array> {
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
        await pause(this.#proxy.random.logUniform(delayMilliseconds.min, delayMilliseconds.max));
        return chunk;
      case 'hold':
        this.hold(this.#proxy.random.integer(holdMilliseconds.min, holdMilliseconds.max));
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

/** Yields what a socket receives; its other direction stays open afterwards. */
function chunksOf(socket: Socket): AsyncIterable<Uint8Array> {
  return socket.iterator({ destroyOnReturn: false });
}

/** Resets a connection. A connection that is being closed is destroyed instead, because Node would leak the socket. */
function reset(socket: Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy();
  else socket.resetAndDestroy();
}

/** Resolves when a socket accepts more bytes. @throws {Error} if it is closed. */
async function waitUntilWritable(socket: Socket): Promise<void> {
  if (socket.destroyed) throw new Error('the connection is closed');
  const controller = new AbortController();
  const { signal } = controller;
  try {
    await Promise.race([once(socket, 'drain', { signal }), once(socket, 'close', { signal })]);
  } finally {
    controller.abort();
  }
}
