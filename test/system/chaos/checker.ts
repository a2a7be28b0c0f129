// Checks the invariants of the final state, independent of kills and faults, and describes each violation.

import type { Schemas } from '../../../src/client/client.ts';
import { effectsPerCall } from './modules.ts';
import type { AcceptedLoad } from './requester.ts';
import type { DeviceState, ServiceState } from './service-state.ts';

export type CheckResult = {
  readonly violations: readonly string[];
  /** Accepted loads that are missing or have no outcome. */
  readonly lost: number;
  /** Loads that were completed more than once. */
  readonly doubled: number;
  /** Batches that no accepted request created. */
  readonly requestsDoubled: number;
};

export type Accepted = { readonly loads: readonly AcceptedLoad[]; readonly batches: ReadonlySet<string> };

/** Checks the final state against the accepted requests. */
export function checkInvariants(reading: ServiceState, accepted: Accepted): CheckResult {
  const { lost, doubled, violations } = checkLoads(reading, accepted.loads);
  const requested = reading.events.filter(({ action }) => action === 'load.requested');
  const unknown = requested.filter(({ object }) => !accepted.batches.has(object));
  return {
    lost,
    doubled,
    requestsDoubled: unknown.length,
    violations: [
      ...unknown.map(({ object }) => `the batch ${object} was created by a request whose response named another batch`),
      ...violations,
      ...[...accepted.batches].flatMap((batch) => {
        const events = requested.filter(({ object }) => object === batch).length;
        return events === 1 ? [] : [`the batch ${batch} has ${events} load.requested events`];
      }),
      ...checkNumbers(reading.events),
      ...checkDevices(reading),
    ],
  };
}

function checkLoads({ loads, events }: ServiceState, accepted: readonly AcceptedLoad[]) {
  const violations: string[] = [];
  const known = new Map(loads.map((load) => [load.id, load]));
  const missing = accepted.filter(({ id }) => !known.has(id));
  violations.push(...missing.map(({ id, device }) => `the accepted load ${id} of ${device} is missing`));
  const unended = loads.filter(({ outcome }) => outcome === null);
  violations.push(...unended.map(({ id, device, state }) => `the load ${id} of ${device} has no outcome: its state is ${state}`));
  if (known.size !== loads.length) violations.push('the list of loads contains a load twice');
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
      violations.push(`${load} is ${outcome}, but its event says ${completion.detail['outcome']}`);
    if (failed !== null && failed > 0) violations.push(`${load} failed ${failed} accesses`);
    if (interrupted !== retried) violations.push(`${load} interrupted ${interrupted} accesses, but only ${retried} were retried`);
  }
  return { violations, lost: missing.length + unended.length, doubled };
}

function isInstalled(outcome: unknown): boolean {
  return outcome === 'installed' || outcome === 'replaced' || outcome === 'replaced-interrupting';
}

/** Checks that the numbers of the audit events are consecutive from 1. */
function checkNumbers(events: readonly Schemas['AuditEvent'][]): string[] {
  return events
    .flatMap(({ number }, index) => (number === index + 1 ? [] : [`the ${index + 1}th audit event has the number ${number}`]))
    .slice(0, 5);
}

function checkDevices({ devices, loads, events }: ServiceState): string[] {
  // A load that its device performed after the service had ended it is installed nevertheless.
  const late = events.filter(({ action, detail }) => action === 'load.reported-late' && isInstalled(detail['outcome']));
  const lateLoads = new Set(late.map(({ object }) => object));
  const requests = new Map(events.flatMap(({ action, object, number }) => (action === 'load.requested' ? [[object, number]] : [])));
  // Sorted by request, like their orders: identifiers of the same millisecond are unordered.
  const loaded = loads
    .filter(({ id, outcome }) => isInstalled(outcome) || lateLoads.has(id))
    .toSorted((left, right) => (requests.get(left.batch) ?? 0) - (requests.get(right.batch) ?? 0));
  const loadsOf = Map.groupBy(loaded, ({ device }) => device);
  return devices.flatMap((device) => {
    const { id, name, status, attachFailure } = device.detail;
    const found = [
      ...(status === 'connected' ? [] : [`it is ${status}`]),
      ...(attachFailure === null ? [] : [`it was not attached completely: ${attachFailure}`]),
      ...[...effectsPerCall.keys()].flatMap((module) => {
        const violations = checkModule(device, module, loadsOf.get(id) ?? []);
        return violations.length === 0 ? [] : [...violations, ...describeHistory(device, module, { loads, events })];
      }),
      ...device.programs.flatMap((program) =>
        checkProgram(program).map((violation) => `the program ${program.id} (${program.state}): ${violation}`),
      ),
    ];
    return found.map((violation) => `${name} (${id}): ${violation}`);
  });
}

/** Checks that the module table, the history and the installing loads agree. @param loads In the order of their requests. */
function checkModule({ detail, history }: DeviceState, module: string, loads: readonly Schemas['Load'][]): string[] {
  const entry = detail.moduleTable.find((one) => one.module === module);
  const inTable = entry === undefined ? 'nothing' : `${entry.version} at ${entry.address}`;
  const open = (history.get(module) ?? []).filter(({ removedAt }) => removedAt === null);
  const inHistory = open.map(({ version, address }) => `${version} at ${address}`).join(' and ') || 'nothing';
  const last = loads.findLast((load) => load.module === module);
  return [
    ...(inTable === inHistory ? [] : [`its module table has ${module} ${inTable}, but its history has ${inHistory}`]),
    ...(last?.version === entry?.version
      ? []
      : [`its module table has ${module} ${inTable}, but its last load installed ${last?.version}`]),
  ];
}

/** Maximum entries of each kind in the description of a violation. */
const entryLimit = 10;

/** Returns the newest loads, residencies and events of a module on a device, to explain a violation. */
function describeHistory(
  { detail: { id, host }, history }: DeviceState,
  module: string,
  { loads, events }: Pick<ServiceState, 'loads' | 'events'>,
) {
  const ofModule = loads.filter((load) => load.device === id && load.module === module);
  const known = new Set<string>([id, host, ...ofModule.map((load) => load.id)]);
  const lines = [
    ...ofModule.map(({ requestedAt, dispatchedAt, completedAt, ...load }) => {
      const times = `dispatched ${dispatchedAt ?? 'never'}, completed ${completedAt ?? 'never'}`;
      return `${requestedAt} load ${load.id} of ${load.version} (${load.versionPolicy}): ${load.outcome ?? load.state}, ${times}: ${load.reason}`;
    }),
    ...(history.get(module) ?? []).map(({ installedAt, removedAt, removalCause, ...entry }) => {
      return `${installedAt} installed ${entry.version} at ${entry.address} by ${entry.load ?? entry.source}, removed ${removedAt ?? 'never'} (${removalCause})`;
    }),
    ...events
      .filter(({ object }) => known.has(object))
      .map(({ at, number, action, object, detail }) => `${at} event ${number}: ${action} of ${object} ${JSON.stringify(detail)}`),
  ];
  const kinds = [...Map.groupBy(lines, (line) => line.split(' ')[1]).values()];
  return kinds.flatMap((group) => group.toSorted().slice(-entryLimit)).toSorted();
}

/** Checks that no call failed, that each call had exactly its effects, and that a finished program made all its calls. */
function checkProgram({ module, failure, state, threads, calls, statistics }: Schemas['Program']): string[] {
  if (failure !== null) return [`it could not be started: ${failure}`];
  if (statistics === null) return ['it has no statistics'];
  const { callsCompleted, callsFailed, effects, versions, accessesInterrupted, accessesRetried, lastFailure } = statistics;
  const byVersion = versions.reduce((sum, version) => sum + version.callsCompleted, 0);
  const perCall = effectsPerCall.get(module) ?? 1;
  const isFinished = state === 'finished';
  return [
    ...(callsFailed === 0 ? [] : [`${callsFailed} calls failed: ${lastFailure}`]),
    ...(effects === callsCompleted * perCall ? [] : [`${callsCompleted} calls with ${perCall} effects each had ${effects} effects`]),
    ...(byVersion === callsCompleted ? [] : [`${callsCompleted} calls in total, but ${byVersion} by version`]),
    ...(accessesInterrupted === accessesRetried ? [] : [`${accessesInterrupted} accesses interrupted, ${accessesRetried} retried`]),
    ...(!isFinished || callsCompleted === threads * (calls ?? 0)
      ? []
      : [`it finished after ${callsCompleted} of ${threads} × ${calls} calls`]),
    ...(isFinished === (calls !== null) ? [] : [`its state is ${state}, but it makes ${calls ?? 'endless'} calls`]),
  ];
}
