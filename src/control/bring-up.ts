// A host's new boot: its devices are empty, and are brought back to what they had before they go on with what was asked of them.

import { DeviceState, type ProgramStatistics } from '../protocol/device-state.ts';
import { ProgramId } from '../protocol/identifiers.ts';
import type { DeviceModuleRecord, DeviceRecord } from '../store/records/devices.ts';
import type { NewOrder } from '../store/records/orders.ts';
import type { ProgramRecord } from '../store/records/programs.ts';
import type { Records } from '../store/records/records.ts';
import type { Requester } from './context.ts';
import { DamagedItem, readOrMark } from './damaged-rows.ts';
import { newOrder, readOrder, renewedOrder, toProgramOrder } from './orders.ts';

/** Orders every device of a host to come up with what it had; orders that were not settled follow, under new numbers. */
export async function bringUpDevices(records: Records, hostId: string, requester: Requester, at: Date): Promise<void> {
  const devices = await records.devices.listOf(hostId);
  const ids = devices.map(({ id }) => id);
  const ended = await endStoppingPrograms(records, devices);
  const modules = Map.groupBy(await records.devices.modulesOf(ids), ({ deviceId }) => deviceId);
  const programs = Map.groupBy(await records.programs.runningOn(ids), ({ deviceId }) => deviceId);
  const unsettled = await records.orders.allUnsettled(hostId);
  await records.orders.removeUnsettled(hostId);
  const attachments: NewOrder[] = devices.map((device) =>
    newOrder(device, attachment(device, modules.get(device.id) ?? [], programs.get(device.id) ?? []), requester, at),
  );
  const others = unsettled.filter((record) => {
    const order = readOrder(record);
    // What a damaged order asked for is not known; the others are not kept back by it.
    if (order instanceof DamagedItem) return false;
    return record.withdrawnAt === null && order.kind !== 'attach-device' && !(order.kind === 'stop-program' && ended.has(order.program));
  });
  await records.orders.create([...attachments, ...others.map(renewedOrder)]);
  await records.loads.setDispatched(
    others.flatMap(({ loadId }) => loadId ?? []),
    null,
  );
  await records.history.leaveByReboot(ids, at);
  await records.devices.forgetStates(hostId);
}

/** The content of an order to bring a device up with what it had. */
export function attachment(
  device: Pick<DeviceRecord, 'name' | 'ramPages'>,
  modules: readonly DeviceModuleRecord[],
  programs: readonly ProgramRecord[],
): { kind: 'attach-device' } & Record<string, unknown> {
  return {
    kind: 'attach-device',
    name: device.name,
    ramPages: device.ramPages,
    modules: modules.map(({ module, version, imageDigest }) => ({ module, version, image: imageDigest })),
    programs: programs.map((program) => readOrMark(program, program.id, toProgramOrder)).filter((order) => !(order instanceof DamagedItem)),
  };
}

/** Programs that were to stop have stopped with their device, with what it last said of them. Answers which. */
async function endStoppingPrograms(records: Records, devices: readonly DeviceRecord[]): Promise<Set<string>> {
  const states = new Map(devices.map(({ id, state }) => [id, DeviceState.safeParse(state)]));
  const stopping = await records.programs.stoppingOn(devices.map(({ id }) => id));
  for (const { id, deviceId } of stopping) {
    const last = states.get(deviceId)?.data?.programs.find(({ program }) => program === id);
    await records.programs.setEnd(id, stoppedStatistics(id, last));
  }
  return new Set(stopping.map(({ id }) => id));
}

/** The last statistics of a program that was stopped. @param last What its device last reported of it. */
export function stoppedStatistics(program: string, last: ProgramStatistics | undefined): ProgramStatistics {
  if (last !== undefined && last.state !== 'running') return last;
  return { ...(last ?? nothingReported), program: ProgramId.parse(program), state: 'stopped', threads: 0 };
}

const nothingReported: Omit<ProgramStatistics, 'program' | 'state' | 'threads'> = {
  callsCompleted: 0,
  callsFailed: 0,
  faults: 0,
  accessesInterrupted: 0,
  accessesRetried: 0,
  effects: 0,
  lastFailure: null,
  lastResult: null,
  versions: [],
};
