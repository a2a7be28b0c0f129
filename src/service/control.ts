// Control: the rules of builds, devices, programs, loads and hosts, over one database and one compiler. Knows no HTTP.

import { type BaseLogger, pino } from 'pino';
import { Compiler } from '../compiler/compiler.ts';
import { Agents } from './agents/agents.ts';
import { attachEmpty } from './agents/bring-up.ts';
import { AuditTrail } from './audit/audit-trail.ts';
import { Checkpoints } from './audit/checkpoints.ts';
import { logEvents } from './audit/event-log.ts';
import { EventFeed } from './audit/events.ts';
import { machineTime, type TimeSource } from './clock/service-clock.ts';
import { TimeKeeper } from './clock/time-keeper.ts';
import type { Context } from './context.ts';
import { DamagedRows } from './database/damaged-rows.ts';
import { DatabaseWatch } from './database/database-watch.ts';
import { Repeated } from './database/repeated.ts';
import type { Repetition } from './database/repetition.ts';
import { Store } from './database/store.ts';
import { Devices } from './devices/devices.ts';
import { currentLevels, type FleetHealth, fleetHealth } from './health/fleet.ts';
import { Measurements } from './health/measurements.ts';
import { Readiness } from './health/readiness.ts';
import { History } from './history/history.ts';
import { Hosts } from './hosts/hosts.ts';
import { Reachability } from './hosts/reachability.ts';
import { Answers } from './idempotency/answers.ts';
import { Denials } from './keys/denials.ts';
import { Keys } from './keys/keys.ts';
import { Loads } from './loads/loads.ts';
import { Builds } from './modules/builds.ts';
import { OrderBoard } from './orders/order-board.ts';
import { renewDrivers } from './programs/drivers.ts';
import { Programs } from './programs/programs.ts';
import { Provenance, stateOldBuilds } from './provenance/provenance.ts';
import { PublisherKeys } from './publisher-keys/publisher-keys.ts';
import { pruneEvents, pruneImages, type RetentionSettings } from './retention/retention.ts';
import { Rollbacks } from './rollbacks/rollbacks.ts';
import { Rollouts } from './rollouts/rollouts.ts';
import { settleUnreported } from './rollouts/settlement.ts';
import { SignaturePolicies } from './signature-policies/signature-policies.ts';
import { hasKeys, type SigningKeySettings, SigningKeys } from './signing-keys/signing-keys.ts';

export type ControlSettings = {
  /** What a host must show to register. */
  readonly joinToken: string;
  /** Milliseconds of silence after which a host is unreachable. */
  readonly unreachableAfter: number;
  readonly signingKeys: Omit<SigningKeySettings, 'beforeCreation'>;
  readonly retention: RetentionSettings;
  /** Keeps the secret of the key of the role `admin` that is made. */
  readonly adminKey: { readonly when: 'first start' | 'always'; readonly keep: (secret: string) => void } | null;
  /** Called before a database is made, or the first keys in one that has none; where it throws, none is. */
  readonly beforeCreation?: () => void;
  /** Whether the service starts although its SQLite file lost transactions while it was down. */
  readonly areLostTransactionsAccepted?: boolean;
  /** What is wrong around the service, in words, for the health of the fleet. */
  readonly surroundingFaults?: () => readonly string[];
  /** One that is shared with others in this process, who close it; without it, it has one of its own. */
  readonly sharedCompiler?: Compiler;
  /** Where time comes from; without it, the clocks of the machine. */
  readonly time?: TimeSource;
};

/** How often deadlines are looked at, in milliseconds. */
const deadlineInterval = 1_000;
/** How often a checkpoint of what is new in the audit trail is signed, in milliseconds. */
const checkpointInterval = 60_000;
/** How often it is put on disk when keys were last used, in milliseconds. */
const usesInterval = 60_000;

export class Control {
  readonly agents: Agents;
  readonly answers: Answers;
  readonly auditTrail: AuditTrail;
  readonly builds: Builds;
  readonly checkpoints: Checkpoints;
  readonly damagedRows: DamagedRows;
  readonly denials: Denials;
  readonly devices: Devices;
  readonly events: EventFeed;
  readonly history: History;
  readonly hosts: Hosts;
  readonly keys: Keys;
  readonly loads: Loads;
  readonly measurements = new Measurements();
  readonly programs: Programs;
  readonly provenance: Provenance;
  readonly publisherKeys: PublisherKeys;
  readonly signaturePolicies: SignaturePolicies;
  readonly signingKeys: SigningKeys;
  readonly rollbacks: Rollbacks;
  readonly rollouts: Rollouts;
  readonly #context: Context;
  readonly #timeKeeper: TimeKeeper;
  readonly #readiness: Readiness;
  readonly #reachability: Reachability;
  /** When keys were last used, of which each replica knows some. */
  readonly #uses: Repeated;
  /** What is done once in the whole installation. */
  readonly #shared: readonly Repetition[];
  readonly #databaseWatch: DatabaseWatch;
  readonly #surroundingFaults: () => readonly string[];
  /** Null where the compiler is shared with others. */
  readonly #ownCompiler: Compiler | null;

  private constructor(
    reachability: Reachability,
    context: Context,
    timeKeeper: TimeKeeper,
    { joinToken, retention, sharedCompiler, surroundingFaults = () => [] }: ControlSettings,
    logger: BaseLogger,
  ) {
    this.#context = context;
    this.#timeKeeper = timeKeeper;
    this.#ownCompiler = sharedCompiler === undefined ? context.compiler : null;
    this.#readiness = new Readiness(context.store);
    this.#databaseWatch = new DatabaseWatch(context.store, logger);
    this.#surroundingFaults = surroundingFaults;
    this.answers = new Answers(this.#context);
    this.builds = new Builds(this.#context);
    this.checkpoints = new Checkpoints(context.store, context.signingKeys);
    this.auditTrail = new AuditTrail(context.store, this.checkpoints);
    this.damagedRows = context.damagedRows;
    this.denials = new Denials(this.#context);
    this.devices = new Devices(this.#context, attachEmpty);
    this.events = new EventFeed(context.store);
    context.store.onTransactionEnd((end) => {
      this.measurements.transactionEnded(end);
      if (end.result === 'rolled-back') return;
      logEvents(logger, end.events);
    });
    context.store.onNews((news) => {
      context.orderBoard.tell(news);
      if (news.events) this.events.announce();
      if (news.loads) this.rollouts.wake();
    });
    this.history = new History(this.#context);
    this.hosts = new Hosts(context.store, reachability, joinToken);
    this.agents = new Agents({ ...context, hosts: this.hosts });
    this.keys = new Keys(this.#context);
    this.loads = new Loads(this.#context, settleUnreported);
    this.programs = new Programs(this.#context, this.devices);
    this.provenance = new Provenance(this.#context);
    this.publisherKeys = new PublisherKeys(this.#context);
    this.signaturePolicies = new SignaturePolicies(this.#context);
    this.signingKeys = context.signingKeys;
    this.rollbacks = new Rollbacks(this.#context, settleUnreported);
    this.rollouts = new Rollouts(this.#context);
    this.#reachability = reachability;
    this.#uses = new Repeated(usesInterval, () => this.keys.keepUses());
    const { store } = context;
    this.#shared = [
      store.repeat('deadlines', deadlineInterval, () => this.loads.expire()),
      store.repeat('retention', retention.interval, async () => {
        await timeKeeper.keep();
        await pruneEvents(store, this.checkpoints, retention, context.clock);
        await pruneImages(store, retention, context.clock);
      }),
      store.repeat('checkpoints', checkpointInterval, () => this.#makeCheckpoint()),
    ];
  }

  /**
   * Opens a database, made if need be.
   * @param database A SQLite file, or the address of a database of PostgreSQL.
   * @param logger Told what was done; by default nobody is.
   * @throws {MigrationError} {SigningKeyError} {DatabaseInUse} where another service has the file. {TransactionsLost} where the file lost some.
   */
  static async open(database: string, settings: ControlSettings, logger: BaseLogger = pino({ enabled: false })): Promise<Control> {
    const { beforeCreation = () => {}, areLostTransactionsAccepted = false } = settings;
    const onLostTransactions = (loss: string) =>
      logger.error(`${loss}: the service continues without them, because its start accepts lost transactions`);
    const options = areLostTransactionsAccepted ? { onLostTransactions } : {};
    const store = await Store.open(database, { isExclusive: true, beforeCreation, ...options });
    const { isCreation, signingKeys } = await openSigningKeys(store, { ...settings.signingKeys, beforeCreation }).catch(
      async (error: unknown) => {
        await store.close();
        throw error;
      },
    );
    const timeKeeper = await TimeKeeper.start(store, settings.time ?? machineTime);
    const { clock } = timeKeeper;
    const damagedRows = new DamagedRows();
    store.onUnreadable((row) => damagedRows.noteUnreadable(row));
    const compiler = settings.sharedCompiler ?? new Compiler();
    const context = { store, compiler, orderBoard: new OrderBoard(store, clock), signingKeys, clock, damagedRows };
    const reachability = new Reachability(context, settings.unreachableAfter);
    const control = new Control(reachability, context, timeKeeper, settings, logger);
    try {
      await stateOldBuilds(context);
      await renewDrivers(context);
      if (settings.adminKey !== null) await control.keys.createAdmin(settings.adminKey.when, settings.adminKey.keep);
      if (isCreation) await store.bringLogOver();
      return control;
    } catch (error) {
      await control.close();
      throw error;
    }
  }

  async fleetHealth(): Promise<FleetHealth> {
    await this.damagedRows.forgetCorrected((place) => this.#context.store.isUndecodable(place));
    const ownFaults = [this.#context.store.fault(), this.checkpoints.fault].filter((fault) => fault !== null);
    const foundFaults = [...this.#timeKeeper.faults, ...this.rollouts.faults, ...this.damagedRows.reasons];
    return fleetHealth(this.#context, [...ownFaults, ...this.#surroundingFaults(), ...foundFaults]);
  }

  /** What is measured, in the text format of Prometheus. */
  async metrics(): Promise<string> {
    return this.measurements.text({
      ...(await currentLevels(this.#context)),
      reportBatchesUnderWay: this.agents.reportsUnderWay,
      eventFollowers: this.events.followers,
      orderStreams: this.#context.orderBoard.streams,
    });
  }

  /** Why the service cannot do its work; nothing where it can. */
  notReadyBecause(): Promise<readonly string[]> {
    return this.#readiness.reasons();
  }

  /** Ends every host's stream of orders and every follower's of events, so that the server can close. */
  endStreams(): void {
    this.#readiness.close();
    this.#context.orderBoard.close();
    this.events.close();
    this.rollouts.endFollowing();
  }

  async close(): Promise<void> {
    this.endStreams();
    for (const work of this.#shared) await work.stop();
    await this.rollouts.stop();
    await this.#reachability.stop();
    await this.#timeKeeper.stop();
    await this.#uses.stop();
    await this.#databaseWatch.stop();
    // A database that takes no writes any more does not keep the service from closing.
    await this.keys.keepUses().catch(() => {});
    await this.#makeCheckpoint().catch(() => {});
    await this.#ownCompiler?.close();
    await this.#context.store.close();
  }

  async #makeCheckpoint(): Promise<void> {
    await this.checkpoints.make();
  }
}

async function openSigningKeys(store: Store, settings: SigningKeySettings) {
  const isCreation = !(await hasKeys(store.records));
  return { isCreation, signingKeys: await SigningKeys.open(store, settings) };
}
