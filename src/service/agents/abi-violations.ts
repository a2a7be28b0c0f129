// The findings of the ABI test that devices report: each is kept and told once, however often a state tells of it.

import type { AbiViolation } from '../../protocol/device-state.ts';
import type { AuditEntry } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { AbiViolationRecords } from '../devices/abi-violation-repository.ts';
import { ProgramRecords } from '../programs/repository.ts';
import { clampReportedTime } from './reported-times.ts';

type Origin = { readonly deviceId: string; readonly bootId: string; readonly receivedAt: Date };

/** Keeps what a device has found in this boot of its host, of programs that it has. Answers the events of those that are new. */
export async function recordViolations(
  connection: Connection,
  { deviceId, bootId, receivedAt }: Origin,
  reported: readonly AbiViolation[],
): Promise<AuditEntry[]> {
  if (reported.length === 0) return [];
  const known = new Map(
    (await new AbiViolationRecords(connection).findByBoot(deviceId, bootId)).map((record) => [
      violationKey(record.programId, record),
      record,
    ]),
  );
  const latest = new Map(reported.map((violation) => [violationKey(violation.program, violation), violation]));
  const more = [...latest].flatMap(([key, { faults, lastAt }]) => {
    const record = known.get(key);
    return record !== undefined && record.faults !== null && faults > record.faults
      ? [{ number: record.number, faults, lastFaultAt: clampReportedTime(receivedAt, lastAt) }]
      : [];
  });
  if (more.length > 0) await new AbiViolationRecords(connection).updateFaults(more);
  const unknown = [...latest].filter(([key]) => !known.has(key)).map(([, violation]) => violation);
  if (unknown.length === 0) return [];
  const names = await new ProgramRecords(connection).namesOn(
    deviceId,
    unknown.map(({ program }) => program),
  );
  const found = unknown.flatMap(({ program, at, lastAt, faults, ...facts }) => {
    const programName = names.get(program);
    if (programName === undefined) return [];
    const times = { firstFaultAt: clampReportedTime(receivedAt, at), lastFaultAt: clampReportedTime(receivedAt, lastAt) };
    return [{ deviceId, bootId, programId: program, programName, ...facts, ...times, faults: BigInt(faults) }];
  });
  await new AbiViolationRecords(connection).create(deviceId, found);
  return found.map(({ programId, programName, module, version, address, page, flag }) => ({
    action: 'device.abi-violation',
    object: deviceId,
    detail: { device: deviceId, program: programId, programName, module, version, address, page, flag },
  }));
}

/** Of all that a device has found in one boot. */
function violationKey(program: string, { version, address }: { readonly version: string; readonly address: string }): string {
  return `${program} ${address} ${version}`;
}
