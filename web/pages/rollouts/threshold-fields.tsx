// The limits by which the waves of a rollout are judged.

import { Amount, Tick, Whole } from '../../parts/fields.tsx';
import type { Limits } from './rollout-draft.ts';
import { type ThresholdName, thresholdTexts } from './words.ts';

type Parts = {
  readonly limits: Limits;
  /** Where they are in the body of the request, as a JSON pointer. */
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
        <Amount
          key={name}
          label={`${thresholdTexts[name]}, ${unit}`}
          at={`${at}/${name}`}
          value={limits[name]}
          least={0}
          most={most}
          step={step}
          placeholder="not evaluated"
          onChange={(limit) => onChange({ ...limits, [name]: limit })}
        />
      ))}
    </div>
  );
}

/** From how many calls on calls are judged, and whether there must be so many. */
export function CallFields({ limits, at, onChange }: Parts) {
  return (
    <>
      <Whole
        label="Minimum calls to evaluate"
        at={`${at}/minimumCalls`}
        value={limits.minimumCalls}
        least={0}
        most={1_000_000_000}
        onChange={(minimumCalls) => onChange({ ...limits, minimumCalls })}
      />
      <Tick
        label="fail waves with fewer calls"
        at={`${at}/requireCalls`}
        isOn={limits.requireCalls}
        onChange={(requireCalls) => onChange({ ...limits, requireCalls })}
      />
    </>
  );
}
