// A simulated host without real devices: it follows its orders, reports devices as attached, and never reports loads.

import { randomUUID } from 'node:crypto';
import { ControlConnection } from '../../src/host/control-connection.ts';
import { agentLimits, type HostRegistration, type Order, type Report } from '../../src/protocol/agent.ts';
import { DeviceState } from '../../src/protocol/device-state.ts';
import type { Labels } from '../../src/protocol/identifiers.ts';
import { splitIntoChunks } from '../../src/service/database/chunks.ts';
import type { Installation } from './installation.ts';

export class SimulatedHost {
  /** Loads that it has received. */
  loads = 0;
  readonly #connection: ControlConnection;
  readonly #bootId = randomUUID();
  readonly #stop = new AbortController();
  #attached: Report[] = [];

  /** Registers, and follows its orders. */
  static async start(installation: Installation, name: string, devices: number, labels: Labels): Promise<SimulatedHost> {
    const host = new SimulatedHost(installation);
    const registered = await host.#connection.register(registrationOf(name, host.#bootId, devices, labels));
    host.#follow(registered.host).catch((error) => {
      // A caller that waits for an effect times out.
      if (!host.#stop.signal.aborted) process.stderr.write(`the host ${name} has ended: ${error}\n`);
    });
    return host;
  }

  private constructor({ url, joinToken }: Installation) {
    this.#connection = new ControlConnection(url, joinToken, this.#stop.signal);
  }

  close(): void {
    this.#stop.abort();
  }

  async #follow(host: string): Promise<void> {
    const timer = setInterval(() => {
      const reports = this.#attached;
      this.#attached = [];
      for (const some of splitIntoChunks(reports, agentLimits.reportsPerRequest))
        this.#connection.report(host, this.#bootId, JSON.stringify(some)).catch((error) => {
          if (!this.#stop.signal.aborted) process.stderr.write(`a report of the host ${host} was not taken: ${error}\n`);
        });
    }, 100);
    try {
      const fail = (reason: string) => {
        throw new Error(reason);
      };
      await this.#connection.receiveOrders(host, this.#bootId, {
        onOrder: async (order) => this.#accept(order),
        onMalformed: fail,
        // A service under load may respond later than the stream timeout.
        onPolling: () => {},
      });
    } finally {
      clearInterval(timer);
    }
  }

  #accept({ kind, order, device }: Order): void {
    if (kind === 'load') this.loads += 1;
    if (kind === 'attach-device') this.#attached.push({ kind: 'device-attached', order, device, state: emptyState(), failure: null });
  }
}

/** Returns the registration of a host with a number of devices. */
export function registrationOf(name: string, bootId: string, devices: number, labels: Labels): HostRegistration {
  return {
    name,
    bootId,
    capacity: Math.max(1, devices),
    capabilities: [],
    devices: Array.from({ length: devices }, (_, index) => ({ name: `${name}-${index + 1}`, labels, ramPages: 256 })),
  };
}

let lastSequence = 0;

function emptyState(): DeviceState {
  lastSequence += 1;
  return DeviceState.parse({
    sequence: lastSequence,
    at: new Date().toISOString(),
    moduleTable: [],
    memoryMap: { pageBytes: 4096, pages: 256, usedPages: 0, ranges: [] },
    programs: [],
    abiViolations: { total: 0, newest: [] },
  });
}
