// One service without its API: every domain, given what it uses, over one database and one compiler. Knows no HTTP.

import { type BaseLogger, pino } from 'pino';
import { Compiler } from '../compiler/compiler.ts';
import { Agents } from './agents/agents.ts';
import { attachNewDevices } from './agents/reattach-devices.ts';
import { AuditTrail } from './audit/audit-trail.ts';
import { Checkpoints } from './audit/checkpoints.ts';
import { EventFeed } from './audit/event-feed.ts';
import { logEvents } from './audit/event-log.ts';
import { type Clock, systemTime, type TimeSource } from './clock/service-clock.ts';
import { TimeKeeper } from './clock/time-keeper.ts';
import type { Connection } from './database/connection.ts';
import { DamagedRows } from './database/damaged-rows.ts';
import { DatabaseFileMonitor } from './database/file-monitor.ts';
import type { RecurringJob } from './database/recurring-job.ts';
import { Store } from './database/store.ts';
import { Devices } from './devices/devices.ts';
import { Health } from './health/health.ts';
import { Metrics } from './health/metrics.ts';
import { History } from './history/history.ts';
import { Hosts } from './hosts/hosts.ts';
import { Reachability } from './hosts/reachability.ts';
import { IdempotencyStore } from './idempotency/idempotency-store.ts';
import { Denials } from './keys/denials.ts';
import { Keys } from './keys/keys.ts';
import { KeyRecords } from './keys/repository.ts';
import { Loads } from './loads/loads.ts';
import { LoadRecords } from './loads/repository.ts';
import { Builds } from './modules/builds.ts';
import { OrderDispatcher } from './orders/order-dispatcher.ts';
import { recompileDrivers } from './programs/drivers.ts';
import { Programs } from './programs/programs.ts';
import { backfillProvenance, Provenance } from './provenance/provenance.ts';
import { PublisherKeys } from './publisher-keys/publisher-keys.ts';
import { type RetentionSettings, schedulePruning } from './retention/retention.ts';
import { Rollbacks } from './rollbacks/rollbacks.ts';
import { Rollouts } from './rollouts/rollouts.ts';
import { settleUnreportedLoads } from './rollouts/settlement.ts';
import { SignaturePolicies } from './signature-policies/signature-policies.ts';
import { SigningKeyRecords } from './signing-keys/repository.ts';
import { type SigningKeySettings, SigningKeys } from './signing-keys/signing-keys.ts';

export type InstallationSettings = {
  /** What a host must show to register. */
  readonly joinToken: string;
  /** Milliseconds of silence after which a host is unreachable. */
  readonly unreachableAfter: number;
  readonly signingKeys: Omit<SigningKeySettings, 'beforeFirst'>;
  readonly retention: RetentionSettings;
  /** Keeps the secret of the key of the role `admin` that is made. */
  readonly adminKey: { readonly when: 'first start' | 'always'; readonly keep: (secret: string) => void } | null;
  /** Called before a database is made, or the first keys in one that has none; where it throws, none is. */
  readonly beforeCreation?: () => void;
  /** Whether the service starts although its SQLite file lost transactions while it was down. */
  readonly acceptLostTransactions?: boolean;
  /** What is wrong around the service, in words, for the health of the fleet. */
  readonly environmentFaults?: () => readonly string[];
  /** One that is shared with others in this process, who close it; without it, it has one of its own. */
  readonly sharedCompiler?: Compiler;
  /** Where time comes from; without it, the clocks of the machine. */
  readonly time?: TimeSource;
};

/** What the domains are made of. */
type Parts = {
  readonly store: Store;
  readonly compiler: Compiler;
  readonly orderDispatcher: OrderDispatcher;
  readonly signingKeys: SigningKeys;
  readonly clock: Clock;
  readonly damagedRows: DamagedRows;
  readonly timeKeeper: TimeKeeper;
};

export class Installation {
  readonly agents: Agents;
  readonly idempotencyStore: IdempotencyStore;
  readonly auditTrail: AuditTrail;
  readonly builds: Builds;
  readonly checkpoints: Checkpoints;
  readonly damagedRows: DamagedRows;
  readonly denials: Denials;
  readonly devices: Devices;
  readonly events: EventFeed;
  readonly health: Health;
  readonly history: History;
  readonly hosts: Hosts;
  readonly keys: Keys;
  readonly loads: Loads;
  readonly metrics = new Metrics();
  readonly programs: Programs;
  readonly provenance: Provenance;
  readonly publisherKeys: PublisherKeys;
  readonly signaturePolicies: SignaturePolicies;
  readonly signingKeys: SigningKeys;
  readonly rollbacks: Rollbacks;
  readonly rollouts: Rollouts;
  readonly #parts: Parts;
  readonly #reachability: Reachability;
  readonly #environmentFaults: () => readonly string[];
  /** Null where the compiler is shared with others. */
  readonly #ownCompiler: Compiler | null;
  /** What is done once in the whole installation, beside the rollouts. */
  readonly #shared: readonly RecurringJob[];
  readonly #keepingUses: RecurringJob;
  readonly #databaseWatch: DatabaseFileMonitor;

  private constructor(parts: Parts, settings: InstallationSettings, logger: BaseLogger) {
    const { store, orderDispatcher, signingKeys, damagedRows, timeKeeper } = parts;
    const { joinToken, unreachableAfter, retention, sharedCompiler, environmentFaults = () => [] } = settings;
    this.#parts = parts;
    this.#ownCompiler = sharedCompiler === undefined ? parts.compiler : null;
    this.#environmentFaults = environmentFaults;
    this.#databaseWatch = new DatabaseFileMonitor(store, logger);
    this.#reachability = new Reachability(parts, unreachableAfter);
    this.idempotencyStore = new IdempotencyStore(parts);
    this.builds = new Builds(parts);
    this.checkpoints = new Checkpoints(store, signingKeys);
    this.auditTrail = new AuditTrail(store, this.checkpoints);
    this.damagedRows = damagedRows;
    this.denials = new Denials(store);
    this.devices = new Devices(store, attachNewDevices);
    this.events = new EventFeed(store);
    this.history = new History(store);
    this.hosts = new Hosts(store, this.#reachability, joinToken);
    this.agents = new Agents({ ...parts, hosts: this.hosts });
    this.keys = new Keys(store);
    this.loads = new Loads(parts, settleUnreportedLoads);
    this.programs = new Programs(parts, this.devices);
    this.provenance = new Provenance(store);
    this.publisherKeys = new PublisherKeys(store);
    this.signaturePolicies = new SignaturePolicies(store);
    this.signingKeys = signingKeys;
    this.rollbacks = new Rollbacks(parts, settleUnreportedLoads);
    this.rollouts = new Rollouts(parts);
    this.health = new Health({
      ...parts,
      metrics: this.metrics,
      faults: () => this.#faults(),
      processGauges: () => ({
        reportBatchesInProgress: this.agents.reportBatchesInProgress,
        eventStreams: this.events.followers,
        orderStreams: orderDispatcher.streamCount,
      }),
    });
    this.#follow(store, logger);
    this.#keepingUses = this.keys.recordUsesPeriodically();
    this.#shared = [
      this.loads.startExpiring(),
      schedulePruning({ store, checkpoints: this.checkpoints, timeKeeper }, retention),
      this.checkpoints.createPeriodically(),
    ];
  }

  /**
   * Opens a database, made if need be.
   * @param database A SQLite file, or the address of a database of PostgreSQL.
   * @param logger Told what was done; by default nobody is.
   * @throws {MigrationError} {SigningKeyError} {DatabaseInUse} where another service has the file. {TransactionsLost} where the file lost some.
   */
  static async open(
    database: string,
    settings: InstallationSettings,
    logger: BaseLogger = pino({ enabled: false }),
  ): Promise<Installation> {
    const { beforeCreation = () => {}, acceptLostTransactions: areLostTransactionsAccepted = false } = settings;
    const onLostTransactions = (loss: string) =>
      logger.error(`${loss}: the service continues without them, because its start accepts lost transactions`);
    const options = areLostTransactionsAccepted ? { onLostTransactions } : {};
    const store = await Store.open(database, { isExclusive: true, beforeCreation, ...options });
    const { isCreation, signingKeys } = await openSigningKeys(store, {
      ...settings.signingKeys,
      beforeFirst: (connection) => checkCreation(connection, beforeCreation),
    }).catch(async (error: unknown) => {
      await store.close();
      throw error;
    });
    const timeKeeper = await TimeKeeper.start(store, settings.time ?? systemTime);
    const { clock } = timeKeeper;
    const damagedRows = new DamagedRows();
    store.onUnreadable((row) => damagedRows.recordUnreadable(row));
    const compiler = settings.sharedCompiler ?? new Compiler();
    const parts = {
      store,
      compiler,
      orderDispatcher: new OrderDispatcher(store, clock, (connection, loads, at) => new LoadRecords(connection).setDispatched(loads, at)),
      signingKeys,
      clock,
      damagedRows,
      timeKeeper,
    };
    const installation = new Installation(parts, settings, logger);
    try {
      await backfillProvenance(parts);
      await recompileDrivers(parts);
      if (settings.adminKey !== null) await installation.keys.createAdmin(settings.adminKey.when, settings.adminKey.keep);
      if (isCreation) await store.checkpointLog();
      return installation;
    } catch (error) {
      await installation.close();
      throw error;
    }
  }

  /** Ends every host's stream of orders and every follower's of events, so that the server can close. */
  endStreams(): void {
    this.health.close();
    this.#parts.orderDispatcher.close();
    this.events.close();
    this.rollouts.closeStreams();
  }

  async close(): Promise<void> {
    this.endStreams();
    for (const work of this.#shared) await work.stop();
    await this.rollouts.stop();
    await this.#reachability.stop();
    await this.#parts.timeKeeper.stop();
    await this.#keepingUses.stop();
    await this.#databaseWatch.stop();
    // A database that takes no writes any more does not keep the service from closing.
    await this.keys.recordUses().catch(() => {});
    await this.checkpoints.create().catch(() => {});
    await this.#ownCompiler?.close();
    await this.#parts.store.close();
  }

  /** Tells the log, the measurements and those who follow what transactions have done. */
  #follow(store: Store, logger: BaseLogger): void {
    store.onTransactionEnd((end) => {
      this.metrics.observeTransaction(end);
      if (end.result === 'rolled-back') return;
      logEvents(logger, end.events);
    });
    store.onChange((news) => {
      this.#parts.orderDispatcher.notify(news);
      if (news.events) this.events.notify();
      if (news.loads) this.rollouts.wake();
    });
  }

  /** What is wrong with the service and around it, in words. */
  #faults(): readonly string[] {
    const { store, timeKeeper } = this.#parts;
    const ownFaults = [store.fault(), this.checkpoints.fault].filter((fault) => fault !== null);
    return [...ownFaults, ...this.#environmentFaults(), ...timeKeeper.faults, ...this.rollouts.faults];
  }
}

async function openSigningKeys(store: Store, settings: SigningKeySettings) {
  const isCreation = !(await hasKeys(store.readConnection));
  return { isCreation, signingKeys: await SigningKeys.open(store, settings) };
}

/** Whether a database has signing keys or API keys; without them it is new, or has lost what was in it. */
async function hasKeys(connection: Connection): Promise<boolean> {
  return (await new SigningKeyRecords(connection).count()) > 0 || (await new KeyRecords(connection).count({})) > 0;
}

/** Has a database that is new checked before its first key is kept. */
async function checkCreation(connection: Connection, beforeCreation: () => void): Promise<void> {
  if (!(await hasKeys(connection))) beforeCreation();
}
