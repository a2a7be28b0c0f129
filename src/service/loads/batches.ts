// The loads of one request: each puts a build on one device, and all of them are made or none.

import { z } from 'zod';
import { newIdentifier } from '../../protocol/identifiers.ts';
import { LoadPolicy } from '../../protocol/load-report.ts';
import { type AuditEntry, toNewAuditEvent } from '../audit-events/entry.ts';
import { AuditRecords } from '../audit-events/repository.ts';
import type { NewAuditEvent } from '../database/commit-effects.ts';
import type { Connection } from '../database/connection.ts';
import type { SelectedDevice } from '../devices/selection.ts';
import { describePrunedImage } from '../modules/pruned-image.ts';
import type { LoadableBuild } from '../modules/repository.ts';
import { newOrder } from '../orders/orders.ts';
import type { NewOrder } from '../orders/repository.ts';
import { OrderRecords } from '../orders/repository.ts';
import { Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { type DemandsOn, resolveDemands } from '../signature-policies/signature-demands.ts';
import { endLoads, type OnLoadsEnded } from './endings.ts';
import type { NewLoad } from './repository.ts';
import { LoadRecords } from './repository.ts';

/** Loads that may wait for one device or be under way on it. */
const maxOpenLoads = 100;

/** How loads are to be carried out, and until when. */
export const LoadTerms = LoadPolicy.extend({
  /** Seconds after which a load that has not completed ends as `expired`. */
  deadlineSeconds: z.int(),
  /** Whether loads of the same module that wait for the same devices, and were not dispatched, give way to these. */
  supersede: z.boolean(),
});
export type LoadTerms = z.infer<typeof LoadTerms>;

/** A build that is to be put on a device. */
export type Target = { readonly device: SelectedDevice; readonly build: LoadableBuild };

export type CreatedLoads = {
  readonly batch: string;
  readonly loads: readonly { readonly id: string; readonly device: string; readonly version: string }[];
};

export type Batch = {
  /** All of the same module. */
  readonly targets: readonly Target[];
  readonly module: string;
  readonly terms: LoadTerms;
  /** Whether its devices go back to versions that they had. */
  readonly isRollback: boolean;
  /** The rollout that it is of; null where it is asked for by itself. */
  readonly rolloutId: string | null;
  /** What the audit trail says of it beside how it is carried out. */
  readonly facts: AuditEntry['detail'];
  readonly requester: Requester;
};

/** Makes a load of each target, with its order. @throws {Problem} `image-pruned`, `busy`. */
export async function createLoads(connection: Connection, batch: Batch, requestedAt: Date, onEnded: OnLoadsEnded): Promise<CreatedLoads> {
  const [made] = await createBatches(connection, [{ status: 'fulfilled', value: batch }], requestedAt, onEnded);
  if (made?.status !== 'fulfilled') throw made?.reason;
  return made.value;
}

/**
 * Makes the loads of several batches at once, one batch after another: of each all or none, and those that are refused change nothing.
 * @param wanted Those that are refused stay so. Where others give way to the loads of one, it is alone: those are looked for among what is written.
 * @param onEnded Called with the loads that give way to these.
 * @returns Of each what was made, or why it is refused: also with the {Problem} that `makeLoads` throws.
 */
export async function createBatches(
  connection: Connection,
  wanted: readonly PromiseSettledResult<Batch>[],
  requestedAt: Date,
  onEnded: OnLoadsEnded,
): Promise<PromiseSettledResult<CreatedLoads>[]> {
  const batches = wanted.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
  const deviceIds = [...new Set(batches.flatMap(({ targets }) => targets.map(({ device }) => device.id)))];
  const [open, demandsOn] = await Promise.all([
    new LoadRecords(connection).countOpen(deviceIds),
    resolveDemands(connection, [...new Set(batches.map(({ module }) => module))], deviceIds),
  ]);
  const results: PromiseSettledResult<CreatedLoads>[] = [];
  const made: PreparedBatch[] = [];
  for (const one of wanted) {
    if (one.status === 'rejected') {
      results.push(one);
      continue;
    }
    const batch = one.value;
    const reason = await rejectionOf(connection, batch, open);
    if (reason !== null) {
      results.push({ status: 'rejected', reason });
      continue;
    }
    const { id, loads, ...rest } = prepareBatch(batch, demandsOn, requestedAt);
    if (batch.terms.supersede) await supersedeQueued(connection, batch, { batchId: id, completedAt: requestedAt }, onEnded);
    for (const { device } of batch.targets) open.set(device.id, (open.get(device.id) ?? 0) + 1);
    made.push({ id, loads, ...rest });
    const told = loads.map((load) => ({ id: load.id, device: load.deviceId, version: load.version }));
    results.push({ status: 'fulfilled', value: { batch: id, loads: told } });
  }
  await Promise.all([
    new LoadRecords(connection).create(made.flatMap(({ loads }) => loads)),
    new OrderRecords(connection).create(made.flatMap(({ orders }) => orders)),
    new AuditRecords(connection).append(made.map(({ event }) => event)),
  ]);
  return results;
}

/** Why no load is made of a batch, null where they are. @param open Loads of each device that wait or are under way. */
async function rejectionOf(
  connection: Connection,
  { targets, module, terms }: Batch,
  open: ReadonlyMap<string, number>,
): Promise<Problem | null> {
  for (const { build } of targets) {
    const lack = describePrunedImage(build);
    if (lack !== null) return new Problem('image-pruned', lack);
  }
  const [full] = await findFullQueues(
    connection,
    targets.map(({ device }) => device.id),
    module,
    terms,
    open,
  );
  return full === undefined ? null : new Problem('busy', `${queueFullMessage(full)}; nothing was loaded anywhere`);
}

/** Ends the loads that give way to those of a batch. */
async function supersedeQueued(
  connection: Connection,
  { targets, module, requester }: Batch,
  { batchId, completedAt }: { readonly batchId: string; readonly completedAt: Date },
  onEnded: OnLoadsEnded,
): Promise<void> {
  const waiting = await new LoadRecords(connection).listQueued(
    targets.map(({ device }) => device.id),
    module,
  );
  await endLoads(
    connection,
    waiting,
    { outcome: 'superseded', reason: `the loads of ${batchId} have taken its place`, completedAt },
    requester,
    onEnded,
  );
}

type PreparedBatch = {
  readonly id: string;
  readonly loads: readonly NewLoad[];
  readonly orders: readonly NewOrder[];
  readonly event: NewAuditEvent;
};

function prepareBatch(
  { targets, module, terms, isRollback, rolloutId, facts, requester }: Batch,
  demandsOn: DemandsOn,
  requestedAt: Date,
): PreparedBatch {
  const batchId = newIdentifier('batch');
  const policy = LoadPolicy.parse(terms);
  const remainingMilliseconds = terms.deadlineSeconds * 1_000;
  const deadlineAt = new Date(requestedAt.getTime() + remainingMilliseconds);
  const deadline = deadlineAt.toISOString();
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
    const demands = demandsOn(module, device.id);
    return { load, order: newOrder(device, { ...content, deadline, remainingMilliseconds, demands }, requester, requestedAt) };
  });
  const detail = { module, ...facts, ...policy, devices: targets.length };
  return {
    id: batchId,
    loads: made.map(({ load }) => load),
    orders: made.map(({ order }) => order),
    event: toNewAuditEvent(requester, requestedAt, { action: 'load.requested', object: batchId, detail }),
  };
}

/** Devices of these that no load can be requested for, as many wait for them as may. */
export async function devicesWithFullQueue(
  connection: Connection,
  deviceIds: readonly string[],
  module: string,
  terms: Pick<LoadTerms, 'supersede'>,
): Promise<string[]> {
  return findFullQueues(connection, deviceIds, module, terms, await new LoadRecords(connection).countOpen(deviceIds));
}

async function findFullQueues(
  connection: Connection,
  deviceIds: readonly string[],
  module: string,
  { supersede }: Pick<LoadTerms, 'supersede'>,
  open: ReadonlyMap<string, number>,
): Promise<string[]> {
  const full = deviceIds.filter((id) => (open.get(id) ?? 0) >= maxOpenLoads);
  if (full.length === 0 || !supersede) return full;
  const makeRoom = new Set((await new LoadRecords(connection).listQueued(full, module)).map(({ deviceId }) => deviceId));
  return full.filter((id) => !makeRoom.has(id));
}

/** What is to be done about a device without room. */
export function queueFullMessage(device: string): string {
  return `${maxOpenLoads} loads wait for the device ${device}, as many as may: cancel some, or ask with "supersede": true`;
}
