// Selects individual devices, in rollout order.

import { useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { DeviceBadge } from '../../components/badge.tsx';
import { TextFilter } from '../../components/filter-field.tsx';
import { counted, countText } from '../../components/numbers.ts';
import { ResourceView } from '../../components/resource-view.tsx';
import { useResource } from '../../live/resource.ts';
import { useSignedIn } from '../../session/session.tsx';
import { maxNamedDevices, type NamedDevice } from './rollout-draft.ts';
import './device-picker.css';

/** Maximum devices offered; the name filter finds others. */
const offeredLimit = 50;

type Parts = {
  /** The module whose version is shown for each device. */
  readonly module: string;
  readonly chosen: readonly NamedDevice[];
  readonly onChange: (chosen: readonly NamedDevice[]) => void;
};

export function DevicePicker({ module, chosen, onChange }: Parts) {
  const { client } = useSignedIn();
  const [name, setName] = useState('');
  const offered = useResource(name, async (signal) => {
    const query = { sort: 'name' as const, limit: offeredLimit, ...(name === '' ? {} : { namePrefix: name }) };
    return unwrapResponse(await client.GET('/v1/devices', { params: { query }, signal }));
  });
  const isChosen = (id: string) => chosen.some((one) => one.id === id);
  const isFull = chosen.length >= maxNamedDevices;
  const add = (devices: readonly NamedDevice[]) =>
    onChange([...chosen, ...devices.filter(({ id }) => !isChosen(id))].slice(0, maxNamedDevices).map(({ id, name }) => ({ id, name })));
  const remove = (id: string) => onChange(chosen.filter((one) => one.id !== id));
  return (
    <fieldset class="picker">
      <legend class="unseen">Devices, in rollout order</legend>
      <div class="picker-offered">
        <TextFilter label="Name begins with" placeholder="router-" value={name} onChange={setName} />
        <ResourceView resource={offered} what="devices">
          {({ items, next }) => (
            <>
              <ul>
                {items.map((device) => (
                  <li key={device.id}>
                    <Offered
                      device={device}
                      module={module}
                      isChosen={isChosen(device.id)}
                      isFull={isFull}
                      onChange={(isOn) => (isOn ? add([device]) : remove(device.id))}
                    />
                  </li>
                ))}
              </ul>
              <p class="picker-end">
                <button type="button" disabled={isFull || items.every(({ id }) => isChosen(id))} onClick={() => add(items)}>
                  Add all {countText(items.length)}
                </button>
                {items.length === 0 && <span class="soft">No device name matches.</span>}
                {next !== null && <span class="soft">More devices match. Type the start of a name.</span>}
              </p>
            </>
          )}
        </ResourceView>
      </div>
      <div class="picker-chosen">
        <p role="status">
          {chosen.length === 0 ? 'No devices selected.' : `${counted(chosen.length, 'device')}, in this order:`}
          {isFull && <span class="soft"> Limit reached. Select by labels for more devices.</span>}
        </p>
        <ol>
          {chosen.map((device) => (
            <li key={device.id}>
              <button type="button" class="tag" aria-label={`Remove ${device.name}`} onClick={() => remove(device.id)}>
                {device.name} ×
              </button>
            </li>
          ))}
        </ol>
      </div>
    </fieldset>
  );
}

type OfferedParts = {
  readonly device: Schemas['Device'];
  readonly module: string;
  readonly isChosen: boolean;
  readonly isFull: boolean;
  readonly onChange: (isChosen: boolean) => void;
};

function Offered({ device, module, isChosen, isFull, onChange }: OfferedParts) {
  return (
    <label>
      <input
        type="checkbox"
        checked={isChosen}
        disabled={isFull && !isChosen}
        onChange={({ currentTarget }) => onChange(currentTarget.checked)}
      />
      <span>{device.name}</span>
      <span class="code soft">{device.modules[module] ?? 'none'}</span>
      {device.status !== 'connected' && <DeviceBadge status={device.status} />}
    </label>
  );
}
