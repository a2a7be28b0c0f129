// Reduces a report that the service rejects, step by step, until the service accepts it.

import { type ReportInput, rejectionLimit } from '../protocol/agent.ts';
import { sanitizeText } from './control-connection.ts';

type MadeState = ReportInput['state'];

/**
 * Returns a smaller report than the rejected one, with the reason of the rejection. First, a load ends as `failed`, with the true state of the device.
 * Then the state is reduced to the module table, and finally the module table is dropped too.
 * @param rejection The reason that the service gave.
 * @returns Null if the report cannot be reduced further.
 */
export function reducedReport(report: ReportInput, rejection: string): ReportInput | null {
  const reason = sanitizeText(`the service rejected the report: ${rejection}`, rejectionLimit);
  if (report.kind === 'load-completed' && report.rejection === undefined)
    return { ...report, rejection: reason, result: { ...failedResult, reason } };
  const state = reducedState(report.state);
  return state === null ? null : { ...report, rejection: report.rejection ?? reason, state };
}

/** The result of a load whose real result was rejected. The state has what is installed on the device. */
const failedResult = {
  outcome: 'failed' as const,
  previous: null,
  current: null,
  interrupted: 0,
  retried: 0,
  failed: 0,
  microseconds: 0,
  steps: [],
};

function reducedState({ at, sequence, moduleTable, memoryMap, programs, draining, abiViolations }: MadeState): MadeState | null {
  const rest = { ...(sequence === undefined ? {} : { sequence }), at, memoryMap: { ...memoryMap, ranges: [] }, programs: [] };
  const isReduced = memoryMap.ranges.length === 0 && programs.length === 0 && draining === undefined && (abiViolations?.total ?? 0) === 0;
  if (!isReduced) return { ...rest, moduleTable };
  return moduleTable.length === 0 ? null : { ...rest, moduleTable: [] };
}
