// The loads of one request: each puts a build on one device, and all of them are made or none.

import { newIdentifier } from '../protocol/identifiers.ts';
import { LoadPolicy } from '../protocol/load-report.ts';
import type { LoadableBuild } from '../store/records/builds.ts';
import type { NewLoad } from '../store/records/loads.ts';
import type { Records } from '../store/records/records.ts';
import { type AuditEntry, audit, type Requester } from './context.ts';
import type { SelectedDevice } from './device-selection.ts';
import { endLoads } from './load-endings.ts';
import { newOrder } from './orders.ts';
import { Problem } from './problem.ts';
import { checkHasImage } from './retention.ts';
import { demandsOf } from './signature-demands.ts';

/** Loads that may wait for one device or be under way on it. */
const queueLimit = 100;

/** How loads are to be carried out, and until when. */
export type LoadTerms = LoadPolicy & {
  /** Seconds after which a load that has not completed ends as `expired`. */
  readonly deadlineSeconds: number;
  /** Whether loads of the same module that wait for the same devices, and were not dispatched, give way to these. */
  readonly supersede: boolean;
};

/** A build that is to be put on a device; all of a batch are of one module. */
export type Target = { readonly device: SelectedDevice; readonly build: LoadableBuild };

export type NewLoads = {
  readonly batch: string;
  readonly loads: readonly { readonly id: string; readonly device: string; readonly version: string }[];
};

type Batch = {
  readonly module: string;
  readonly terms: LoadTerms;
  /** Whether its devices go back to versions that they had. */
  readonly isRollback: boolean;
  /** The rollout that it is of; null where it is asked for by itself. */
  readonly rolloutId: string | null;
  /** What the audit trail says of it beside how it is carried out. */
  readonly facts: AuditEntry['detail'];
};

/** Makes a load of each target, with its order. @throws {Problem} `image-pruned`, `busy`. */
export async function makeLoads(
  records: Records,
  targets: readonly Target[],
  { module, terms, isRollback, rolloutId, facts }: Batch,
  requester: Requester,
): Promise<NewLoads> {
  for (const { build } of targets) checkHasImage(build);
  const batchId = newIdentifier('batch');
  const policy = LoadPolicy.parse(terms);
  const requestedAt = new Date();
  const deadlineAt = new Date(requestedAt.getTime() + terms.deadlineSeconds * 1_000);
  const deviceIds = targets.map(({ device }) => device.id);
  const [full] = await devicesWithoutRoom(records, deviceIds, module, terms);
  if (full !== undefined) throw new Problem('busy', `${withoutRoom(full)}; nothing was loaded anywhere`);
  if (terms.supersede) {
    const waiting = await records.loads.queuedFor(deviceIds, module);
    const end = { outcome: 'superseded', reason: `the loads of ${batchId} have taken its place`, completedAt: requestedAt };
    await endLoads(records, waiting, end, requester);
  }
  const demandsOn = await demandsOf(records, module, deviceIds);
  const made = targets.map(({ device, build }) => {
    const { version } = build;
    const load: NewLoad = {
      id: newIdentifier('load'),
      batchId,
      deviceId: device.id,
      buildId: build.id,
      module,
      version,
      ...policy,
      state: 'queued',
      requestedAt,
      requestedBy: requester.actor,
      rollback: isRollback,
      rolloutId,
      deadlineAt,
    };
    const content = { kind: 'load' as const, load: load.id, module, version, image: build.imageDigest, ...policy };
    return {
      load,
      order: newOrder(device, { ...content, deadline: deadlineAt.toISOString(), demands: demandsOn(device.id) }, requester, requestedAt),
    };
  });
  await records.loads.create(made.map(({ load }) => load));
  await records.orders.create(made.map(({ order }) => order));
  const detail = { module, ...facts, ...policy, devices: targets.length };
  await audit(records, requester, requestedAt, [{ action: 'load.requested', object: batchId, detail }]);
  return { batch: batchId, loads: made.map(({ load }) => ({ id: load.id, device: load.deviceId, version: load.version })) };
}

/** Devices of these that no load can be requested for, as many wait for them as may. */
export async function devicesWithoutRoom(
  records: Records,
  deviceIds: readonly string[],
  module: string,
  { supersede }: Pick<LoadTerms, 'supersede'>,
): Promise<string[]> {
  const open = await records.loads.openOn(deviceIds);
  const full = [...open].flatMap(([id, loads]) => (loads >= queueLimit ? [id] : []));
  if (full.length === 0 || !supersede) return full;
  const makeRoom = new Set((await records.loads.queuedFor(full, module)).map(({ deviceId }) => deviceId));
  return full.filter((id) => !makeRoom.has(id));
}

/** What is to be done about a device without room. */
export function withoutRoom(device: string): string {
  return `${queueLimit} loads wait for the device ${device}, as many as may: cancel some, or ask with "supersede": true`;
}
