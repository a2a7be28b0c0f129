// Brings devices to their desired versions, in one replica at a time: examines the fleet a part at a time, and requests loads at the rates of assignments.

import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import { describeFault } from '../database/damaged-rows.ts';
import type { RecurringJob } from '../database/recurring-job.ts';
import type { Store } from '../database/store.ts';
import { createLoads, devicesWithFullQueue, queueFullMessage } from '../loads/batches.ts';
import { type LoadContent, patchSetContent } from '../loads/content.ts';
import type { OnLoadsEnded } from '../loads/endings.ts';
import { BuildRecords } from '../modules/repository.ts';
import { PatchSetRecords } from '../patch-sets/repository.ts';
import { loadAllowance, nextLoadTime } from '../rollouts/load-rate.ts';
import { changedStates, decideForDevices, type Evaluation, evaluate, failedState } from './evaluation.ts';
import { afterPart, ExaminationRecords, emptyExamination } from './examination.ts';
import { AssignmentRecords, type AssignmentRow, DesiredStateRecords, type DesiredStateRow } from './repository.ts';
import { assignmentTerms } from './rollout-settings.ts';
import { type ActiveAssignment, readActiveAssignments } from './targets.ts';

/** Interval between passes, in milliseconds. */
const interval = 1_000;
/** Devices examined in one pass: a fleet of 100,000 is examined in 200 passes. */
const devicesPerPass = 500;
/** Loads that one assignment requests in one pass. */
const loadsPerPass = 250;

type Uses = { readonly store: Store; readonly clock: Clock; readonly onLoadsEnded: OnLoadsEnded };

export class Reconciler {
  readonly #uses: Uses;
  readonly #job: RecurringJob;
  /** Why loads of assignments cannot be requested, by the name of the assignment. */
  readonly #faults = new Map<string, string>();

  constructor(uses: Uses) {
    this.#uses = uses;
    this.#job = uses.store.scheduleJob('desired-state', interval, () => this.pass());
  }

  /** Why devices cannot be brought to their desired versions, one message per assignment. */
  get faults(): readonly string[] {
    return [...this.#faults].map(([name, fault]) => `the assignment ${name} cannot request loads: ${fault}`);
  }

  /** Starts a pass soon, because an assignment or a channel has changed. */
  wake(): void {
    this.#job.trigger();
  }

  async stop(): Promise<void> {
    await this.#job.stop();
  }

  /** Examines the next devices, and requests the loads that are due. */
  async pass(): Promise<void> {
    const assignments = await readActiveAssignments(this.#uses.store.readConnection);
    await this.#examine(assignments);
    this.#faults.clear();
    // An assignment with a damaged row does not prevent the others.
    for (const { row } of assignments)
      if (row.mode === 'enforce') await this.#requestLoads(row).catch((error: unknown) => this.#faults.set(row.name, describeFault(error)));
  }

  /** Updates the states of the next devices. Removes those of assignments that no longer decide for them. */
  async #examine(assignments: readonly ActiveAssignment[]): Promise<void> {
    const { store, clock } = this.#uses;
    const records = new DesiredStateRecords(store.readConnection);
    const examination = await new ExaminationRecords(store.readConnection).find();
    if (assignments.length === 0 && !(await records.hasAny())) {
      if (!isDeepStrictEqual(examination, emptyExamination))
        await store.transaction((transaction) => new ExaminationRecords(transaction).save(emptyExamination));
      return;
    }
    const devices = await records.devicesAfter(examination.position, devicesPerPass);
    const last = await records.ofDevices(devices.map(({ id }) => id));
    const decisions = await decideForDevices(store.readConnection, assignments, devices);
    const evaluations = await evaluate(store.readConnection, decisions, last, clock.now());
    const position = devices.length < devicesPerPass ? null : (devices.at(-1)?.id ?? null);
    const next = afterPart(examination, evaluations, position);
    const hasProgressed = !isDeepStrictEqual(next, examination);
    const changed = changedStates(evaluations, last);
    const current = new Set(evaluations.map(({ state }) => `${state.deviceId} ${state.assignmentId}`));
    const removed = last.filter(({ deviceId, assignmentId }) => !current.has(`${deviceId} ${assignmentId}`));
    if (changed.length === 0 && removed.length === 0 && !hasProgressed) return;
    await store.transaction(async (transaction) => {
      const states = new DesiredStateRecords(transaction);
      await states.save(changed);
      await states.remove(removed);
      if (hasProgressed) await new ExaminationRecords(transaction).save(next);
    });
  }

  async #requestLoads({ id, devicesPerMinute, nextLoadAt }: AssignmentRow): Promise<void> {
    const { store, clock, onLoadsEnded } = this.#uses;
    const now = clock.now();
    const count = Math.min(loadsPerPass, loadAllowance(devicesPerMinute, nextLoadAt, now));
    if (count < 1) return;
    const due = await new DesiredStateRecords(store.readConnection).listDue(id, now, count);
    if (due.length > 0) await store.transaction((connection) => requestLoads(connection, id, due, now, onLoadsEnded));
  }
}

/** Evaluates devices again, and requests the loads that they need. Nothing happens if the assignment is no longer enforced. */
async function requestLoads(
  connection: Connection,
  assignmentId: string,
  deviceIds: readonly string[],
  now: Date,
  onLoadsEnded: OnLoadsEnded,
): Promise<void> {
  const records = new DesiredStateRecords(connection);
  const assignments = await readActiveAssignments(connection);
  const devices = await records.devices(deviceIds);
  const last = (await records.ofDevices(deviceIds)).filter((state) => state.assignmentId === assignmentId);
  const decisions = await decideForDevices(connection, assignments, devices);
  const evaluations = (await evaluate(connection, decisions, last, now)).filter(({ assignment }) => assignment.id === assignmentId);
  const assignment = evaluations[0]?.assignment;
  const content = assignment === undefined ? null : await readContent(connection, assignment);
  const needing = content === null ? [] : evaluations.filter(({ needsLoad }) => needsLoad);
  await records.save(changedStates(evaluations, last));
  // Otherwise devices for which the assignment no longer decides are due again in each pass, and delay the others.
  const evaluated = new Set(evaluations.map(({ device }) => device.id));
  await records.remove(deviceIds.filter((id) => !evaluated.has(id)).map((deviceId) => ({ deviceId, assignmentId })));
  if (assignment === undefined || content === null || needing.length === 0) return;
  const loading = await createLoadsFor(connection, { assignment, content, needing }, now, onLoadsEnded);
  await records.save(loading);
  const nextLoadAt = nextLoadTime(needing.length, assignment.row.devicesPerMinute, assignment.row.nextLoadAt, now);
  await new AssignmentRecords(connection).setNextLoad(assignmentId, nextLoadAt);
}

type Needed = { readonly assignment: ActiveAssignment; readonly content: LoadContent; readonly needing: readonly Evaluation[] };

/** Creates a load for each device, and returns their states. A device with a full queue gets none. */
async function createLoadsFor(
  connection: Connection,
  { assignment, content, needing }: Needed,
  now: Date,
  onLoadsEnded: OnLoadsEnded,
): Promise<DesiredStateRow[]> {
  const { id, row, target } = assignment;
  const subject = { module: row.content, isPatchSet: row.kind === 'patch-set' };
  const ids = needing.map(({ device }) => device.id);
  const full = new Set(await devicesWithFullQueue(connection, ids, subject, assignmentTerms));
  const failed = needing.flatMap(({ device, state }) =>
    full.has(device.id) ? [{ ...state, ...failedState(state, { reason: 'queue-full', detail: queueFullMessage(device.id) }, now) }] : [],
  );
  const targets = needing
    .filter(({ device }) => !full.has(device.id))
    .map(({ device }) => ({ device: { id: device.id, hostId: device.hostId }, content }));
  if (targets.length === 0) return failed;
  const batch = {
    targets,
    module: row.content,
    terms: assignmentTerms,
    isRollback: false,
    rolloutId: null,
    deadlineFromRelease: true,
    selection: { group: row.groupId },
    facts: { version: target?.version ?? '', assignment: id },
    requester: { actor: id, requestId: '' },
  };
  const { loads } = await createLoads(connection, batch, now, onLoadsEnded);
  const loadOf = new Map(loads.map((load) => [load.device, load.id]));
  const loading = needing.flatMap(({ device, state }) => {
    const loadId = loadOf.get(device.id);
    if (loadId === undefined) return [];
    // A device that failed before remains unsatisfied until it has the version.
    const progress = state.attempts > 0 ? {} : { state: 'pending', reason: 'loading', detail: `the load ${loadId}` };
    return [{ ...state, ...progress, loadId, nextAttemptAt: null }];
  });
  return [...failed, ...loading];
}

/** Returns what devices load; null if the assignment has no usable version. */
async function readContent(connection: Connection, { row, target }: ActiveAssignment): Promise<LoadContent | null> {
  if (target === null || row.mode !== 'enforce') return null;
  if (row.kind === 'patch-set') {
    const patchSet = await new PatchSetRecords(connection).find(target.contentId);
    return patchSet === null ? null : patchSetContent(patchSet);
  }
  const build = await new BuildRecords(connection).find(row.content, target.version);
  return build === null ? null : { kind: 'build', build };
}
