// A simulated agent over plain HTTP, and its reports.

import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { z } from 'zod';
import type { Schemas } from '../../../src/client/client.ts';
import { isLoadOrder, Order } from '../../../src/protocol/agent.ts';
import { bearer, eventsOf, joinToken, type TestResponse, type TestService, until } from '../test-service.ts';
import type { RequestSchema } from '../typed-paths.ts';

export class Agent {
  readonly orders: Order[] = [];
  bootId = randomUUID();
  /** Set it before the registration; undefined, as of an older agent, leaves it out. */
  capabilities: string[] | undefined = undefined;
  host = '';
  token = '';
  ended = false;
  readonly #service: TestService;
  #stream = new AbortController();

  constructor(service: TestService) {
    this.#service = service;
  }

  /** @param credential The join token, unless it is an agent key or another token. */
  async register(name: string, devices: string[], credential = joinToken) {
    const registration = {
      name,
      bootId: this.bootId,
      capacity: 10,
      ...(this.capabilities === undefined ? {} : { capabilities: this.capabilities }),
      devices: devices.map((device) => ({ name: device, labels: {}, ramPages: 64 })),
    };
    const response = await this.#service.post('/agent/v1/hosts', registration, bearer(credential));
    if (response.status === 201) {
      this.host = String(response.body.host);
      this.token = String(response.body.token);
    }
    return response;
  }

  /** Opens a stream of orders. */
  async connect(headers: Record<string, string> = {}): Promise<void> {
    this.#stream = new AbortController();
    this.ended = false;
    this.orders.length = 0;
    const response = await fetch(`${this.#service.url}/agent/v1/hosts/${this.host}/orders?bootId=${this.bootId}`, {
      headers: { ...bearer(this.token), ...headers },
      signal: this.#stream.signal,
    });
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    this.#read(response).then(
      () => (this.ended = true),
      () => (this.ended = true),
    );
  }

  disconnect(): void {
    this.#stream.abort();
  }

  async order(kind: Order['kind'], count = 1): Promise<Order[]> {
    return until(`${count} orders of the kind ${kind}`, async () => {
      const found = this.orders.filter((order) => order.kind === kind);
      return found.length >= count && found;
    });
  }

  report(...reports: RequestSchema<'Report'>[]) {
    return this.#service.post(`/agent/v1/hosts/${this.host}/reports`, { bootId: this.bootId, reports }, bearer(this.token));
  }

  /** Sends reports without type checks, for example invalid ones. */
  reportRaw(...reports: unknown[]): Promise<TestResponse> {
    return this.#service.postRaw(`/agent/v1/hosts/${this.host}/reports`, { bootId: this.bootId, reports }, bearer(this.token));
  }

  /** Polls for orders. */
  async next(after: number, waitSeconds: number): Promise<Order[]> {
    const path = `/agent/v1/hosts/${this.host}/orders/next?bootId=${this.bootId}&after=${after}&waitSeconds=${waitSeconds}`;
    const { status, body } = await this.#service.get(path, bearer(this.token));
    expect(status).toBe(200);
    return z.object({ orders: z.array(Order) }).parse(body).orders;
  }

  /** Sends a heartbeat. */
  heartbeat() {
    return this.#service.post(`/agent/v1/hosts/${this.host}/heartbeats`, { bootId: this.bootId }, bearer(this.token));
  }

  async #read(response: Response): Promise<void> {
    for await (const event of eventsOf(response)) {
      const order = Order.parse(JSON.parse(event.data));
      expect(event.id).toBe(String(order.sequence));
      this.orders.push(order);
    }
  }
}

type ModuleEntries = Record<string, { version: string; image: string; address: string }>;

let lastSequence = 0;

/** Returns a state with these modules in the module table, newer than every earlier one. */
export function state(modules: ModuleEntries = {}): Schemas['DeviceState'] {
  const moduleTable = Object.entries(modules).map(([module, entry]) => ({ module, ...entry, referenceCount: 0 }));
  const ranges = moduleTable.map(({ module, version, address }) => ({
    address,
    pages: 1,
    owner: { module, version },
    present: true,
    valid: true,
    nx: false,
  }));
  lastSequence += 1;
  return {
    sequence: lastSequence,
    at: new Date().toISOString(),
    moduleTable,
    memoryMap: { pageBytes: 4096, pages: 64, usedPages: ranges.length, ranges },
    programs: [],
  };
}

export const attached = ({ order, device }: Order, modules: ModuleEntries = {}): Schemas['DeviceAttachedReport'] => ({
  kind: 'device-attached',
  order,
  device,
  state: state(modules),
  failure: null,
});

export function loaded(order: Order, address = '0x1000'): Schemas['LoadCompletedReport'] {
  if (order.kind !== 'load') throw new Error('not a load');
  const { module, version, image } = order;
  const current = { version, image, address, pages: 1 };
  const result: Schemas['LoadReport'] = {
    outcome: 'installed',
    reason: null,
    previous: null,
    current,
    interrupted: 0,
    retried: 0,
    failed: 0,
    microseconds: 1,
    steps: [],
  };
  return {
    kind: 'load-completed',
    order: order.order,
    device: order.device,
    load: order.load,
    state: state({ [module]: { version, image, address } }),
    result,
  };
}

const emptyReport = {
  outcome: 'failed',
  reason: null,
  previous: null,
  current: null,
  interrupted: 0,
  retried: 0,
  failed: 0,
  microseconds: 1,
  steps: [],
} as const;

/** Returns the report of an unload, or of a load of a patch set. @param modules The module table after it. */
export function completed(
  order: Order,
  result: Partial<Schemas['LoadReport']>,
  modules: ModuleEntries = {},
): Schemas['LoadCompletedReport'] {
  if (!isLoadOrder(order)) throw new Error('not a load');
  const { device, load } = order;
  return {
    kind: 'load-completed',
    order: order.order,
    device,
    load,
    state: state(modules),
    result: { ...emptyReport, steps: [], ...result },
  };
}

/** Returns the state of a device whose load waits for an access inside the old version. */
export function drainingState(
  { load, module, version, image }: Order & { kind: 'load' },
  waitedMilliseconds = 1_000,
): Schemas['DeviceState'] {
  const draining = { load, operation: 250 as const, module, previousVersion: '1.0.0', accesses: 1, programs: [], waitedMilliseconds };
  return { ...state({ [module]: { version, image, address: '0x2000' } }), draining };
}

/** Registers a simulated host of one device, on which a load of tcp drains, and returns the load. */
export async function startDrain(service: TestService, version: string): Promise<string> {
  const agent = new Agent(service);
  agent.capabilities = ['inject-load', 'cancel-load'];
  await agent.register('draining', ['draining-1']);
  const [attach] = await agent.next(0, 10);
  if (attach === undefined) throw new Error('no order');
  await agent.report(attached(attach));
  const terms = { strategy: 'drain', drainMilliseconds: 600_000 } as const;
  await service.post('/v1/loads', { module: 'tcp', version, devices: [attach.device], ...terms });
  const [order] = await agent.next(attach.sequence, 10);
  if (order?.kind !== 'load') throw new Error('no load');
  await agent.report({ kind: 'device-state', device: order.device, state: drainingState(order) });
  return order.load;
}
