// The waves of a form.

import { Checkbox, Choice, WholeNumber } from './fields.tsx';
import { CallFields, ThresholdFields } from './threshold-fields.tsx';
import { addWave, type Limits, maxSoakSeconds, maxWaves, type WaveDraft } from './wave-draft.ts';
import './wave-fields.css';

type Parts = {
  readonly waves: readonly WaveDraft[];
  /** The rollout's thresholds: initial values of a wave's own thresholds. */
  readonly limits: Limits;
  readonly onChange: (waves: readonly WaveDraft[]) => void;
};
const units = ['devices', 'percent of all'] as const;

export function WaveFields({ waves, limits, onChange }: Parts) {
  const change = (key: number, changes: Partial<WaveDraft>) =>
    onChange(waves.map((wave) => (wave.key === key ? { ...wave, ...changes } : wave)));
  return (
    <div class="wave-list">
      {waves.map((wave, place) => (
        <WaveFieldset
          key={wave.key}
          wave={wave}
          defaultLimits={limits}
          place={place}
          isLast={place === waves.length - 1}
          onChange={(changes) => change(wave.key, changes)}
          onRemove={() => onChange(waves.filter(({ key }) => key !== wave.key))}
        />
      ))}
      {waves.length < maxWaves && (
        <div>
          <button type="button" onClick={() => onChange(addWave(waves))}>
            Add a wave before the last
          </button>
        </div>
      )}
    </div>
  );
}

type WaveParts = {
  readonly wave: WaveDraft;
  readonly defaultLimits: Limits;
  /** Index from 0. */
  readonly place: number;
  readonly isLast: boolean;
  readonly onChange: (changes: Partial<WaveDraft>) => void;
  readonly onRemove: () => void;
};

function WaveFieldset({
  wave: { unit, size, soakSeconds, approval, limits },
  defaultLimits,
  place,
  isLast,
  onChange,
  onRemove,
}: WaveParts) {
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
          <WholeNumber
            label={unit === 'devices' ? 'Additional devices' : 'Cumulative percentage'}
            pointer={`${at}/${unit === 'devices' ? 'devices' : 'upToPercent'}`}
            value={size}
            min={1}
            max={unit === 'devices' ? 50_000 : 99}
            onChange={(value) => onChange({ size: value })}
          />
        </>
      )}
      <WholeNumber
        label="Soak time, in seconds"
        pointer={`${at}/soakSeconds`}
        value={soakSeconds}
        min={0}
        max={maxSoakSeconds}
        onChange={(value) => onChange({ soakSeconds: value })}
      />
      <div class="ticks">
        <Checkbox label="requires approval" isOn={approval} onChange={(isOn) => onChange({ approval: isOn })} />
        <Checkbox label="own thresholds" isOn={limits !== null} onChange={(isOn) => onChange({ limits: isOn ? defaultLimits : null })} />
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
