// Query plans of lists: indexes provide the order too, so that the cost of a page does not grow with the list.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseLabelSelector } from '../../../../src/protocol/label-selector.ts';
import { CheckpointQueries } from '../../../../src/service/audit/checkpoint-queries.ts';
import { AuditQueries } from '../../../../src/service/audit/queries.ts';
import { ChannelQueries } from '../../../../src/service/channels/queries.ts';
import { applyMigrations } from '../../../../src/service/database/sqlite/migrations.ts';
import { AssignmentQueries } from '../../../../src/service/desired-state/queries.ts';
import { DesiredStateRecords } from '../../../../src/service/desired-state/repository.ts';
import { AbiViolationQueries } from '../../../../src/service/devices/abi-violation-queries.ts';
import { DeviceQueries } from '../../../../src/service/devices/queries.ts';
import { GroupQueries } from '../../../../src/service/groups/queries.ts';
import { HistoryQueries } from '../../../../src/service/history/queries.ts';
import { HostQueries } from '../../../../src/service/hosts/queries.ts';
import { KeyQueries } from '../../../../src/service/keys/queries.ts';
import { LoadBatchQueries } from '../../../../src/service/load-batches/queries.ts';
import { LoadBatchRecords } from '../../../../src/service/load-batches/repository.ts';
import { LoadQueries } from '../../../../src/service/loads/queries.ts';
import { BuildQueries } from '../../../../src/service/modules/queries.ts';
import { PatchSetQueries } from '../../../../src/service/patch-sets/queries.ts';
import { ProgramQueries } from '../../../../src/service/programs/queries.ts';
import { PublisherKeyQueries } from '../../../../src/service/publisher-keys/queries.ts';
import { RolloutQueries } from '../../../../src/service/rollouts/queries.ts';
import { SignaturePolicyQueries } from '../../../../src/service/signature-policies/queries.ts';
import { SigningKeyQueries } from '../../../../src/service/signing-keys/queries.ts';
import { WebhookQueries } from '../../../../src/service/webhooks/queries.ts';
import { QueryPlans } from './query-plans.ts';

const folder = mkdtempSync(join(tmpdir(), 'patchbay-plans-'));
const file = join(folder, 'patchbay.db');
applyMigrations(file);
const queryPlans = new QueryPlans(file);
const { records, reader } = queryPlans;

beforeAll(async () => {
  // More than the limit of indexed look-ups, for a label or a module of all devices.
  const createdAt = new Date();
  const host = { id: 'h', name: 'host', bootId: 'boot', capacity: 1, registeredAt: createdAt, tokenDigest: null, unreachableSince: null };
  await records.hosts.save(host);
  const created = Array.from({ length: 200 }, (_, index) => ({
    id: `d${index}`,
    name: `device-${index}`,
    hostId: 'h',
    ramPages: 16,
    createdAt,
    labels: { all: 'yes', ...(index < 3 ? { few: 'yes' } : {}) },
  }));
  await records.devices.create(created);
  // A build that one device has, and another had.
  const residency = {
    module: 'x',
    version: 'y',
    imageDigest: '',
    loadId: null,
    requestedBy: null,
    address: '0x1000',
    pages: 1,
    installedAt: createdAt,
  };
  await records.history.insert([
    { ...residency, deviceId: 'd1' },
    { ...residency, deviceId: 'd2', removedAt: createdAt },
  ]);
  await records.devices.setModules([{ deviceId: 'd1', module: 'x', version: 'y', imageDigest: '', loadedAt: null }]);
});
afterAll(async () => {
  await queryPlans.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Returns the plan steps of a read. */
async function plansOf(read: () => Promise<unknown>): Promise<string[]> {
  const plans = await queryPlans.of(read);
  expect(plans.length).toBeGreaterThan(0);
  return plans.flat();
}

const moment = new Date('2026-11-23T09:30:00.000Z');
const first = { sort: 'time', order: 'desc', limit: 51, after: null } as const;
const byTime = { ...first, after: { time: moment, key: 'x' } } as const;
const byNumber = { ...first, after: { time: moment, key: 1 } } as const;
const byName = { sort: 'name', order: 'asc', limit: 51, after: { name: 'device-1' } } as const;
const byPosition = { sort: 'number', order: 'asc', limit: 51, after: { number: 7 } } as const;
const byIdentifier = { ...byName, after: { name: 'd0' } } as const;
const range = { from: new Date(0), until: new Date() };
const matching = (text: string) => ({ selector: parseLabelSelector(text) });

const { audit, builds, checkpoints, devices, history, loads, orders, patchSets, rollouts } = records;
const auditQueries = new AuditQueries(reader);
const checkpointQueries = new CheckpointQueries(reader);
const abiViolationQueries = new AbiViolationQueries(reader);
const deviceQueries = new DeviceQueries(reader);
const groupQueries = new GroupQueries(reader);
const historyQueries = new HistoryQueries(reader);
const hostQueries = new HostQueries(reader);
const keyQueries = new KeyQueries(reader);
const loadQueries = new LoadQueries(reader);
const loadBatchQueries = new LoadBatchQueries(reader);
const loadBatches = new LoadBatchRecords(records.connection);
const scope = parseLabelSelector('few in (yes,no),!beta');
const buildQueries = new BuildQueries(reader);
const patchSetQueries = new PatchSetQueries(reader);
const programQueries = new ProgramQueries(reader);
const publisherKeyQueries = new PublisherKeyQueries(reader);
const rolloutQueries = new RolloutQueries(reader);
const webhookQueries = new WebhookQueries(reader);
const channelQueries = new ChannelQueries(reader);
const assignmentQueries = new AssignmentQueries(reader);
const desiredStates = new DesiredStateRecords(records.connection);
const signaturePolicyQueries = new SignaturePolicyQueries(reader);
const signingKeyQueries = new SigningKeyQueries(reader);

/** Returns whether a step scans a whole table. Counting the devices of each host is excepted, as every list of hosts does so. */
function readsAll(step: string): boolean {
  return step.startsWith('SCAN') && !step.includes('VIRTUAL TABLE') && !step.startsWith('SCAN Device USING COVERING INDEX');
}

test.each<[string, () => Promise<unknown>, string]>([
  ['loads', () => loadQueries.list(range, byTime), 'Load_requestedAt_id_idx (requestedAt>? AND requestedAt<?)'],
  ['loads of a batch', () => loadQueries.list({ batchId: 'x' }, byTime), 'Load_batchId_requestedAt_id_idx (batchId=? AND requestedAt<?)'],
  [
    'loads of a device',
    () => loadQueries.list({ deviceId: 'x' }, byTime),
    'Load_deviceId_requestedAt_id_idx (deviceId=? AND requestedAt<?)',
  ],
  [
    'completed loads of a device',
    () => loadQueries.list({ deviceId: 'x', state: 'completed', outcome: 'failed' }, first),
    'Load_deviceId_requestedAt_id_idx (deviceId=?)',
  ],
  ['loads of a module', () => loadQueries.list({ module: 'x' }, byTime), 'Load_module_requestedAt_id_idx (module=? AND requestedAt<?)'],
  [
    'loads of a version of a module',
    () => loadQueries.list({ ...range, module: 'x', version: 'y' }, byTime),
    'Load_version_module_requestedAt_id_idx (version=? AND module=? AND requestedAt>? AND requestedAt<?)',
  ],
  [
    'failed loads of a module',
    () => loadQueries.list({ module: 'x', outcome: 'failed' }, byTime),
    'Load_ended_module_outcome_requestedAt_id_idx (module=? AND outcome=? AND requestedAt<?)',
  ],
  [
    'waiting loads of a module',
    () => loadQueries.list({ module: 'x', state: 'queued' }, byTime),
    'Load_open_requestedAt_id_idx (requestedAt<?)',
  ],
  ['failed loads', () => loadQueries.list({ outcome: 'x' }, byTime), 'Load_ended_outcome_requestedAt_id_idx (outcome=? AND requestedAt<?)'],
  ['waiting loads', () => loadQueries.list({ state: 'queued' }, byTime), 'Load_open_requestedAt_id_idx (requestedAt<?)'],
  ['completed loads', () => loadQueries.list({ state: 'completed' }, byTime), 'Load_requestedAt_id_idx (requestedAt<?)'],
  ['the first load that waits', () => loadQueries.queuedBefore(moment), 'Load_open_requestedAt_id_idx (requestedAt<?)'],
  ['load batches', () => loadBatchQueries.list(range, byTime), 'LoadBatch_requestedAt_id_idx (requestedAt>? AND requestedAt<?)'],
  [
    'load batches of a module',
    () => loadBatchQueries.list({ module: 'x' }, byTime),
    'LoadBatch_module_requestedAt_id_idx (module=? AND requestedAt<?)',
  ],
  [
    'load batches of a version',
    () => loadBatchQueries.list({ version: 'y' }, byTime),
    'LoadBatch_version_requestedAt_id_idx (version=? AND requestedAt<?)',
  ],
  [
    'load batches in a scope',
    () => loadBatches.listInScope(scope, range, byTime),
    'LoadBatch_requestedAt_id_idx (requestedAt>? AND requestedAt<?)',
  ],
  ['rollouts in a scope', () => rollouts.listInScope(scope, range, byTime), 'Rollout_requestedAt_id_idx (requestedAt>? AND requestedAt<?)'],
  ['the first load of a batch', () => loadBatches.anyLoad('x'), 'Load_batchId_requestedAt_id_idx (batchId=?)'],
  ['loads that are overdue', () => loads.listOverdue(moment, 10), 'Load_open_deadlineAt_idx (deadlineAt<?)'],
  [
    'the next orders of a host',
    () => orders.next('x', 5, 10, 10),
    'AgentOrder_hostId_cancelledAt_number_idx (hostId=? AND cancelledAt=? AND number>?)',
  ],
  ['devices', () => deviceQueries.list(range, byTime), 'Device_createdAt_id_idx (createdAt>? AND createdAt<?)'],
  ['devices by name', () => deviceQueries.list({}, byName), 'Device_name_key (name>? AND name<?)'],
  ['devices of a prefix by name', () => deviceQueries.list({ namePrefix: 'dev' }, byName), 'Device_name_key (name>? AND name<?)'],
  ['devices of a host', () => deviceQueries.list({ hostId: 'x' }, byTime), 'Device_hostId_createdAt_id_idx (hostId=? AND createdAt<?)'],
  ['devices with a label of many', () => deviceQueries.list(matching('all=yes'), byTime), 'Device_createdAt_id_idx (createdAt<?)'],
  [
    'devices that a selector excludes few of',
    () => deviceQueries.list(matching('few notin (yes),!none'), byTime),
    'Device_createdAt_id_idx (createdAt<?)',
  ],
  ['the device with a name', () => deviceQueries.list({ name: 'device-1' }, { ...byName, after: null }), 'Device_name_key (name=?)'],
  [
    'attaching devices',
    () => deviceQueries.list({ status: 'attaching' }, byTime),
    'Device_attachedBootId_createdAt_id_idx (attachedBootId=? AND createdAt<?)',
  ],
  ['events', () => auditQueries.list(range, byNumber), 'AuditEvent_at_idx (at>? AND at<?)'],
  ['events of an action', () => auditQueries.list({ action: 'x' }, byNumber), 'AuditEvent_action_at_idx (action=? AND at<?)'],
  ['events of an object', () => auditQueries.list({ object: 'x', action: 'y' }, byNumber), 'AuditEvent_object_at_idx (object=? AND at<?)'],
  ['events of an actor', () => auditQueries.list({ actor: 'x' }, byNumber), 'AuditEvent_actor_at_idx (actor=? AND at<?)'],
  [
    'events of a request',
    () => auditQueries.list({ requestId: 'x', actor: 'y' }, byNumber),
    'AuditEvent_requestId_at_idx (requestId=? AND at<?)',
  ],
  ['events as they are exported', () => auditQueries.after(17, 500), 'AuditEvent USING INTEGER PRIMARY KEY (rowid>?)'],
  [
    'the last of the old events',
    () => auditQueries.findLastOlderThan({ number: 20, prunedThrough: 17 }, moment),
    'AuditEvent USING INTEGER PRIMARY KEY (rowid>?)',
  ],
  ['checkpoints', () => checkpointQueries.list(byNumber), 'Checkpoint_at_size_idx (at<?)'],
  ['tiles side by side', () => checkpointQueries.tileRoots(0, 256, 256), 'sqlite_autoindex_AuditTile_1 (level=? AND index>?)'],
  ['how many tiles there are', () => checkpoints.countTiles(0), 'sqlite_autoindex_AuditTile_1 (level=?)'],
  ['signing keys', () => signingKeyQueries.list(byTime), 'SigningKey_createdAt_id_idx (createdAt<?)'],
  [
    'history',
    () => historyQueries.list({ deviceId: 'x', module: 'y' }, byNumber),
    'HistoryEntry_deviceId_module_installedAt_idx (deviceId=? AND module=? AND installedAt<?)',
  ],
  [
    'history of a device',
    () => historyQueries.list({ deviceId: 'x', ...range }, byNumber),
    'HistoryEntry_deviceId_installedAt_idx (deviceId=? AND installedAt>? AND installedAt<?)',
  ],
  [
    'the module table at a time',
    () => historyQueries.at('x', moment, byName),
    'HistoryEntry_deviceId_module_installedAt_idx (deviceId=? AND module=? AND installedAt<?)',
  ],
  ['modules that a device had', () => historyQueries.at('x', moment, byName), 'sqlite_autoindex_DeviceModule_1 (deviceId=? AND module>?)'],
  [
    'the latest residency of a module',
    () => history.latest([{ deviceId: 'x', module: 'y' }]),
    'HistoryEntry_deviceId_module_installedAt_idx (deviceId=? AND module=?)',
  ],
  [
    'residencies that a reboot ends',
    () => history.endAll(['x', 'y'], moment, 'reboot'),
    'HistoryEntry_deviceId_module_installedAt_idx (deviceId=? AND module=?)',
  ],
  [
    'devices that ever had a build',
    () => historyQueries.devicesOfBuild({ module: 'x', version: 'y' }, byIdentifier),
    'HistoryEntry_module_version_deviceId_installedAt_removedAt_idx (module=? AND version=? AND deviceId>?)',
  ],
  [
    'devices that had a build and do not now',
    () => historyQueries.devicesOfBuild({ module: 'x', version: 'y', isRunning: false }, byIdentifier),
    'HistoryEntry_module_version_deviceId_installedAt_removedAt_idx (module=? AND version=? AND deviceId>?)',
  ],
  [
    'devices that have a build',
    () => historyQueries.devicesOfBuild({ module: 'x', version: 'y', isRunning: true }, byIdentifier),
    'DeviceModule_module_version_deviceId_idx (module=? AND version=? AND deviceId>?)',
  ],
  [
    'devices that have had a version',
    () => history.findDevicesThatHad(['d1', 'd2'], 'x', 'y'),
    'HistoryEntry_module_version_deviceId_installedAt_removedAt_idx (module=? AND version=? AND deviceId=?)',
  ],
  [
    'violations',
    () => abiViolationQueries.list({ deviceId: 'x', programId: 'y', module: 'z' }, byNumber),
    'AbiViolation_deviceId_firstFaultAt_idx (deviceId=? AND firstFaultAt<?)',
  ],
  [
    'programs',
    () => programQueries.list({ deviceId: 'x', module: 'y' }, byTime),
    'Program_deviceId_createdAt_id_idx (deviceId=? AND createdAt<?)',
  ],
  ['builds', () => buildQueries.list({ module: 'x', language: 'y' }, byTime), 'Build_module_createdAt_id_idx (module=? AND createdAt<?)'],
  ['modules', () => buildQueries.listModules(byName), 'Build_module_createdAt_id_idx (module>? AND module<?)'],
  ['keys', () => keyQueries.list({}, byTime), 'ApiKey_createdAt_id_idx (createdAt<?)'],
  ['publisher keys', () => publisherKeyQueries.list({}, byTime), 'PublisherKey_createdAt_id_idx (createdAt<?)'],
  ['signature policies', () => signaturePolicyQueries.list(byTime), 'SignaturePolicy_createdAt_id_idx (createdAt<?)'],
  ['groups', () => groupQueries.list(byTime), 'DeviceGroup_createdAt_id_idx (createdAt<?)'],
  ['channels', () => channelQueries.list(byTime), 'Channel_createdAt_id_idx (createdAt<?)'],
  ['assignments', () => assignmentQueries.list(byTime), 'Assignment_createdAt_id_idx (createdAt<?)'],
  ['devices to examine', () => desiredStates.devicesAfter('x', 10), 'sqlite_autoindex_Device_1 (id>?)'],
  [
    'devices that need a load',
    () => desiredStates.listDue('x', new Date(), 10),
    'COVERING INDEX DesiredState_assignmentId_state_reason_deviceId_idx (assignmentId=? AND state=? AND reason=?)',
  ],
  ['devices to retry', () => desiredStates.listDue('x', new Date(), 10), 'DesiredState_retry_idx (assignmentId=? AND nextAttemptAt<?)'],
  [
    'loads of assignments on devices',
    () => desiredStates.endedLoads(['x'], ['y'], new Date()),
    'Load_deviceId_requestedAt_id_idx (deviceId=? AND requestedAt>?)',
  ],
  [
    'numbers of devices by state',
    () => desiredStates.count(['x']),
    'COVERING INDEX DesiredState_assignmentId_state_reason_deviceId_idx (assignmentId=?)',
  ],
  ['webhooks', () => webhookQueries.list(byTime), 'Webhook_createdAt_id_idx (createdAt<?)'],
  ['builds', () => buildQueries.list({ module: 'x', language: 'y' }, byTime), 'Build_module_createdAt_id_idx (module=? AND createdAt<?)'],
  ['modules', () => buildQueries.listModules(byName), 'Build_module_createdAt_id_idx (module>? AND module<?)'],
  ['keys', () => keyQueries.list({}, byTime), 'ApiKey_createdAt_id_idx (createdAt<?)'],
  ['publisher keys', () => publisherKeyQueries.list({}, byTime), 'PublisherKey_createdAt_id_idx (createdAt<?)'],
  ['signature policies', () => signaturePolicyQueries.list(byTime), 'SignaturePolicy_createdAt_id_idx (createdAt<?)'],
  ['patch sets', () => patchSetQueries.list(range, byTime), 'PatchSet_createdAt_id_idx (createdAt>? AND createdAt<?)'],
  ['patch sets with a module', () => patchSetQueries.list({ module: 'x' }, byTime), 'PatchSet_createdAt_id_idx (createdAt<?)'],
  ['rollouts', () => rolloutQueries.list(range, byTime), 'Rollout_requestedAt_id_idx (requestedAt>? AND requestedAt<?)'],
  [
    'rollouts of a module',
    () => rolloutQueries.list({ module: 'x' }, byTime),
    'Rollout_module_requestedAt_id_idx (module=? AND requestedAt<?)',
  ],
  [
    'rollouts in a state',
    () => rolloutQueries.list({ state: 'x' }, byTime),
    'Rollout_state_requestedAt_id_idx (state=? AND requestedAt<?)',
  ],
  ['open rollouts', () => rollouts.openIds(), 'Rollout_endedAt_requestedAt_id_idx (endedAt=?)'],
  [
    'devices of a rollout',
    () => rolloutQueries.devices({ rolloutId: 'x' }, byPosition),
    'RolloutDevice_rolloutId_position_idx (rolloutId=? AND position>?)',
  ],
  [
    'devices of a wave in a state',
    () => rolloutQueries.devices({ rolloutId: 'x', wave: 1, state: 'loaded' }, byPosition),
    'RolloutDevice_rolloutId_wave_state_position_interrupted_idx (rolloutId=? AND wave=? AND state=? AND position>?)',
  ],
  [
    'devices that wait for their loads',
    () => rollouts.waitingDevices('x', 1, 10),
    'RolloutDevice_rolloutId_wave_state_position_interrupted_idx (rolloutId=? AND wave=? AND state=?)',
  ],
  [
    'how many devices are at what',
    () => rollouts.countDevices('x'),
    'COVERING INDEX RolloutDevice_rolloutId_wave_state_position_interrupted_idx (rolloutId=?)',
  ],
  ['hosts', () => hostQueries.list({}, byTime), 'Host_registeredAt_id_idx (registeredAt<?)'],
])('%s are read from the end of the previous page, without sorting', async (_what, read, index) => {
  const plans = await plansOf(read);
  expect(
    plans.filter((step) => step.endsWith(index)),
    plans.join('\n'),
  ).toHaveLength(1);
  expect(plans.filter((step) => step.includes('TEMP B-TREE'))).toEqual([]);
  expect(plans.filter(readsAll)).toEqual([]);
});

test('the first devices with one of the values of a label are read in the order of the index, without sorting all of them', async () => {
  const plans = await queryPlans.of(() => deviceQueries.list(matching('all in (yes,no)'), byTime));
  const ofLabels = plans.filter(([first = '']) => first.includes('DeviceLabel_key_value_deviceId_idx'));
  expect(ofLabels).toHaveLength(1);
  expect(ofLabels.flat().filter((step) => step.includes('TEMP B-TREE'))).toEqual([]);
});

test.each<[string, () => Promise<unknown>, string]>([
  ['devices with a label of few', () => deviceQueries.list(matching('few=yes'), byTime), 'sqlite_autoindex_Device_1 (id=?)'],
  [
    'devices with one of the values of a label',
    () => deviceQueries.list(matching('few in (yes,no),all'), byTime),
    'sqlite_autoindex_Device_1 (id=?)',
  ],
  [
    'labels with one of some values',
    () => deviceQueries.list(matching('few in (yes,no)'), byTime),
    'DeviceLabel_key_value_deviceId_idx (key=? AND value=?)',
  ],
  ['devices of a request with a label', () => devices.findMatching(parseLabelSelector('few=yes'), 10), 'sqlite_autoindex_Device_1 (id=?)'],
  [
    'labels of a request',
    () => devices.findMatching(parseLabelSelector('few in (yes,no),all!=no'), 10),
    'DeviceLabel_key_value_deviceId_idx (key=? AND value=?)',
  ],
  ['devices of a request by name', () => devices.hostsOfNamed(['device-1', 'device-2']), 'Device_name_key (name=?)'],
  ['devices by their identifiers', () => deviceQueries.list({ ids: ['dev_a', 'dev_b'] }, byTime), 'sqlite_autoindex_Device_1 (id=?)'],
  ['devices with labels', () => deviceQueries.list(matching('all=yes,few=yes'), byName), 'sqlite_autoindex_Device_1 (id=?)'],
  [
    'loads of devices with a label of few',
    () => loadQueries.list({ ...matching('few=yes'), ...range }, byTime),
    'Load_deviceId_requestedAt_id_idx (deviceId=? AND requestedAt>? AND requestedAt<?)',
  ],
  ['devices of a prefix by time', () => deviceQueries.list({ namePrefix: 'dev' }, first), 'Device_name_key (name>? AND name<?)'],
  [
    'versions that loads installed on devices',
    () => history.loadedVersions(['d1', 'd2'], 'x', 10),
    'HistoryEntry_deviceId_module_installedAt_idx (deviceId=? AND module=?)',
  ],
  [
    'versions that loads of a patch set installed or removed',
    () => history.loadedOrRemoved([{ deviceId: 'd1', loadId: 'x' }], 'y'),
    'HistoryEntry_deviceId_module_installedAt_idx (deviceId=? AND module=?)',
  ],
  ['modules of a patch set', () => patchSets.modulesOf('x'), 'PatchSet_name_version_key (name=?)'],
  [
    'open rollouts of a module',
    () => rollouts.conflicts({ id: 'x', module: 'y', patchSetId: null }, 'all'),
    'Rollout_endedAt_requestedAt_id_idx (endedAt=?)',
  ],
  [
    'devices that rollouts share',
    () => rollouts.countSharedDevices('x', ['y', 'z']),
    'sqlite_autoindex_RolloutDevice_1 (rolloutId=? AND deviceId=?)',
  ],
  ['the device of a load', () => rollouts.reopenRolledBack('x'), 'RolloutDevice_loadId_idx (loadId=?)'],
  ['open loads of devices', () => loads.countOpen(['d1']), 'Load_open_deviceId_idx (deviceId=?)'],
  ['waiting loads of devices', () => loads.listQueued(['d1'], { module: 'x', isPatchSet: false }), 'Load_open_deviceId_idx (deviceId=?)'],
  ['the build of an image', () => builds.findByImageDigest('x'), 'Build_imageDigest_idx (imageDigest=?)'],
  ['how builds were made', () => audit.findByAction('x', ['y', 'z']), 'AuditEvent_object_at_idx (object=?)'],
  ['loads of a version', () => loadQueries.list({ version: 'x' }, byTime), 'Load_version_module_requestedAt_id_idx (version=?)'],
])('%s are looked up by index and sorted, without reading other rows', async (_what, read, index) => {
  const plans = await plansOf(read);
  expect(
    plans.filter((step) => step.endsWith(index)),
    plans.join('\n'),
  ).toHaveLength(1);
  expect(plans.filter(readsAll)).toEqual([]);
});
