// Fills a database with a fleet: labelled devices, their loads in batches, rollouts to zones, and a program.

import type Database from 'better-sqlite3';
import { noUnreachableTargets } from '../../src/service/loads/unreachable-targets.ts';
import { defaultThresholds, type RolloutPlan } from '../../src/service/rollouts/plan.ts';
import { defaultTerms } from '../../test/service/default-terms.ts';

const zones = 20;
const versions = 4;
const loadsPerDevice = 2;
const loadsPerBatch = 2;
const rollouts = 80;
/** Devices of half of the rollouts; the others go to whole zones. */
const devicesOfSmallRollout = 50;
const devicesPerHost = 20_000;
/** Devices of stages whose sizes do not depend on the fleet. */
const stages = { pilot: 500, canary: 50 } as const;
const begin = Date.UTC(2026, 0, 1);
const module = 'tcp';

/** Returns the device with a number. */
function deviceId(index: number): string {
  return `dev_${String(index).padStart(32, '0')}`;
}

function versionOf(index: number): string {
  return `1.${index % versions}.0`;
}

/** @param devices A multiple of 1,000. */
export function fillFleet(database: Database.Database, devices: number): void {
  database.pragma('synchronous = OFF');
  database.pragma('cache_size = -500000');
  database.transaction(() => {
    addBuilds(database);
    addHosts(database, devices);
    addDevices(database, devices);
    addLoads(database, devices);
    addRollouts(database, devices);
    addPrograms(database);
  })();
}

function addBuilds(database: Database.Database): void {
  const add = database.prepare(`INSERT INTO "Build" ("id", "module", "version", "language", "compiler", "sourceDigest", "imageDigest",
    "imageBytes", "interface", "createdAt", "envelope") VALUES (?, ?, ?, 'wat', '', '', '', 0, '{"imports":[],"exports":[]}', ${begin}, '{}')`);
  for (let version = 0; version < versions; version += 1) add.run(`bld_${version}`, module, versionOf(version));
}

function addHosts(database: Database.Database, devices: number): void {
  const addHost = database.prepare(
    `INSERT INTO "Host" ("id", "name", "bootId", "capacity", "registeredAt") VALUES (?, ?, 'boot', ?, ${begin})`,
  );
  for (let host = 0; host * devicesPerHost < devices; host += 1) addHost.run(`hst_${host}`, `host-${host}`, devicesPerHost);
}

function addDevices(database: Database.Database, devices: number): void {
  const addDevice = database.prepare('INSERT INTO "Device" ("id", "name", "hostId", "ramPages", "createdAt") VALUES (?, ?, ?, 256, ?)');
  const addLabel = database.prepare('INSERT INTO "DeviceLabel" ("deviceId", "key", "value") VALUES (?, ?, ?)');
  const addModule = database.prepare('INSERT INTO "DeviceModule" ("deviceId", "module", "version", "imageDigest") VALUES (?, ?, ?, \'\')');
  const addResidency =
    database.prepare(`INSERT INTO "HistoryEntry" ("deviceId", "module", "version", "imageDigest", "address", "pages", "installedAt")
    VALUES (?, ?, ?, '', '0x1000', 1, ?)`);
  for (let device = 0; device < devices; device += 1) {
    const id = deviceId(device);
    addDevice.run(id, `device-${device}`, `hst_${Math.floor(device / devicesPerHost)}`, begin + device);
    for (const [key, value] of Object.entries(labelsOf(device, devices))) addLabel.run(id, key, value);
    // Every zone and ring has all versions.
    const version = versionOf(Math.floor(device / zones / 2));
    addModule.run(id, module, version);
    addResidency.run(id, module, version, begin + device);
  }
}

function labelsOf(device: number, devices: number): Record<string, string> {
  const labels = {
    fleet: 'main',
    zone: String(device % zones),
    ring: Math.floor(device / zones) % 2 === 0 ? 'stable' : 'beta',
  };
  if (device % (devices / stages.pilot) === 0) return { ...labels, stage: 'pilot' };
  return device % (devices / stages.canary) === 1 ? { ...labels, stage: 'canary' } : labels;
}

/** Writes loads in batches of devices of the same zone. */
function addLoads(database: Database.Database, devices: number): void {
  const addBatch = database.prepare(`INSERT INTO "LoadBatch" ("id", "kind", "module", "version", "loads", "rollback", "requestedAt")
    VALUES (?, 'build', ?, ?, ?, 0, ?)`);
  const addLoad = database.prepare(`INSERT INTO "Load" ("id", "batchId", "deviceId", "buildId", "module", "version", "strategy",
    "invalidation", "state", "outcome", "interrupted", "retried", "failed", "requestedAt", "dispatchedAt", "completedAt")
    VALUES (?, ?, ?, 'build', ?, ?, 'inject', 'nx', 'completed', ?, 0, 0, 0, ?, ?, ?)`);
  let load = 0;
  for (let round = 0; round < loadsPerDevice; round += 1)
    for (let block = 0; block < devices; block += zones * loadsPerBatch)
      for (let zone = 0; zone < zones; zone += 1) {
        const at = begin + load * 100;
        const batch = `bat_${String(load).padStart(32, '0')}`;
        addBatch.run(batch, module, versionOf(round), loadsPerBatch, at);
        for (let place = 0; place < loadsPerBatch; place += 1) {
          const id = `lod_${String(load).padStart(32, '0')}`;
          const outcome = (block / zones / loadsPerBatch) % 10 === 0 ? 'failed' : 'replaced';
          addLoad.run(id, batch, deviceId(block + place * zones + zone), module, versionOf(round), outcome, at, at + 5, at + 10);
          load += 1;
        }
      }
}

/** Writes ended rollouts to the devices of one zone each: of the module `tcp` to a fixed number of them, of `udp` to all. */
function addRollouts(database: Database.Database, devices: number): void {
  const addRollout =
    database.prepare(`INSERT INTO "Rollout" ("id", "module", "version", "plan", "state", "requestedAt", "requestedBy", "endedAt")
    VALUES (?, ?, ?, ?, 'completed', ?, 'admin', ?)`);
  const addWave = database.prepare(`INSERT INTO "RolloutWave" ("rolloutId", "number", "state") VALUES (?, 1, 'passed')`);
  const addDevice =
    database.prepare(`INSERT INTO "RolloutDevice" ("rolloutId", "deviceId", "position", "wave", "version", "state", "interrupted")
    VALUES (?, ?, ?, 1, ?, 'loaded', 0)`);
  for (let rollout = 0; rollout < rollouts; rollout += 1) {
    const id = `rol_${String(rollout).padStart(32, '0')}`;
    const at = begin + rollout * 1_000;
    const isSmall = rollout < rollouts / 2;
    addRollout.run(id, isSmall ? module : 'udp', versionOf(rollout), JSON.stringify(plan), at, at + 500);
    addWave.run(id);
    const size = isSmall ? devicesOfSmallRollout : devices / zones;
    for (let position = 0; position < size; position += 1)
      addDevice.run(id, deviceId(position * zones + (rollout % zones)), position, versionOf(rollout));
  }
}

/** Writes as many programs of one device as a page has. */
function addPrograms(database: Database.Database): void {
  const add = database.prepare(`INSERT INTO "Program" ("id", "deviceId", "name", "module", "export", "type", "arguments", "threads",
    "pauseMilliseconds", "driverDigest", "createdAt") VALUES (?, ?, ?, ?, 'work', '{"parameters":[],"results":[]}', '[]', 1, 0, ?, ?)`);
  for (let program = 0; program < 50; program += 1)
    add.run(
      `prg_${String(program).padStart(32, '0')}`,
      deviceId(1),
      `program-${program}`,
      module,
      `sha256:${'0'.repeat(64)}`,
      begin + program,
    );
}

const plan: RolloutPlan = {
  name: null,
  selector: { devices: null, labels: { fleet: 'main' }, selector: null, group: null, runningVersion: null },
  waves: [{ size: { kind: 'up-to-percent', percent: 100 }, soakSeconds: 0, approval: false, thresholds: { ...defaultThresholds } }],
  terms: defaultTerms,
  devicesInFlight: 100,
  loadsPerMinute: null,
  onFailure: 'pause',
  rollbackDeadlineSeconds: 600,
  startAt: null,
  window: null,
  unreachable: noUnreachableTargets,
  onConflict: 'reject',
};
