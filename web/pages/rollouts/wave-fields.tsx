// The waves of a rollout that is being written down.

import { Choice, Whole } from '../../parts/fields.tsx';
import { longestSoak, type WaveDraft, waveLimit, withWave } from './rollout-draft.ts';

type Parts = { readonly waves: readonly WaveDraft[]; readonly onChange: (waves: readonly WaveDraft[]) => void };
const units = ['devices', 'percent of all'] as const;

export function WaveFields({ waves, onChange }: Parts) {
  const change = (key: number, changes: Partial<WaveDraft>) =>
    onChange(waves.map((wave) => (wave.key === key ? { ...wave, ...changes } : wave)));
  return (
    <div class="panel-body">
      {waves.map((wave, place) => (
        <OneWave
          key={wave.key}
          wave={wave}
          number={place + 1}
          isLast={place === waves.length - 1}
          onChange={(changes) => change(wave.key, changes)}
          onRemove={() => onChange(waves.filter(({ key }) => key !== wave.key))}
        />
      ))}
      {waves.length < waveLimit && (
        <div>
          <button type="button" onClick={() => onChange(withWave(waves))}>
            Add a wave before the last
          </button>
        </div>
      )}
    </div>
  );
}

type OneParts = {
  readonly wave: WaveDraft;
  readonly number: number;
  readonly isLast: boolean;
  readonly onChange: (changes: Partial<WaveDraft>) => void;
  readonly onRemove: () => void;
};

function OneWave({ wave: { unit, size, soakSeconds, approval }, number, isLast, onChange, onRemove }: OneParts) {
  return (
    <fieldset class="wave-fields">
      <legend>Wave {number}</legend>
      {isLast ? (
        <p class="soft wave-rest">all that are left</p>
      ) : (
        <>
          <Choice
            label="Its size in"
            value={unit}
            options={units}
            onChange={(value) => onChange({ unit: value, size: value === 'devices' ? 1 : 10 })}
          />
          <Whole
            label={unit === 'devices' ? 'Devices more' : 'Up to percent'}
            value={size}
            least={1}
            most={unit === 'devices' ? 50_000 : 99}
            onChange={(value) => onChange({ size: value })}
          />
        </>
      )}
      <Whole
        label="Watched for, in seconds"
        value={soakSeconds}
        least={0}
        most={longestSoak}
        onChange={(value) => onChange({ soakSeconds: value })}
      />
      <label class="tick">
        <input type="checkbox" checked={approval} onChange={({ currentTarget }) => onChange({ approval: currentTarget.checked })} />
        <span>begins when approved</span>
      </label>
      {!isLast && (
        <button type="button" aria-label={`Remove wave ${number}`} onClick={onRemove}>
          Remove
        </button>
      )}
    </fieldset>
  );
}
