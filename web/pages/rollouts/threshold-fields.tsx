// The limits by which the waves of a rollout are judged.

import type { Draft } from './rollout-draft.ts';
import { type ThresholdName, thresholdTexts } from './words.ts';

type Parts = { readonly thresholds: Draft['thresholds']; readonly onChange: (name: ThresholdName, limit: number | null) => void };

const fields: readonly { readonly name: ThresholdName; readonly unit: string; readonly most: number; readonly step: number | 'any' }[] = [
  { name: 'failedLoadsPercent', unit: 'percent', most: 100, step: 'any' },
  { name: 'failedCallsPercent', unit: 'percentage points', most: 100, step: 'any' },
  { name: 'abiViolations', unit: 'programs', most: Number.MAX_SAFE_INTEGER, step: 1 },
  { name: 'interruptedAccesses', unit: 'on the average', most: Number.MAX_SAFE_INTEGER, step: 'any' },
  { name: 'latencyIncreasePercent', unit: 'percent', most: Number.MAX_SAFE_INTEGER, step: 'any' },
];

export function ThresholdFields({ thresholds, onChange }: Parts) {
  return (
    <div class="fields thresholds">
      {fields.map(({ name, unit, most, step }) => (
        <label key={name}>
          <span>
            {thresholdTexts[name]}, {unit}
          </span>
          <input
            type="number"
            min={0}
            max={most}
            step={step}
            placeholder="not judged"
            value={thresholds[name] ?? ''}
            onInput={({ currentTarget }) => {
              const { value, valueAsNumber, validity } = currentTarget;
              if (value === '' && !validity.badInput) onChange(name, null);
              else if (Number.isFinite(valueAsNumber)) onChange(name, valueAsNumber);
            }}
          />
        </label>
      ))}
    </div>
  );
}
