// Texts about thresholds.

import type { Schemas } from '../../src/client/client.ts';

export type ThresholdName = Schemas['Verdict']['threshold'];

export const thresholdTexts = {
  failedLoadsPercent: 'Failed loads',
  interruptedAccesses: 'Interrupted accesses per device',
  failedCallsPercent: 'Increase in failed calls',
  abiViolations: 'ABI violations',
  latencyIncreasePercent: 'Increase in p99 latency',
} as const satisfies Record<ThresholdName, string>;
