// ABI violations that devices report. The service records and audits each violation once; later states only raise its fault count.

import type { AbiViolation } from '../../protocol/device-state.ts';
import type { AuditEntry } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { AbiViolationRecords } from '../devices/abi-violation-repository.ts';
import { ProgramRecords } from '../programs/repository.ts';
import { clampReportedTime } from './reported-times.ts';

type Origin = { readonly deviceId: string; readonly bootId: string; readonly receivedAt: Date };

/**
 * Records the violations that a device reported in this boot of its host. Ignores violations of programs that are not on the device.
 * @returns An audit event for each new violation.
 */
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
  const updates = [...latest].flatMap(([key, { faults, lastAt }]) => {
    const record = known.get(key);
    return record !== undefined && record.faults !== null && faults > record.faults
      ? [{ number: record.number, faults, lastFaultAt: clampReportedTime(receivedAt, lastAt) }]
      : [];
  });
  if (updates.length > 0) await new AbiViolationRecords(connection).updateFaults(updates);
  const unrecorded = [...latest].filter(([key]) => !known.has(key)).map(([, violation]) => violation);
  if (unrecorded.length === 0) return [];
  const names = await new ProgramRecords(connection).namesOn(
    deviceId,
    unrecorded.map(({ program }) => program),
  );
  const created = unrecorded.flatMap(({ program, at, lastAt, faults, ...facts }) => {
    const programName = names.get(program);
    if (programName === undefined) return [];
    const times = { firstFaultAt: clampReportedTime(receivedAt, at), lastFaultAt: clampReportedTime(receivedAt, lastAt) };
    return [{ deviceId, bootId, programId: program, programName, ...facts, ...times, faults: BigInt(faults) }];
  });
  await new AbiViolationRecords(connection).create(deviceId, created);
  return created.map(({ programId, programName, module, version, address, page, flag }) => ({
    action: 'device.abi-violation',
    object: deviceId,
    detail: { device: deviceId, program: programId, programName, module, version, address, page, flag },
  }));
}

/** Returns the key that identifies a violation within one boot of a device. */
function violationKey(program: string, { version, address }: { readonly version: string; readonly address: string }): string {
  return `${program} ${address} ${version}`;
}
