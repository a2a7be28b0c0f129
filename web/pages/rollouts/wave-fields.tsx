// The waves of a rollout that is being written down.

import { Choice, Tick, Whole } from '../../parts/fields.tsx';
import { type Limits, longestSoak, type WaveDraft, waveLimit, withWave } from './rollout-draft.ts';
import { CallFields, ThresholdFields } from './threshold-fields.tsx';

type Parts = {
  readonly waves: readonly WaveDraft[];
  /** Those of the rollout, with which a wave's own begin. */
  readonly limits: Limits;
  readonly onChange: (waves: readonly WaveDraft[]) => void;
};
const units = ['devices', 'percent of all'] as const;

export function WaveFields({ waves, limits, onChange }: Parts) {
  const change = (key: number, changes: Partial<WaveDraft>) =>
    onChange(waves.map((wave) => (wave.key === key ? { ...wave, ...changes } : wave)));
  return (
    <div class="panel-body">
      {waves.map((wave, place) => (
        <OneWave
          key={wave.key}
          wave={wave}
          usualLimits={limits}
          place={place}
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
  readonly usualLimits: Limits;
  /** From 0. */
  readonly place: number;
  readonly isLast: boolean;
  readonly onChange: (changes: Partial<WaveDraft>) => void;
  readonly onRemove: () => void;
};

function OneWave({ wave: { unit, size, soakSeconds, approval, limits }, usualLimits, place, isLast, onChange, onRemove }: OneParts) {
  const number = place + 1;
  const at = `/waves/${place}`;
  return (
    <fieldset class="wave-fields">
      <legend>Wave {number}</legend>
      {isLast ? (
        <p class="soft wave-rest">all remaining devices</p>
      ) : (
        <>
          <Choice
            label="Size in"
            value={unit}
            options={units}
            onChange={(value) => onChange({ unit: value, size: value === 'devices' ? 1 : 10 })}
          />
          <Whole
            label={unit === 'devices' ? 'Additional devices' : 'Cumulative percentage'}
            at={`${at}/${unit === 'devices' ? 'devices' : 'upToPercent'}`}
            value={size}
            least={1}
            most={unit === 'devices' ? 50_000 : 99}
            onChange={(value) => onChange({ size: value })}
          />
        </>
      )}
      <Whole
        label="Soak time, in seconds"
        at={`${at}/soakSeconds`}
        value={soakSeconds}
        least={0}
        most={longestSoak}
        onChange={(value) => onChange({ soakSeconds: value })}
      />
      <div class="ticks">
        <Tick label="requires approval" isOn={approval} onChange={(isOn) => onChange({ approval: isOn })} />
        <Tick label="own thresholds" isOn={limits !== null} onChange={(isOn) => onChange({ limits: isOn ? usualLimits : null })} />
      </div>
      {!isLast && (
        <button type="button" aria-label={`Remove wave ${number}`} onClick={onRemove}>
          Remove
        </button>
      )}
      {limits !== null && (
        <div class="wave-limits">
          <ThresholdFields limits={limits} at={`${at}/thresholds`} onChange={(own) => onChange({ limits: own })} />
          <div class="fields">
            <CallFields limits={limits} at={`${at}/thresholds`} onChange={(own) => onChange({ limits: own })} />
          </div>
        </div>
      )}
    </fieldset>
  );
}
