// An installation: every domain with its dependencies, on one database and one compiler. Knows no HTTP.

import { type BaseLogger, pino } from 'pino';
import { Compiler } from '../compiler/compiler.ts';
import type { Tracer } from '../tracing/tracer.ts';
import { Agents } from './agents/agents.ts';
import { attachNewDevices } from './agents/reattach-devices.ts';
import { AuditTrail } from './audit/audit-trail.ts';
import { Checkpoints } from './audit/checkpoints.ts';
import { EventFeed } from './audit/event-feed.ts';
import { logEvents } from './audit/event-log.ts';
import { BuildDeletion } from './build-lifecycle/deletion.ts';
import { Yanking } from './build-lifecycle/yanking.ts';
import { Channels } from './channels/channels.ts';
import { type Clock, systemTime, type TimeSource } from './clock/service-clock.ts';
import { TimeKeeper } from './clock/time-keeper.ts';
import type { Connection } from './database/connection.ts';
import { DamagedRows } from './database/damaged-rows.ts';
import { DatabaseFileMonitor } from './database/file-monitor.ts';
import type { RecurringJob } from './database/recurring-job.ts';
import { Store } from './database/store.ts';
import { Decommissioning } from './decommissioning/decommissioning.ts';
import { scheduleDecommissioning } from './decommissioning/unreachable-hosts.ts';
import { Assignments, assignmentsOfChannel, assignmentsOfGroup } from './desired-state/assignments.ts';
import { Promotions } from './desired-state/promotions.ts';
import { Reconciler } from './desired-state/reconciler.ts';
import { DesiredStates } from './desired-state/status.ts';
import { Devices } from './devices/devices.ts';
import { LabelEdits } from './devices/label-edits.ts';
import { Groups } from './groups/groups.ts';
import { Health } from './health/health.ts';
import { Metrics } from './health/metrics.ts';
import { History } from './history/history.ts';
import { Hosts } from './hosts/hosts.ts';
import { Reachability } from './hosts/reachability.ts';
import { IdempotencyStore } from './idempotency/idempotency-store.ts';
import { Denials } from './keys/denials.ts';
import { Keys } from './keys/keys.ts';
import { KeyRecords } from './keys/repository.ts';
import { LoadBatches } from './load-batches/load-batches.ts';
import { dispatchLoads, HeldLoads } from './loads/held-loads.ts';
import { Loads } from './loads/loads.ts';
import { Unloads } from './loads/unloads.ts';
import { Builds } from './modules/builds.ts';
import { Moves, moveFromUnreachable } from './moves/moves.ts';
import { OrderDispatcher } from './orders/order-dispatcher.ts';
import { PatchSets } from './patch-sets/patch-sets.ts';
import { recompileDrivers } from './programs/drivers.ts';
import { Programs } from './programs/programs.ts';
import { backfillProvenance, Provenance } from './provenance/provenance.ts';
import { PublisherKeys } from './publisher-keys/publisher-keys.ts';
import { type RetentionSettings, schedulePruning } from './retention/retention.ts';
import { Rollbacks } from './rollbacks/rollbacks.ts';
import { Rollouts } from './rollouts/rollouts.ts';
import { settleUnreportedLoads } from './rollouts/settlement.ts';
import { IdentityProvider, type ProviderSettings } from './sign-in/identity-provider.ts';
import { Users } from './sign-in/users.ts';
import { policiesOfGroup, SignaturePolicies } from './signature-policies/signature-policies.ts';
import { SigningKeyRecords } from './signing-keys/repository.ts';
import { type SigningKeySettings, SigningKeys } from './signing-keys/signing-keys.ts';
import { Deliveries } from './webhooks/deliveries.ts';
import { SecretStorage } from './webhooks/secret-storage.ts';
import { Sender } from './webhooks/sender.ts';
import { Webhooks, webhooksOfGroup } from './webhooks/webhooks.ts';

export type InstallationSettings = {
  /** Traces requests, reports and the loads of rollouts; by default nothing does. */
  readonly tracer?: Tracer | null;
  /** The token that hosts register with. */
  readonly joinToken: string;
  /** Milliseconds without contact after which a host is unreachable. */
  readonly unreachableAfter: number;
  /** Milliseconds for which a host is unreachable until it is decommissioned; by default never. */
  readonly decommissionUnreachableAfter?: number | null;
  readonly signingKeys: Omit<SigningKeySettings, 'beforeFirst'>;
  readonly retention: RetentionSettings;
  /** When to create a key with the role `admin`, and a callback that saves its secret; null: never. */
  readonly adminKey: { readonly when: 'first start' | 'always'; readonly keep: (secret: string) => void } | null;
  /** Called before a database is created, or before the first keys in a database without keys; if it throws, nothing is created. */
  readonly beforeCreation?: () => void;
  /** Whether to start even if the SQLite file lost transactions while the service was down. */
  readonly acceptLostTransactions?: boolean;
  /** Returns faults in the environment of the service, as sentences for the fleet health. */
  readonly environmentFaults?: () => readonly string[];
  /** A compiler that other users in this process share and close; by default the installation has its own. */
  readonly sharedCompiler?: Compiler;
  /** The identity provider that people sign in with; by default none. */
  readonly provider?: ProviderSettings | null;
  /** Settings of webhooks; by default they may not use private addresses, and their messages have no links. */
  readonly webhooks?: WebhookSettings;
  /** The time source; by default the clocks of the machine. */
  readonly time?: TimeSource;
};

type WebhookSettings = {
  /** Whether webhooks may connect to private addresses. */
  readonly allowPrivate: boolean;
  /** The URL of the dashboard, without a slash at the end: the source of events, and for links. Null if unknown. */
  readonly publicUrl: string | null;
};

/** The dependencies that the domains share. */
type Dependencies = {
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
  readonly assignments: Assignments;
  readonly auditTrail: AuditTrail;
  readonly builds: Builds;
  readonly channels: Channels;
  readonly checkpoints: Checkpoints;
  readonly damagedRows: DamagedRows;
  readonly decommissioning: Decommissioning;
  readonly denials: Denials;
  readonly desiredStates: DesiredStates;
  readonly devices: Devices;
  readonly events: EventFeed;
  readonly groups: Groups;
  readonly health: Health;
  readonly history: History;
  readonly hosts: Hosts;
  readonly keys: Keys;
  readonly labelEdits: LabelEdits;
  readonly loadBatches: LoadBatches;
  readonly loads: Loads;
  readonly metrics = new Metrics();
  readonly moves: Moves;
  readonly patchSets: PatchSets;
  readonly programs: Programs;
  readonly promotions: Promotions;
  readonly provenance: Provenance;
  readonly publisherKeys: PublisherKeys;
  readonly signaturePolicies: SignaturePolicies;
  readonly signingKeys: SigningKeys;
  readonly rollbacks: Rollbacks;
  readonly rollouts: Rollouts;
  readonly unloads: Unloads;
  readonly users: Users;
  readonly webhooks: Webhooks;
  readonly #deliveries: Deliveries;
  readonly buildDeletion: BuildDeletion;
  readonly yanking: Yanking;
  readonly #dependencies: Dependencies;
  readonly #reachability: Reachability;
  readonly #reconciler: Reconciler;
  readonly #environmentFaults: () => readonly string[];
  /** Null if the compiler is shared. */
  readonly #ownCompiler: Compiler | null;
  /** Jobs that run in one replica at a time, besides those of rollouts. */
  readonly #jobs: readonly RecurringJob[];
  readonly #recordUsesJob: RecurringJob;
  readonly #fileMonitor: DatabaseFileMonitor;

  private constructor(dependencies: Dependencies, settings: InstallationSettings, logger: BaseLogger) {
    const { store, orderDispatcher, signingKeys, damagedRows, timeKeeper } = dependencies;
    const { decommissionUnreachableAfter = null } = settings;
    const { joinToken, unreachableAfter, retention, sharedCompiler, environmentFaults = () => [] } = settings;
    this.#dependencies = dependencies;
    this.#ownCompiler = sharedCompiler === undefined ? dependencies.compiler : null;
    this.#environmentFaults = environmentFaults;
    this.#fileMonitor = new DatabaseFileMonitor(store, logger);
    this.#reachability = new Reachability({ ...dependencies, onUnreachable: moveFromUnreachable }, unreachableAfter);
    this.idempotencyStore = new IdempotencyStore(dependencies);
    this.builds = new Builds(dependencies);
    this.checkpoints = new Checkpoints(dependencies);
    this.auditTrail = new AuditTrail(store, this.checkpoints);
    this.damagedRows = damagedRows;
    this.decommissioning = new Decommissioning(dependencies);
    this.denials = new Denials(dependencies);
    this.devices = new Devices(dependencies, attachNewDevices);
    this.events = new EventFeed(store);
    this.groups = new Groups(dependencies, async (connection, id) => [
      ...(await policiesOfGroup(connection, id)),
      ...(await assignmentsOfGroup(connection, id)),
      ...(await webhooksOfGroup(connection, id)),
    ]);
    this.channels = new Channels(dependencies, assignmentsOfChannel);
    this.history = new History(dependencies);
    this.hosts = new Hosts(dependencies, this.#reachability, joinToken);
    this.agents = new Agents({ ...dependencies, hosts: this.hosts });
    this.keys = new Keys(dependencies);
    this.labelEdits = new LabelEdits(dependencies);
    this.loadBatches = new LoadBatches(dependencies, settleUnreportedLoads);
    this.loads = new Loads(dependencies, settleUnreportedLoads);
    this.moves = new Moves(dependencies);
    this.patchSets = new PatchSets(dependencies);
    this.programs = new Programs(dependencies, this.devices);
    this.provenance = new Provenance(dependencies);
    this.publisherKeys = new PublisherKeys(dependencies);
    this.signaturePolicies = new SignaturePolicies(dependencies);
    this.signingKeys = signingKeys;
    this.rollbacks = new Rollbacks(dependencies, settleUnreportedLoads);
    this.rollouts = new Rollouts({ ...dependencies, tracer: settings.tracer ?? null });
    this.#reconciler = new Reconciler({ ...dependencies, onLoadsEnded: settleUnreportedLoads });
    const onChange = () => {
      this.rollouts.wake();
      this.#reconciler.wake();
    };
    this.assignments = new Assignments({ ...dependencies, onChange });
    this.promotions = new Promotions({ ...dependencies, onChange });
    this.desiredStates = new DesiredStates(dependencies);
    this.users = new Users(dependencies, settings.provider == null ? null : new IdentityProvider(settings.provider, dependencies.clock));
    this.unloads = new Unloads(dependencies, settleUnreportedLoads);
    const { allowPrivate, publicUrl } = settings.webhooks ?? { allowPrivate: false, publicUrl: null };
    const secrets = new SecretStorage(settings.signingKeys.privateKeys);
    this.#deliveries = new Deliveries({
      ...dependencies,
      secrets,
      sender: new Sender({ allowPrivate }),
      source: { source: publicUrl ?? signingKeys.origin, publicUrl },
      onAttempt: (attempt) => this.metrics.observeWebhookAttempt(attempt.result),
    });
    this.webhooks = new Webhooks({ ...dependencies, secrets, deliveries: this.#deliveries, allowPrivate });
    this.buildDeletion = new BuildDeletion(dependencies);
    this.yanking = new Yanking(dependencies);
    this.health = new Health({
      ...dependencies,
      metrics: this.metrics,
      faults: () => this.#faults(),
      decommissionUnreachableAfter,
      processGauges: () => ({
        reportBatchesInProgress: this.agents.reportBatchesInProgress,
        eventStreams: this.events.followers,
        orderStreams: orderDispatcher.streamCount,
      }),
    });
    this.#subscribe(store, logger);
    this.#recordUsesJob = this.keys.recordUsesPeriodically();
    this.#jobs = [
      this.loads.startExpiring(),
      new HeldLoads(dependencies, settleUnreportedLoads).start(),
      schedulePruning({ store, checkpoints: this.checkpoints, timeKeeper }, retention),
      this.checkpoints.createPeriodically(),
      ...(decommissionUnreachableAfter === null
        ? []
        : [scheduleDecommissioning({ ...dependencies, decommissioning: this.decommissioning }, decommissionUnreachableAfter)]),
    ];
  }

  /**
   * Opens an installation. Creates the database if it does not exist.
   * @param database A SQLite file, or a PostgreSQL URL.
   * @param logger Logs audit events and faults; by default nothing is logged.
   * @throws {MigrationError} {SigningKeyError} {DatabaseInUse} if another service uses the file. {TransactionsLost} if the file lost transactions.
   */
  static async open(
    database: string,
    settings: InstallationSettings,
    logger: BaseLogger = pino({ enabled: false }),
  ): Promise<Installation> {
    const { beforeCreation = () => {}, acceptLostTransactions = false } = settings;
    const onLostTransactions = (loss: string) =>
      logger.error(`${loss}: the service starts without them, because lost transactions are accepted`);
    const options = acceptLostTransactions ? { onLostTransactions } : {};
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
    store.onUndecodable((row) => damagedRows.recordUndecodable(row));
    const compiler = settings.sharedCompiler ?? new Compiler();
    const dependencies = {
      store,
      compiler,
      orderDispatcher: new OrderDispatcher(store, clock, dispatchLoads),
      signingKeys,
      clock,
      damagedRows,
      timeKeeper,
    };
    const installation = new Installation(dependencies, settings, logger);
    try {
      await backfillProvenance(dependencies);
      await recompileDrivers(dependencies);
      if (settings.adminKey !== null) await installation.keys.createAdmin(settings.adminKey.when, settings.adminKey.keep);
      if (isCreation) await store.checkpointLog();
      return installation;
    } catch (error) {
      await installation.close();
      throw error;
    }
  }

  /** Closes all order and event streams, so that the server can close. */
  endStreams(): void {
    this.health.close();
    this.#dependencies.orderDispatcher.close();
    this.events.close();
    this.rollouts.closeStreams();
  }

  async close(): Promise<void> {
    this.endStreams();
    for (const job of this.#jobs) await job.stop();
    await this.#deliveries.stop();
    await this.#reconciler.stop();
    await this.rollouts.stop();
    await this.#reachability.stop();
    await this.#dependencies.timeKeeper.stop();
    await this.#recordUsesJob.stop();
    await this.#fileMonitor.stop();
    // A failed write must not prevent the service from closing.
    await this.keys.recordUses().catch(() => {});
    await this.checkpoints.create().catch(() => {});
    await this.#ownCompiler?.close();
    await this.#dependencies.store.close();
  }

  /** Forwards the effects of transactions to the log, the metrics and the streams. */
  #subscribe(store: Store, logger: BaseLogger): void {
    store.onTransactionEnd((end) => {
      this.metrics.observeTransaction(end);
      if (end.result === 'rolled-back') return;
      logEvents(logger, end.events);
    });
    store.onChange((change) => {
      this.#dependencies.orderDispatcher.notify(change);
      if (change.events) {
        this.events.notify();
        this.#deliveries.wake();
      }
      if (change.loads) this.rollouts.wake();
    });
  }

  /** Returns faults of the service and its environment, as sentences. */
  #faults(): readonly string[] {
    const { store, timeKeeper } = this.#dependencies;
    const ownFaults = [store.fault(), this.checkpoints.fault].filter((fault) => fault !== null);
    return [...ownFaults, ...this.#environmentFaults(), ...timeKeeper.faults, ...this.rollouts.faults, ...this.#reconciler.faults];
  }
}

async function openSigningKeys(store: Store, settings: SigningKeySettings) {
  const isCreation = !(await hasKeys(store.readConnection));
  return { isCreation, signingKeys: await SigningKeys.open(store, settings) };
}

/** Returns whether a database has signing keys or API keys; without them it is new, or has lost its data. */
async function hasKeys(connection: Connection): Promise<boolean> {
  return (await new SigningKeyRecords(connection).count()) > 0 || (await new KeyRecords(connection).hasAny());
}

/** Calls `beforeCreation` if a database has no keys yet. */
async function checkCreation(connection: Connection, beforeCreation: () => void): Promise<void> {
  if (!(await hasKeys(connection))) beforeCreation();
}
