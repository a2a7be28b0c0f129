// Control: the rules of builds, devices, programs, loads and hosts, over one database and one compiler. Knows no HTTP.

import { Compiler } from '../compiler/compiler.ts';
import type { AuditFilter, AuditRecord } from '../store/records/audit.ts';
import { Store } from '../store/store.ts';
import { Answers } from './answers.ts';
import { Builds } from './builds.ts';
import { audit, type Context, type PageOf, readPage } from './context.ts';
import { Devices } from './devices.ts';
import { type FleetHealth, fleetHealth } from './fleet.ts';
import { Hosts } from './hosts.ts';
import { Loads } from './loads.ts';
import { OrderBoard } from './order-board.ts';
import { Programs } from './programs.ts';

export class Control {
  readonly answers: Answers;
  readonly builds: Builds;
  readonly devices: Devices;
  readonly hosts: Hosts;
  readonly loads: Loads;
  readonly programs: Programs;
  readonly #context: Context;
  /** Connections are written into the audit trail one after another, in their order. */
  #lastConnectionEvent: Promise<unknown> = Promise.resolve();

  private constructor(store: Store) {
    const orderBoard = new OrderBoard(store, (hostId, connected) => this.#auditConnection(hostId, connected));
    this.#context = { store, compiler: new Compiler(), orderBoard };
    this.answers = new Answers(this.#context);
    this.builds = new Builds(this.#context);
    this.devices = new Devices(this.#context);
    this.hosts = new Hosts(this.#context);
    this.loads = new Loads(this.#context);
    this.programs = new Programs(this.#context, this.devices);
  }

  /** Opens the database file, made if need be. @throws {MigrationError} */
  static async open(databaseFile: string): Promise<Control> {
    return new Control(await Store.open(databaseFile));
  }

  /** The audit trail. */
  auditTrail(
    filter: AuditFilter,
    order: 'asc' | 'desc',
    page: { limit: number; after: number | null },
  ): Promise<PageOf<AuditRecord, number>> {
    return readPage(
      page,
      (wanted) => this.#context.store.records.audit.list(filter, order, wanted),
      ({ number }) => number,
    );
  }

  fleetHealth(): Promise<FleetHealth> {
    return fleetHealth(this.#context);
  }

  /** Whether the service can do its work: the database takes writes. */
  async isReady(): Promise<boolean> {
    return (await this.#context.store.health()).writable;
  }

  /** Ends every host's stream of orders, so that the server can close. */
  disconnectHosts(): void {
    this.#context.orderBoard.close();
  }

  async close(): Promise<void> {
    this.disconnectHosts();
    await this.#lastConnectionEvent;
    await this.#context.compiler.close();
    await this.#context.store.close();
  }

  #auditConnection(hostId: string, connected: boolean): void {
    const at = new Date();
    const entry = { action: connected ? 'host.connected' : 'host.disconnected', object: hostId, detail: {} };
    this.#lastConnectionEvent = this.#lastConnectionEvent
      .then(() => this.#context.store.transaction((records) => audit(records, { actor: 'service', requestId: '' }, at, [entry])))
      // A database that cannot be written to is told by the readiness of the service; here is nobody to answer to.
      .catch(() => {});
  }
}
