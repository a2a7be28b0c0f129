// What a host reports instead of a report that the service rejects: less and less, until the service takes it.

import { type ReportInput, rejectionLimit } from '../protocol/agent.ts';
import { sanitizeText } from './control-connection.ts';

type MadeState = ReportInput['state'];

/**
 * A report that says less than the one that was rejected, and why. A load ends as failed, with the device's true state; if that is rejected too, or
 * it was another report, the state has no more than the module table, and at last not even that.
 * @param rejection What the service said about it.
 * @returns Null where nothing less can be said.
 */
export function reducedReport(report: ReportInput, rejection: string): ReportInput | null {
  const reason = sanitizeText(`the service rejected the report: ${rejection}`, rejectionLimit);
  if (report.kind === 'load-completed' && report.rejection === undefined)
    return { ...report, rejection: reason, result: { ...failedResult, reason } };
  const state = reducedState(report.state);
  return state === null ? null : { ...report, rejection: report.rejection ?? reason, state };
}

/** Of a load of which nothing more can be reported: what the device has is in its state. */
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

function reducedState({ at, sequence, moduleTable, memoryMap, programs, abiViolations }: MadeState): MadeState | null {
  const rest = { ...(sequence === undefined ? {} : { sequence }), at, memoryMap: { ...memoryMap, ranges: [] }, programs: [] };
  const isReduced = memoryMap.ranges.length === 0 && programs.length === 0 && (abiViolations?.total ?? 0) === 0;
  if (!isReduced) return { ...rest, moduleTable };
  return moduleTable.length === 0 ? null : { ...rest, moduleTable: [] };
}
