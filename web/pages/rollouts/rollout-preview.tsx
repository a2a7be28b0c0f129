// The preview of a rollout: devices per wave, and devices that would refuse the build.

import type { Schemas } from '../../../src/client/client.ts';
import { forecastRefuses } from '../../../src/client/enum-values.ts';
import { counted, countText } from '../../components/numbers.ts';
import { Table } from '../../components/table.tsx';
import { devicePath, rolloutPath } from '../../navigation/paths.ts';
import { useObjectNames } from '../../session/names.ts';

type Preview = Schemas['RolloutPreview'];

/** Maximum refusing devices, and maximum warnings, listed. */
const namedLimit = 50;

export function RolloutPreview({
  preview: { devices, alreadyInstalled, unreachable, skipped, refused, waves, conflicts, items },
}: {
  readonly preview: Preview;
}) {
  const names = useObjectNames(...conflicts.map(({ rollout }) => rollout));
  const warnings = Map.groupBy(
    items.filter(({ wave }) => wave !== null).flatMap((item) => item.warnings),
    (warning) => warning,
  );
  const refusing = items.filter(({ wave, forecast }) => wave !== null && forecastRefuses[forecast]);
  return (
    <div class="preview" role="status">
      <p class="notice" data-is={refused > 0 || conflicts.length > 0 || warnings.size > 0 ? 'warning' : 'well'}>
        <strong>
          Would load on {counted(devices - alreadyInstalled - skipped, 'device')}:{' '}
          {waves.map(({ number, devices: count }) => `${countText(count)} in wave ${number}`).join(', ')}
        </strong>
        {alreadyInstalled > 0 && (
          <span>
            {counted(alreadyInstalled, 'device')} already {alreadyInstalled === 1 ? 'has' : 'have'} it and would be skipped.
          </span>
        )}
        {unreachable > 0 && (
          <span>
            {counted(unreachable, 'device is', 'devices are')} unreachable.{' '}
            {skipped > 0 ? 'The rollout would skip them.' : 'Their loads would wait.'}
          </span>
        )}
        {refused > 0 && <span>{counted(refused, 'device')} would refuse it.</span>}
        {[...warnings].slice(0, namedLimit).map(([warning, { length }]) => (
          <span key={warning}>
            Warning: on {counted(length, 'device')}, {warning}.
          </span>
        ))}
        {conflicts.map(({ rollout, devices: count }) => (
          <span key={rollout}>
            Conflict: {counted(count, 'device')} in rollout <a href={rolloutPath(rollout)}>{names.get(rollout) ?? rollout}</a> of the same
            modules.
          </span>
        ))}
      </p>
      {refusing.length > 0 && (
        <>
          <Table
            caption="Devices that would refuse the load"
            rows={refusing.slice(0, namedLimit)}
            keyOf={({ device }) => device}
            columns={[
              { heading: 'Device', cell: ({ device, deviceName }) => <a href={devicePath(device)}>{deviceName}</a> },
              { heading: 'Wave', isNumber: true, cell: ({ wave }) => wave },
              { heading: 'Current version', cell: ({ currentVersion }) => <span class="code">{currentVersion ?? 'none'}</span> },
              { heading: 'Forecast', cell: ({ forecast }) => <span class="code">{forecast}</span> },
              { heading: 'Reason', isWide: true, cell: ({ reason }) => reason },
            ]}
          />
          {refusing.length > namedLimit && <p class="soft">and {countText(refusing.length - namedLimit)} more</p>}
        </>
      )}
    </div>
  );
}
