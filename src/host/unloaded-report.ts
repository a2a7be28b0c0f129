// The report of a load whose image did not reach the device: the image or its provenance was refused, the host failed, or the deadline passed.

import { type DeviceState, sanitizeReason } from '../machine/index.ts';
import type { LoadReportInput, OrderOf } from '../protocol/agent.ts';

/** Returns a report with the operations 200 and 280 and the refusal or failure between them. The device is unchanged. */
export function unloadedReport(
  order: OrderOf<'load'>,
  outcome: 'refused-image' | 'failed' | 'expired',
  message: string,
  state: DeviceState,
): LoadReportInput {
  const reason = sanitizeReason(message);
  const at = new Date().toISOString();
  const entry = state.moduleTable.find(({ module }) => module === order.module);
  const range = state.memoryMap.ranges.find(({ address }) => address === entry?.address);
  const inMemory = entry ? { version: entry.version, image: entry.image, address: entry.address, pages: range?.pages ?? 0 } : null;
  const moment = { at, startedMicroseconds: 0, microseconds: 0 };
  return {
    outcome,
    reason,
    previous: inMemory,
    current: inMemory,
    interrupted: 0,
    retried: 0,
    failed: 0,
    microseconds: 0,
    steps: [
      {
        step: 'received',
        operation: 200,
        ...moment,
        facts: { module: order.module, version: order.version, image: order.image, bytes: 0, signedBy: [] },
      },
      outcome === 'failed'
        ? { step: 'failed', operation: null, ...moment, facts: { during: 'received', reason } }
        : { step: 'refused', operation: null, ...moment, facts: { reason } },
      { step: 'completed', operation: 280, ...moment, facts: { outcome, microseconds: 0 } },
    ],
  };
}
