// Control: the rules of builds, devices, programs, loads and hosts, over one database and one compiler. Knows no HTTP.

import { Compiler } from '../compiler/compiler.ts';
import type { AuditFilter, AuditRecord } from '../store/records/audit.ts';
import type { PageByTime } from '../store/records/page.ts';
import { Store } from '../store/store.ts';
import { Answers } from './answers.ts';
import { Builds } from './builds.ts';
import { type Context, type PageOf, readPage } from './context.ts';
import { Devices } from './devices.ts';
import { EventFeed } from './events.ts';
import { type FleetHealth, fleetHealth } from './fleet.ts';
import { Hosts } from './hosts.ts';
import { Keys } from './keys.ts';
import { Loads } from './loads.ts';
import { OrderBoard } from './order-board.ts';
import { Programs } from './programs.ts';
import { Reachability } from './reachability.ts';
import { Repeated } from './repeated.ts';

export type ControlSettings = {
  /** What a host must show to register. */
  readonly joinToken: string;
  /** Milliseconds of silence after which a host is unreachable. */
  readonly unreachableAfter: number;
  /** Keeps the secret of the key of the role `admin` that is made. */
  readonly adminKey: { readonly when: 'first start' | 'always'; readonly keep: (secret: string) => void } | null;
};

/** How often deadlines are looked at, in milliseconds. */
const longestSweepInterval = 1_000;
/** How often it is put on disk when keys were last used, in milliseconds. */
const usesInterval = 60_000;

export class Control {
  readonly answers: Answers;
  readonly builds: Builds;
  readonly devices: Devices;
  readonly events: EventFeed;
  readonly hosts: Hosts;
  readonly keys: Keys;
  readonly loads: Loads;
  readonly programs: Programs;
  readonly #context: Context;
  readonly #deadlines: Repeated;
  readonly #uses: Repeated;

  private constructor(reachability: Reachability, context: Context, { joinToken, unreachableAfter }: ControlSettings) {
    this.#context = context;
    this.answers = new Answers(this.#context);
    this.builds = new Builds(this.#context);
    this.devices = new Devices(this.#context);
    this.events = new EventFeed(context.store);
    context.store.onCommit(() => this.events.announce());
    this.hosts = new Hosts(this.#context, reachability, joinToken);
    this.keys = new Keys(this.#context);
    this.loads = new Loads(this.#context);
    this.programs = new Programs(this.#context, this.devices);
    this.#deadlines = new Repeated(Math.min(longestSweepInterval, unreachableAfter / 4), async () => {
      await reachability.sweep();
      await this.loads.expire();
    });
    this.#uses = new Repeated(usesInterval, () => this.keys.keepUses());
  }

  /** Opens the database file, made if need be. @throws {MigrationError} */
  static async open(databaseFile: string, settings: ControlSettings): Promise<Control> {
    const store = await Store.open(databaseFile);
    const context = { store, compiler: new Compiler(), orderBoard: new OrderBoard(store) };
    const reachability = new Reachability(context, settings.unreachableAfter);
    await reachability.begin();
    const control = new Control(reachability, context, settings);
    try {
      if (settings.adminKey !== null) await control.keys.createAdmin(settings.adminKey.when, settings.adminKey.keep);
      return control;
    } catch (error) {
      await control.close();
      throw error;
    }
  }

  /** The audit trail. */
  auditTrail(filter: AuditFilter, page: PageByTime<number>): Promise<PageOf<AuditRecord, PageByTime<number>>> {
    return readPage(
      page,
      (wanted) => this.#context.store.records.audit.list(filter, wanted),
      ({ at, number }) => ({ time: at, key: number }),
    );
  }

  fleetHealth(): Promise<FleetHealth> {
    return fleetHealth(this.#context);
  }

  /** Whether the service can do its work: the database takes writes. */
  async isReady(): Promise<boolean> {
    return (await this.#context.store.health()).writable;
  }

  /** Ends every host's stream of orders and every follower's of events, so that the server can close. */
  endStreams(): void {
    this.#context.orderBoard.close();
    this.events.close();
  }

  async close(): Promise<void> {
    this.endStreams();
    await this.#deadlines.stop();
    await this.#uses.stop();
    await this.keys.keepUses();
    await this.#context.compiler.close();
    await this.#context.store.close();
  }
}
