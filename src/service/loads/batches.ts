// Creates the loads of a request, one per device: all or none.

import { z } from 'zod';
import { newIdentifier } from '../../protocol/identifiers.ts';
import { LoadPolicy } from '../../protocol/load-report.ts';
import { type AuditEntry, toNewAuditEvent } from '../audit-events/entry.ts';
import { AuditRecords } from '../audit-events/repository.ts';
import type { NewAuditEvent } from '../database/commit-effects.ts';
import type { Connection } from '../database/connection.ts';
import { Json } from '../database/json.ts';
import { findClosedWindows } from '../devices/closed-windows.ts';
import type { SelectedDevice } from '../devices/selection.ts';
import { maintenanceLimits } from '../groups/maintenance-windows.ts';
import { describePrunedImage } from '../modules/pruned-image.ts';
import { describeYankedBuild } from '../modules/yanked-build.ts';
import { HeldOrderRecords } from '../orders/held-orders.ts';
import { newOrder } from '../orders/orders.ts';
import type { NewOrder } from '../orders/repository.ts';
import { OrderRecords } from '../orders/repository.ts';
import { Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { type DemandsOn, resolveDemands } from '../signature-policies/signature-demands.ts';
import { buildsOf, type LoadContent, toAuditFacts, toColumns, toOrderContent } from './content.ts';
import { endLoads, type OnLoadsEnded } from './endings.ts';
import { type HoldOn, holdsOf, rejectClosed } from './maintenance-holds.ts';
import type { NewLoad, NewLoadBatch, OpenLoadCount, QueueSubject } from './repository.ts';
import { LoadRecords } from './repository.ts';
import { noUnreachableTargets, type UnreachableTargets } from './unreachable-targets.ts';

/** Maximum number of queued and dispatched loads per device. */
const maxOpenLoads = 100;

/** Policy and deadline of loads. */
export const LoadTerms = LoadPolicy.extend({
  /** Seconds after which a load that has not completed ends as `expired`. */
  deadlineSeconds: z.int(),
  /** Whether to end queued loads of the same module and devices as `superseded`. */
  supersede: z.boolean(),
  /** Why the loads begin although maintenance windows are closed; null: they are held until the windows open. Stored plans of older versions have none. */
  overrideMaintenanceWindow: z.object({ reason: z.string() }).nullable().default(null),
});
export type LoadTerms = z.infer<typeof LoadTerms>;

/** A device, and the content of its load. */
export type Target = { readonly device: SelectedDevice; readonly content: LoadContent };

type CreatedLoad = {
  readonly id: string;
  readonly device: string;
  readonly version: string;
  /** Whether it is held, and when the maintenance windows of its device open; null: unknown, or not held. */
  readonly held: boolean;
  readonly heldUntil: string | null;
};

export type CreatedLoads = {
  readonly batch: string;
  readonly loads: readonly CreatedLoad[];
};

export type Batch = {
  /** One or more loads of one kind and one module. */
  readonly targets: readonly Target[];
  readonly module: string;
  readonly terms: LoadTerms;
  /** Whether the loads return devices to earlier versions. */
  readonly isRollback: boolean;
  /** The rollout of the loads; null: a request for loads. */
  readonly rolloutId: string | null;
  /** How the request selected its devices: an object of JSON. Omitted for a rollout. */
  readonly selection?: Readonly<Record<string, unknown>>;
  /** The selected devices that are unreachable. Omitted: not determined. */
  readonly unreachable?: UnreachableTargets;
  /** The batch whose failed loads this one repeats. */
  readonly retryOf?: string;
  /**
   * Whether the deadline of a held load begins when it is released: rollouts and assignments do not choose when they load. By default, a request is
   * rejected if the windows do not open before its deadline.
   */
  readonly deadlineFromRelease?: boolean;
  /** Details for the audit trail besides the policy. */
  readonly facts: AuditEntry['detail'];
  readonly requester: Requester;
};

/** Creates a load with its order for each target. @throws {Problem} `image-pruned`, `build-yanked`, `busy`, `windows-closed`. */
export async function createLoads(connection: Connection, batch: Batch, requestedAt: Date, onEnded: OnLoadsEnded): Promise<CreatedLoads> {
  const [created] = await createBatches(connection, [{ status: 'fulfilled', value: batch }], requestedAt, onEnded);
  if (created?.status !== 'fulfilled') throw created?.reason;
  return created.value;
}

/**
 * Creates the loads of several batches with few statements. Each batch is created completely or rejected without changes.
 * @param requested Rejected entries are passed through. A batch that supersedes loads must be the only one: superseded loads are read from the database.
 * @param onEnded Called with the superseded loads.
 * @returns For each entry, the created loads or the reason of its rejection: its own, or the {Problem} that `createLoads` throws.
 */
export async function createBatches(
  connection: Connection,
  requested: readonly PromiseSettledResult<Batch>[],
  requestedAt: Date,
  onEnded: OnLoadsEnded,
): Promise<PromiseSettledResult<CreatedLoads>[]> {
  const batches = requested.flatMap((entry) => (entry.status === 'fulfilled' ? entry.value : []));
  const deviceIds = [...new Set(batches.flatMap(({ targets }) => targets.map(({ device }) => device.id)))];
  const [open, demandsOn, closedOn] = await Promise.all([
    new LoadRecords(connection).countOpen(deviceIds),
    resolveDemands(connection, modulesOf(batches), deviceIds),
    findClosedWindows(connection, deviceIds, requestedAt),
  ]);
  const circumstances = { demandsOn, holdOn: holdsOf(open, closedOn, requestedAt), requestedAt };
  const results: PromiseSettledResult<CreatedLoads>[] = [];
  const created: PreparedBatch[] = [];
  for (const entry of requested) {
    if (entry.status === 'rejected') {
      results.push(entry);
      continue;
    }
    const batch = entry.value;
    const reason = (await rejectionOf(connection, batch, open)) ?? (await rejectClosed(connection, batch, closedOn, requestedAt));
    if (reason !== null) {
      results.push({ status: 'rejected', reason });
      continue;
    }
    const { id, loads, ...rest } = prepareBatch(batch, circumstances);
    if (batch.terms.supersede) await supersedeQueued(connection, batch, { batchId: id, completedAt: requestedAt }, onEnded);
    for (const { device } of batch.targets) {
      const { loads: before = 0, held = 0 } = open.get(device.id) ?? {};
      open.set(device.id, { loads: before + 1, held });
    }
    created.push({ id, loads, ...rest });
    const summaries = loads.map(summarize);
    results.push({ status: 'fulfilled', value: { batch: id, loads: summaries } });
  }
  await Promise.all([
    new LoadRecords(connection).create(created.flatMap(({ loads }) => loads)),
    new LoadRecords(connection).createBatches(created.flatMap(({ batch }) => batch ?? [])),
    new OrderRecords(connection).create(created.flatMap(({ orders }) => orders)),
    new AuditRecords(connection).append(created.map(({ event }) => event)),
  ]);
  const held = created.flatMap(({ loads }) => loads.flatMap(({ id, heldSince }) => (heldSince === null ? [] : [id])));
  await new HeldOrderRecords(connection).hold(held);
  return results;
}

function summarize({ id, deviceId, version, heldSince, heldUntil }: NewLoad): CreatedLoad {
  return { id, device: deviceId, version, held: heldSince !== null, heldUntil: heldUntil?.toISOString() ?? null };
}

/** Returns the modules of the builds of batches. */
function modulesOf(batches: readonly Batch[]): string[] {
  return [...new Set(batches.flatMap(({ targets }) => targets.flatMap(({ content }) => buildsOf(content).map(({ module }) => module))))];
}

/** Returns why a batch is rejected, or null. @param open The number of open loads by device. */
async function rejectionOf(connection: Connection, batch: Batch, open: ReadonlyMap<string, OpenLoadCount>): Promise<Problem | null> {
  const { targets, terms } = batch;
  for (const build of new Set(targets.flatMap(({ content }) => buildsOf(content)))) {
    const lack = describePrunedImage(build);
    if (lack !== null) return new Problem('image-pruned', lack);
    const yank = describeYankedBuild(build);
    if (yank !== null) return new Problem('build-yanked', `${yank}; no load was created`);
  }
  const [full] = await findFullQueues(
    connection,
    targets.map(({ device }) => device.id),
    subjectOf(batch),
    terms,
    open,
  );
  return full === undefined ? null : new Problem('busy', `${queueFullMessage(full)}; no load was created`);
}

/** Ends the queued loads that a batch supersedes. */
async function supersedeQueued(
  connection: Connection,
  batch: Batch,
  { batchId, completedAt }: { readonly batchId: string; readonly completedAt: Date },
  onEnded: OnLoadsEnded,
): Promise<void> {
  const waiting = await new LoadRecords(connection).listQueued(
    batch.targets.map(({ device }) => device.id),
    subjectOf(batch),
  );
  await endLoads(
    connection,
    waiting,
    { outcome: 'superseded', reason: `superseded by the loads of ${batchId}`, completedAt },
    batch.requester,
    onEnded,
  );
}

/** Returns what the queued loads that a batch supersedes have in common. */
function subjectOf({ targets, module }: Batch): QueueSubject {
  return { module, isPatchSet: targets[0]?.content.kind === 'patch-set' };
}

type PreparedBatch = {
  readonly id: string;
  readonly loads: readonly NewLoad[];
  readonly orders: readonly NewOrder[];
  /** Null if the batch is not a request for several devices. */
  readonly batch: NewLoadBatch | null;
  readonly event: NewAuditEvent;
};

/** What the loads of all batches depend on. */
type Circumstances = { readonly demandsOn: DemandsOn; readonly holdOn: HoldOn; readonly requestedAt: Date };

function prepareBatch(batch: Batch, { demandsOn, holdOn, requestedAt }: Circumstances): PreparedBatch {
  const { targets, module, terms, isRollback, rolloutId, facts, requester, deadlineFromRelease = false } = batch;
  const windowOverride = terms.overrideMaintenanceWindow?.reason ?? null;
  const batchId = newIdentifier('batch');
  const policy = LoadPolicy.parse(terms);
  const remainingMilliseconds = terms.deadlineSeconds * 1_000;
  const created = targets.map(({ device, content }) => {
    const hold = windowOverride === null ? holdOn(device.id) : null;
    const time = hold !== null && deadlineFromRelease ? maintenanceLimits.searchMilliseconds : remainingMilliseconds;
    const deadlineAt = new Date(requestedAt.getTime() + time);
    const deadline = deadlineAt.toISOString();
    const load: NewLoad = {
      id: newIdentifier('load'),
      batchId,
      deviceId: device.id,
      ...toColumns(content),
      ...policy,
      state: 'queued',
      requestedAt,
      requestedBy: requester.actor,
      rollback: isRollback,
      rolloutId,
      deadlineAt,
      heldSince: hold === null ? null : requestedAt,
      heldUntil: hold === null ? null : hold.until,
      windowOverride,
    };
    const order = { load: load.id, ...toOrderContent(content, policy, device.id, demandsOn), deadline, remainingMilliseconds };
    return { load, order: newOrder(device, order, requester, requestedAt) };
  });
  const [first] = targets;
  const contentFacts = first === undefined ? {} : toAuditFacts(first.content, policy, isRollback);
  const loads = created.map(({ load }) => load);
  const held = loads.filter(({ heldSince }) => heldSince !== null).length;
  const holdFacts = { ...(held === 0 ? {} : { held }), ...(windowOverride === null ? {} : { overrideMaintenanceWindow: windowOverride }) };
  const detail = { module, ...facts, ...contentFacts, ...holdFacts, devices: targets.length };
  return {
    id: batchId,
    loads,
    batch: toBatchRow(batch, batchId, loads),
    orders: created.map(({ order }) => order),
    event: toNewAuditEvent(requester, requestedAt, { action: 'load.requested', object: batchId, detail }),
  };
}

/** Returns the row of a request for several devices, skipped ones included, or of a retry; null for others, whose loads say all about them. */
function toBatchRow(
  { module, isRollback, rolloutId, selection, unreachable = noUnreachableTargets, retryOf }: Batch,
  id: string,
  loads: readonly NewLoad[],
): NewLoadBatch | null {
  const [first] = loads;
  if (first === undefined || rolloutId !== null || (loads.length + unreachable.skipped === 1 && retryOf === undefined)) return null;
  const { kind, version, requestedAt, requestedBy } = first;
  return {
    id,
    kind,
    module,
    version: loads.every((load) => load.version === version) ? version : null,
    selection: Json.of({ ...selection }),
    unreachable: unreachable.count === 0 ? null : Json.of(unreachable),
    loads: loads.length,
    rollback: isRollback,
    retryOf: retryOf ?? null,
    requestedAt,
    requestedBy,
  };
}

/** Returns the devices that have reached the limit of open loads. @param subject The module or patch set to load. */
export async function devicesWithFullQueue(
  connection: Connection,
  deviceIds: readonly string[],
  subject: QueueSubject,
  terms: Pick<LoadTerms, 'supersede'>,
): Promise<string[]> {
  return findFullQueues(connection, deviceIds, subject, terms, await new LoadRecords(connection).countOpen(deviceIds));
}

async function findFullQueues(
  connection: Connection,
  deviceIds: readonly string[],
  subject: QueueSubject,
  { supersede }: Pick<LoadTerms, 'supersede'>,
  open: ReadonlyMap<string, OpenLoadCount>,
): Promise<string[]> {
  const full = deviceIds.filter((id) => (open.get(id)?.loads ?? 0) >= maxOpenLoads);
  if (full.length === 0 || !supersede) return full;
  const withSuperseded = new Set((await new LoadRecords(connection).listQueued(full, subject)).map(({ deviceId }) => deviceId));
  return full.filter((id) => !withSuperseded.has(id));
}

/** Returns an error message for a device that has reached the limit. */
export function queueFullMessage(device: string): string {
  return `limit reached (${maxOpenLoads} open loads per device) on the device ${device}: cancel some, or supersede them`;
}
