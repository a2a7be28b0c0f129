// Model-based test of rollbacks of patch sets: they undo a load of the set, whatever else was loaded, unloaded, reverted or rolled back.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isLoadOrder, type LoadOrder, Order } from '../../../src/protocol/agent.ts';
import { DeviceState } from '../../../src/protocol/device-state.ts';
import { newIdentifier } from '../../../src/protocol/identifiers.ts';
import { LoadPolicy, LoadReport } from '../../../src/protocol/load-report.ts';
import { Store } from '../../../src/service/database/store.ts';
import { changesOf } from '../../../src/service/history/load-changes.ts';
import { recordLoaded, recordRestored } from '../../../src/service/history/module-history.ts';
import { type LoadContent, patchSetContent, toColumns, toOrderContent } from '../../../src/service/loads/content.ts';
import { findVersionsBeforeSets } from '../../../src/service/loads/set-loads.ts';
import { findSetRollbacks } from '../../../src/service/loads/set-rollbacks.ts';
import { orderedModules } from '../../../src/service/orders/orders.ts';
import { chooseModuleTargets } from '../../../src/service/rollbacks/module-targets.ts';
import { newDatabase } from '../../databases.ts';
import { state } from '../agents/agent.ts';
import { inTransaction, type Records } from '../records.ts';

const folder = mkdtempSync(join(tmpdir(), 'patchbay-set-rollbacks-'));
let store: Store;
const modules = ['tcp', 'udp', 'icmp'] as const;
type Module = (typeof modules)[number];
const versions = [1, 2, 3].map((major) => `${major}.0.0`);
/** Sets that share modules. */
const sets: Readonly<Record<string, Partial<Record<Module, string>>>> = {
  'net@1.0.0': { tcp: '1.0.0', udp: '1.0.0' },
  'net@2.0.0': { tcp: '2.0.0', udp: '2.0.0' },
  'net@3.0.0': { tcp: '2.0.0', udp: '3.0.0', icmp: '1.0.0' },
  'net@4.0.0': { icmp: '2.0.0' },
  'edge@1.0.0': { udp: '1.0.0', icmp: '3.0.0' },
};
const imageOf = (module: string, version: string) =>
  `sha256:${Buffer.from(`${module}@${version}`).toString('hex').padEnd(64, '0')}` as const;

async function createBuild({ builds }: Records, module: string, version: string): Promise<void> {
  const made = { language: 'wat', compiler: '', interface: {}, pushedBy: null, envelope: null, hasState: null, createdAt: new Date(0) };
  const image = { sourceDigest: '', imageDigest: imageOf(module, version), imageBytes: 1 };
  await builds.create({ id: `${module}@${version}`, module, version, ...made, ...image });
}

async function createSet({ patchSets }: Records, named: string, builds: Partial<Record<string, string>>): Promise<void> {
  const [name = '', version = ''] = named.split('@');
  const members = Object.entries(builds).map(([module, buildVersion = '']) => {
    const build = {
      buildId: `${module}@${buildVersion}`,
      imageDigest: imageOf(module, buildVersion),
      imagePrunedAt: null,
      yankReason: null,
      envelope: null,
    };
    return { module, version: buildVersion, ...build };
  });
  await patchSets.create({ id: named, name, version, createdAt: new Date(0), createdBy: 'key_a', envelope: '{}', members });
}

beforeAll(async () => {
  store = await Store.open(await newDatabase(folder));
  const host = { id: 'h', name: 'host', bootId: 'boot', capacity: 1, registeredAt: new Date(0), tokenDigest: null, unreachableSince: null };
  await inTransaction(store, async (records) => {
    await records.hosts.save(host);
    for (const module of modules) for (const version of versions) await createBuild(records, module, version);
    for (const [named, builds] of Object.entries(sets)) await createSet(records, named, builds);
  });
});
afterAll(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const anyModule = fc.constantFrom(...modules);
/** Whether the drain of the load fails, so that the device reverts its swap. */
const isReverted = fc.integer({ max: 7, min: 0 }).map((drawn) => drawn === 7);
const anyOperation = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('set' as const), set: fc.constantFrom(...Object.keys(sets)), isReverted }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('load' as const), module: anyModule, version: fc.constantFrom(...versions), isReverted }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('unload' as const), module: anyModule, isReverted }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('roll-back-module' as const), module: anyModule, isReverted }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('roll-back-set' as const), name: fc.constantFrom('net', 'edge'), isReverted }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'reboot' as const }) },
);
type Operation = typeof anyOperation extends fc.Arbitrary<infer Value> ? Value : never;

type Table = ReadonlyMap<string, string>;

/** A simulated device: it keeps what is in memory already, and reports each load. */
class SimulatedDevice {
  readonly id = newIdentifier('device');
  readonly #records: Records;
  #table: Table = new Map();
  #time = 0;

  constructor(records: Records) {
    this.#records = records;
  }

  get table(): Record<string, string> {
    return Object.fromEntries([...this.#table].toSorted());
  }

  async reboot(): Promise<void> {
    this.#time++;
    await this.#records.history.endAll([this.id], new Date(this.#time), 'reboot');
    const wanted = [...this.#table].map(([module, version]) => ({ module, version, image: imageOf(module, version) }));
    const attach = { kind: 'attach-device', name: 'device', ramPages: 16, modules: wanted, programs: [], device: this.id };
    const order = Order.parse({ ...attach, order: newIdentifier('order'), sequence: 1 });
    if (order.kind !== 'attach-device') throw new Error('no order');
    const restored = wanted.map(({ module, ...entry }) => [module, { ...entry, address: '0x9000' }]);
    const reported = DeviceState.parse(state(Object.fromEntries(restored)));
    await recordRestored(this.#records.connection, this.id, order.modules, reported, new Date(this.#time));
  }

  /** Executes a load. */
  async run(
    content: LoadContent,
    { isRollback, isReverted: reverts }: { readonly isRollback: boolean; readonly isReverted: boolean },
  ): Promise<void> {
    this.#time++;
    const policy = LoadPolicy.parse({ strategy: 'drain', invalidation: 'nx', versionPolicy: 'different' });
    const load = newIdentifier('load');
    const requestedAt = new Date(this.#time);
    const row = { id: load, batchId: 'b', deviceId: this.id, ...toColumns(content), ...policy, state: 'dispatched', requestedAt };
    const hold = { heldSince: null, heldUntil: null, windowOverride: null };
    await this.#records.loads.create([{ ...row, ...hold, requestedBy: 'key_a', rollback: isRollback, rolloutId: null, deadlineAt: null }]);
    const identity = { order: newIdentifier('order'), device: this.id, sequence: 1, load, deadline: null, remainingMilliseconds: null };
    const order = Order.parse({ ...identity, ...toOrderContent(content, policy, this.id, () => []) });
    if (!isLoadOrder(order)) throw new Error('no load');
    const report = this.#execute(order, reverts);
    const end = { outcome: report.outcome, reason: null, interrupted: 0, retried: 0, failed: 0, completedAt: requestedAt };
    await this.#records.loads.complete([{ id: load, requestedAt, ...end, report }]);
    const request = (await this.#records.loads.requestsOf([load])).get(load);
    await recordLoaded(this.#records.connection, changesOf({ order, report, request }), requestedAt);
  }

  #execute(order: LoadOrder, reverts: boolean): LoadReport {
    const isSet = order.kind === 'load-patch-set';
    const addressed = (module: string, version: string | undefined, address: string) =>
      version === undefined ? null : { version, image: imageOf(module, version), address, pages: 1 };
    const next = new Map(this.#table);
    const members = orderedModules(order).map(({ module, build }) => {
      const version = this.#table.get(module);
      if (build === null) next.delete(module);
      else next.set(module, build.version);
      const previous = addressed(module, version, '0x1000');
      const isKept = version === build?.version;
      return {
        module,
        previous,
        current: reverts || isKept ? previous : addressed(module, build?.version, '0x2000'),
        isKept,
        isUnload: build === null,
      };
    });
    const changed = members.filter(({ isKept }) => !isKept);
    const steps = changed.flatMap(({ module, isUnload }) => {
      const named = isSet ? { module } : {};
      const placed = { address: '0x2000', pages: 1, selfCheck: 'none', stateWords: null };
      const swapped = step('table-updated', 240, this.#time, { from: null, to: isUnload ? null : '0x2000' });
      return [...(isUnload ? [] : [{ ...step('loaded', 230, this.#time, placed), ...named }]), { ...swapped, ...named }];
    });
    const failed = step('failed', null, this.#time, { during: 'references-reset', reason: 'a timeout' });
    const success = order.kind === 'unload-module' ? 'unloaded' : 'replaced';
    const refusal = order.kind === 'unload-module' ? 'refused-not-loaded' : 'refused-not-newer';
    const isRefused = changed.length === 0;
    if (!reverts && !isRefused) this.#table = next;
    return LoadReport.parse({
      outcome: isRefused ? refusal : reverts ? 'failed' : success,
      reason: null,
      previous: isSet ? null : (members[0]?.previous ?? null),
      current: isSet ? null : (members[0]?.current ?? null),
      ...(isSet ? { members: members.map(({ module, previous, current }) => ({ module, previous, current })) } : {}),
      interrupted: 0,
      retried: 0,
      failed: 0,
      microseconds: 0,
      steps: reverts && !isRefused ? [...steps, failed] : steps,
    });
  }
}

function step(name: string, operation: number | null, at: number, facts: object) {
  return { step: name, operation, at: new Date(at).toISOString(), startedMicroseconds: 0, microseconds: 0, facts };
}

/** What a module has, and had before. A null version: the module is not loaded. */
type Level = { readonly version: string | null; readonly below: Level | null };
type SetLoad = { readonly name: string; readonly before: Map<string, Level>; readonly after: Map<string, Level> };

/** The model: a rollback of a set restores what the modules had and had had before its load. */
class Model {
  readonly #levels = new Map<string, Level>(modules.map((module) => [module, { version: null, below: null }]));
  readonly #setLoads: SetLoad[] = [];

  get table(): Record<string, string> {
    return Object.fromEntries(
      [...this.#levels].flatMap(([module, { version }]) => (version === null ? [] : [[module, version] as const])).toSorted(),
    );
  }

  #levelOf(module: string): Level {
    const level = this.#levels.get(module);
    if (level === undefined) throw new Error(`unknown module ${module}`);
    return level;
  }

  loadSet(name: string, builds: Partial<Record<string, string>>): void {
    const changed = Object.entries(builds).filter(([module, version]) => this.#levelOf(module).version !== version);
    const before = new Map(changed.map(([module]) => [module, this.#levelOf(module)]));
    const after = new Map(changed.map(([module, version = null]) => [module, { version, below: this.#levelOf(module) }]));
    for (const [module, level] of after) this.#levels.set(module, level);
    if (changed.length > 0) this.#setLoads.push({ name, before, after });
  }

  load(module: string, version: string): void {
    const level = this.#levelOf(module);
    const latest = level.version === null ? level.below : level;
    this.#levels.set(module, latest?.version === version ? latest : { version, below: level });
  }

  unload(module: string): void {
    const level = this.#levelOf(module);
    if (level.version !== null) this.#levels.set(module, { version: null, below: level });
  }

  /** Returns the version to which a module rolls back; null if there is none. */
  previousOf(module: string): Level | null {
    const { version } = this.#levelOf(module);
    return [...levelsFrom(this.#levelOf(module))].find((level) => level.version !== null && level.version !== version) ?? null;
  }

  rollBack(module: string): void {
    const level = this.previousOf(module);
    if (level !== null) this.#levels.set(module, level);
  }

  /** Returns the latest load of a set that is not rolled back, if all its modules have what it put there; null if not. */
  revertible(name: string): SetLoad | null {
    const had = ([module, level]: readonly [string, Level]) => {
      const top = this.#levelOf(module);
      // The unload of a first version reverts it.
      const isReverted = top.version === null && top.below === level && level.below?.version === null;
      return !isReverted && [...levelsFrom(top)].includes(level);
    };
    const latest = this.#setLoads.findLast((load) => load.name === name && [...load.after].some(had));
    return latest && [...latest.after].every(([module, level]) => this.#levelOf(module) === level) ? latest : null;
  }

  rollBackSet({ before }: SetLoad): void {
    for (const [module, level] of before) this.#levels.set(module, level);
  }
}

function* levelsFrom(top: Level): Generator<Level> {
  for (let level: Level | null = top; level !== null; level = level.below) yield level;
}

/** Applies an operation to the device and the model, and compares what each can roll back. */
async function apply(records: Records, device: SimulatedDevice, model: Model, operation: Operation): Promise<void> {
  if (operation.kind === 'reboot') return device.reboot();
  const { isReverted: reverts } = operation;
  const run = (content: LoadContent, isRollback: boolean) => device.run(content, { isRollback, isReverted: reverts });
  switch (operation.kind) {
    case 'set': {
      const [name = '', version = ''] = operation.set.split('@');
      const patchSet = await records.patchSets.findByVersion(name, version);
      if (patchSet === null) throw new Error('no set');
      await run(patchSetContent(patchSet), false);
      if (!reverts) model.loadSet(name, sets[operation.set] ?? {});
      return;
    }
    case 'load': {
      const { module, version } = operation;
      const [build] = await records.builds.findLoadable([{ module, version }]);
      if (build === undefined) throw new Error('no build');
      if (device.table[module] === version) return;
      await run({ kind: 'build', build }, false);
      if (!reverts) model.load(module, version);
      return;
    }
    case 'unload': {
      const { module } = operation;
      await run({ kind: 'unload', module, version: device.table[module] ?? '1.0.0', forceReason: null }, false);
      if (!reverts) model.unload(module);
      return;
    }
    case 'roll-back-module': {
      const { module } = operation;
      const [choice] = await chooseModuleTargets(records.connection, [{ id: device.id, hostId: 'h' }], { module, to: null });
      const target = choice?.kind === 'target' ? choice.changes[0]?.target : null;
      expect(target).toBe(model.previousOf(module)?.version ?? null);
      if (choice?.kind !== 'target') return;
      await run(choice.content, true);
      if (!reverts) model.rollBack(module);
      return;
    }
    case 'roll-back-set': {
      const rollback = (await findSetRollbacks(records.connection, [device.id], operation.name)).get(device.id);
      const load = model.revertible(operation.name);
      const changes = rollback?.kind === 'revert' ? rollback.changes : [];
      const expected = [...(load?.before ?? [])].map(([module, { version }]) => ({
        module,
        version: load?.after.get(module)?.version,
        previous: version,
      }));
      expect(changes.toSorted(byModule)).toEqual(expected.toSorted(byModule));
      // Retention keeps the images of these versions.
      const kept = (await findVersionsBeforeSets(records.connection, [device.id], 1)).map(({ module, version }) => `${module}@${version}`);
      expect(kept).toEqual(
        expect.arrayContaining(changes.flatMap(({ module, previous }) => (previous === null ? [] : [`${module}@${previous}`]))),
      );
      if (rollback?.kind !== 'revert' || load === null) return;
      await run(rollback.content, true);
      if (!reverts) model.rollBackSet(load);
    }
  }
}

const byModule = (left: { readonly module: string }, right: { readonly module: string }) => (left.module < right.module ? -1 : 1);

test('rollbacks of sets and modules restore the module table of the model', { timeout: 300_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyOperation, { minLength: 1, maxLength: 24 }), async (operations) => {
      await inTransaction(store, async (records) => {
        const device = new SimulatedDevice(records);
        await records.devices.create([{ id: device.id, name: device.id, hostId: 'h', labels: {}, createdAt: new Date(0), ramPages: 16 }]);
        const model = new Model();
        for (const operation of operations) {
          await apply(records, device, model, operation);
          expect(device.table).toEqual(model.table);
        }
      });
    }),
    { numRuns: 150 },
  );
});
