// What a rollout would come to: its devices by wave, and those that would refuse the build.

import type { Schemas } from '../../../src/client/client.ts';
import { forecastRefuses } from '../../../src/client/enum-values.ts';
import { devicePath, rolloutPath } from '../../navigation/paths.ts';
import { counted, countText } from '../../parts/numbers.ts';
import { Table } from '../../parts/table.tsx';

type Preview = Schemas['RolloutPreview'];

/** Devices that would refuse it and are named. */
const namedLimit = 50;

export function RolloutPreview({
  preview: { devices, alreadyInstalled, unreachable, refused, waves, conflicts, items },
}: {
  readonly preview: Preview;
}) {
  const refusing = items.filter(({ wave, forecast }) => wave !== null && forecastRefuses[forecast]);
  return (
    <div class="preview" role="status">
      <p class="notice" data-is={refused > 0 || conflicts.length > 0 ? 'warning' : 'well'}>
        <strong>
          It would go to {counted(devices - alreadyInstalled, 'device')}:{' '}
          {waves.map(({ number, devices: count }) => `${countText(count)} in wave ${number}`).join(', ')}
        </strong>
        {alreadyInstalled > 0 && <span>{counted(alreadyInstalled, 'device has', 'devices have')} it already, and would be left out.</span>}
        {unreachable > 0 && (
          <span>{counted(unreachable, 'device is', 'devices are')} on hosts that are not heard of: the loads would wait for them.</span>
        )}
        {refused > 0 && <span>{countText(refused)} of them would refuse it.</span>}
        {conflicts.map(({ rollout, devices: count }) => (
          <span key={rollout}>
            <a href={rolloutPath(rollout)}>A rollout of the module</a> that has not ended has {counted(count, 'device')} of these.
          </span>
        ))}
      </p>
      {refusing.length > 0 && (
        <>
          <Table
            caption="Devices that would refuse it"
            rows={refusing.slice(0, namedLimit)}
            keyOf={({ device }) => device}
            columns={[
              { heading: 'Device', cell: ({ device, deviceName }) => <a href={devicePath(device)}>{deviceName}</a> },
              { heading: 'Wave', isNumber: true, cell: ({ wave }) => wave },
              { heading: 'Has', cell: ({ currentVersion }) => <span class="code">{currentVersion ?? 'none'}</span> },
              { heading: 'Would be', cell: ({ forecast }) => <span class="code">{forecast}</span> },
              { heading: 'Why', isWide: true, cell: ({ reason }) => reason },
            ]}
          />
          {refusing.length > namedLimit && <p class="soft">and {countText(refusing.length - namedLimit)} more</p>}
        </>
      )}
    </div>
  );
}
