// What must hold when all has settled, whatever was killed and cut before: every rule that is broken is told in words.

import type { Schemas } from '../../../src/client/client.ts';
import { effectsPerCall } from './modules.ts';
import type { AcceptedLoad } from './requester.ts';
import type { DeviceReading, Reading } from './service-state.ts';

export type Verdict = {
  readonly violations: readonly string[];
  /** Accepted loads that are not there or have no outcome. */
  readonly lost: number;
  /** Loads that were completed more than once. */
  readonly doubled: number;
  /** Requests that were carried out more often than they were made. */
  readonly requestsDoubled: number;
};

export type Accepted = { readonly loads: readonly AcceptedLoad[]; readonly batches: ReadonlySet<string> };

/** Checks everything that was read against what was accepted. */
export function check(reading: Reading, accepted: Accepted): Verdict {
  const { lost, doubled, violations } = checkLoads(reading, accepted.loads);
  const requested = reading.events.filter(({ action }) => action === 'load.requested');
  const unknown = requested.filter(({ object }) => !accepted.batches.has(object));
  return {
    lost,
    doubled,
    requestsDoubled: unknown.length,
    violations: [
      ...unknown.map(({ object }) => `the batch ${object} was made by a request that was answered with another`),
      ...violations,
      ...[...accepted.batches].flatMap((batch) => {
        const events = requested.filter(({ object }) => object === batch).length;
        return events === 1 ? [] : [`the batch ${batch} has ${events} events of being requested`];
      }),
      ...checkNumbers(reading.events),
      ...checkDevices(reading),
    ],
  };
}

function checkLoads({ loads, events }: Reading, accepted: readonly AcceptedLoad[]) {
  const violations: string[] = [];
  const known = new Map(loads.map((load) => [load.id, load]));
  const missing = accepted.filter(({ id }) => !known.has(id));
  violations.push(...missing.map(({ id, device }) => `the accepted load ${id} of ${device} is not there`));
  const unended = loads.filter(({ outcome }) => outcome === null);
  violations.push(...unended.map(({ id, device, state }) => `the load ${id} of ${device} has no outcome: it is ${state}`));
  if (known.size !== loads.length) violations.push('the list of loads has a load twice');
  const completions = Map.groupBy(
    events.filter(({ action }) => action === 'load.completed'),
    ({ object }) => object,
  );
  let doubled = 0;
  for (const { id, device, outcome, interrupted, retried, failed } of loads) {
    const [completion, ...more] = completions.get(id) ?? [];
    const load = `the load ${id} of ${device}`;
    if (more.length > 0) {
      doubled += 1;
      violations.push(`${load} was completed ${more.length + 1} times`);
    }
    if (completion === undefined && outcome !== null) violations.push(`${load} ended without an event`);
    if (completion !== undefined && completion.detail['outcome'] !== outcome)
      violations.push(`${load} is ${outcome}, its event says ${completion.detail['outcome']}`);
    if (failed !== null && failed > 0) violations.push(`${load} failed ${failed} accesses`);
    if (interrupted !== retried) violations.push(`${load} interrupted ${interrupted} accesses, of which ${retried} retried`);
  }
  return { violations, lost: missing.length + unended.length, doubled };
}

function isInstalled(outcome: unknown): boolean {
  return outcome === 'installed' || outcome === 'replaced' || outcome === 'replaced-interrupting';
}

/** The numbers of the audit trail rise by one, from one. */
function checkNumbers(events: readonly Schemas['AuditEvent'][]): string[] {
  return events
    .flatMap(({ number }, index) => (number === index + 1 ? [] : [`the ${index + 1}th audit event has the number ${number}`]))
    .slice(0, 5);
}

function checkDevices({ devices, loads, events }: Reading): string[] {
  // What a device carried out after the service had ended the load is in its memory nevertheless.
  const late = events.filter(({ action, detail }) => action === 'load.reported-late' && isInstalled(detail['outcome']));
  const lateLoads = new Set(late.map(({ object }) => object));
  const requests = new Map(events.flatMap(({ action, object, number }) => (action === 'load.requested' ? [[object, number]] : [])));
  // In the order in which they were requested, and their orders made: identifiers made in the same millisecond are in no order.
  const loaded = loads
    .filter(({ id, outcome }) => isInstalled(outcome) || lateLoads.has(id))
    .toSorted((left, right) => (requests.get(left.batch) ?? 0) - (requests.get(right.batch) ?? 0));
  const loadsOf = Map.groupBy(loaded, ({ device }) => device);
  return devices.flatMap((device) => {
    const { id, name, status, attachFailure } = device.detail;
    const found = [
      ...(status === 'connected' ? [] : [`it is ${status}`]),
      ...(attachFailure === null ? [] : [`it was not brought up whole: ${attachFailure}`]),
      ...[...effectsPerCall.keys()].flatMap((module) => {
        const broken = checkModule(device, module, loadsOf.get(id) ?? []);
        return broken.length === 0 ? [] : [...broken, ...accountOf(device, module, { loads, events })];
      }),
      ...device.programs.flatMap((program) => checkProgram(program).map((what) => `the program ${program.id} (${program.state}): ${what}`)),
    ];
    return found.map((what) => `${name} (${id}): ${what}`);
  });
}

/** The module table, the history and the loads that brought something in agree. @param loads In the order in which they were requested. */
function checkModule({ detail, history }: DeviceReading, module: string, loads: readonly Schemas['Load'][]): string[] {
  const entry = detail.moduleTable.find((one) => one.module === module);
  const inTable = entry === undefined ? 'nothing' : `${entry.version} at ${entry.address}`;
  const open = (history.get(module) ?? []).filter(({ removedAt }) => removedAt === null);
  const inHistory = open.map(({ version, address }) => `${version} at ${address}`).join(' and ') || 'nothing';
  const last = loads.findLast((load) => load.module === module);
  return [
    ...(inTable === inHistory ? [] : [`its module table has ${module} ${inTable}, its history ${inHistory}`]),
    ...(last?.version === entry?.version ? [] : [`its module table has ${module} ${inTable}, its last load brought ${last?.version}`]),
  ];
}

/** Entries of each kind in the account of a violation. */
const accountLength = 10;

/** The newest of what the service knows of a module on a device, so that a violation explains itself. */
function accountOf({ detail: { id, host }, history }: DeviceReading, module: string, { loads, events }: Pick<Reading, 'loads' | 'events'>) {
  const ofModule = loads.filter((load) => load.device === id && load.module === module);
  const known = new Set<string>([id, host, ...ofModule.map((load) => load.id)]);
  const told = [
    ...ofModule.map(({ requestedAt, dispatchedAt, completedAt, ...load }) => {
      const times = `dispatched ${dispatchedAt ?? 'never'}, completed ${completedAt ?? 'never'}`;
      return `${requestedAt} load ${load.id} of ${load.version} (${load.versionPolicy}): ${load.outcome ?? load.state}, ${times}: ${load.reason}`;
    }),
    ...(history.get(module) ?? []).map(({ installedAt, removedAt, removalCause, ...stay }) => {
      return `${installedAt} in memory: ${stay.version} at ${stay.address} by ${stay.load ?? stay.source}, left ${removedAt ?? 'never'} (${removalCause})`;
    }),
    ...events
      .filter(({ object }) => known.has(object))
      .map(({ at, number, action, object, detail }) => `${at} event ${number}: ${action} of ${object} ${JSON.stringify(detail)}`),
  ];
  const kinds = [...Map.groupBy(told, (line) => line.split(' ')[1]).values()];
  return kinds.flatMap((lines) => lines.toSorted().slice(-accountLength)).toSorted();
}

/** Calls have all their effects and no more, none failed, and all that were asked for were made. */
function checkProgram({ module, failure, state, threads, calls, statistics }: Schemas['Program']): string[] {
  if (failure !== null) return [`it could not be started: ${failure}`];
  if (statistics === null) return ['nothing was reported of it'];
  const { callsCompleted, callsFailed, effects, versions, accessesInterrupted, accessesRetried, lastFailure } = statistics;
  const byVersion = versions.reduce((sum, version) => sum + version.callsCompleted, 0);
  const perCall = effectsPerCall.get(module) ?? 1;
  const isOver = state === 'finished';
  return [
    ...(callsFailed === 0 ? [] : [`${callsFailed} calls failed: ${lastFailure}`]),
    ...(effects === callsCompleted * perCall ? [] : [`${callsCompleted} calls of ${perCall} effects had ${effects} effects`]),
    ...(byVersion === callsCompleted ? [] : [`${callsCompleted} calls, by version ${byVersion}`]),
    ...(accessesInterrupted === accessesRetried ? [] : [`${accessesInterrupted} accesses interrupted, ${accessesRetried} retried`]),
    ...(!isOver || callsCompleted === threads * (calls ?? 0) ? [] : [`it finished after ${callsCompleted} of ${threads} × ${calls} calls`]),
    ...(isOver === (calls !== null) ? [] : [`it is to make ${calls ?? 'endless'} calls`]),
  ];
}
