// The thresholds of a rollout or wave.

import { Checkbox, OptionalNumber, WholeNumber } from './fields.tsx';
import { type ThresholdName, thresholdTexts } from './threshold-text.ts';
import type { Limits } from './wave-draft.ts';

type Parts = {
  readonly limits: Limits;
  /** The JSON pointer of the thresholds in the request body. */
  readonly at: string;
  readonly onChange: (limits: Limits) => void;
};

const fields: readonly { readonly name: ThresholdName; readonly unit: string; readonly most: number; readonly step: number | 'any' }[] = [
  { name: 'failedLoadsPercent', unit: 'percent', most: 100, step: 'any' },
  { name: 'failedCallsPercent', unit: 'percentage points', most: 100, step: 'any' },
  { name: 'abiViolations', unit: 'programs', most: Number.MAX_SAFE_INTEGER, step: 1 },
  { name: 'interruptedAccesses', unit: 'mean per device', most: Number.MAX_SAFE_INTEGER, step: 'any' },
  { name: 'latencyIncreasePercent', unit: 'percent', most: Number.MAX_SAFE_INTEGER, step: 'any' },
];

export function ThresholdFields({ limits, at, onChange }: Parts) {
  return (
    <div class="fields thresholds">
      {fields.map(({ name, unit, most, step }) => (
        <OptionalNumber
          key={name}
          label={`${thresholdTexts[name]}, ${unit}`}
          pointer={`${at}/${name}`}
          value={limits[name]}
          min={0}
          max={most}
          step={step}
          placeholder="not evaluated"
          onChange={(limit) => onChange({ ...limits, [name]: limit })}
        />
      ))}
    </div>
  );
}

/** The minimum calls for an evaluation, and whether fewer calls fail the wave. */
export function CallFields({ limits, at, onChange }: Parts) {
  return (
    <>
      <WholeNumber
        label="Minimum calls to evaluate"
        pointer={`${at}/minimumCalls`}
        value={limits.minimumCalls}
        min={0}
        max={1_000_000_000}
        onChange={(minimumCalls) => onChange({ ...limits, minimumCalls })}
      />
      <Checkbox
        label="fail waves with fewer calls"
        pointer={`${at}/requireCalls`}
        isOn={limits.requireCalls}
        onChange={(requireCalls) => onChange({ ...limits, requireCalls })}
      />
    </>
  );
}
