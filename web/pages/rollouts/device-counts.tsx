// Device counts of a rollout or wave by state, as a bar and as text.

import type { Schemas } from '../../../src/client/client.ts';
import { rolloutDeviceStates } from '../../../src/client/enum-values.ts';
import { countText } from '../../components/numbers.ts';
import './tally.css';

type Parts = { readonly deviceCounts: Schemas['DeviceCounts'] };

/** States in the order of the bar: done first. */
const order = rolloutDeviceStates.toSorted((left, right) => rank(left) - rank(right));

function rank(state: Schemas['RolloutDeviceState']): number {
  return ['loaded', 'failed', 'loading', 'waiting', 'skipped'].indexOf(state);
}

export function DeviceCounts({ deviceCounts }: Parts) {
  const counts = order.map((state) => [state, deviceCounts[state]] as const).filter(([, count]) => count > 0);
  return (
    <div class="tally">
      <div class="tally-bar" aria-hidden="true">
        {counts.map(([state, count]) => (
          <span key={state} data-is={state} style={{ flexGrow: String(count) }} />
        ))}
      </div>
      <div class="tally-text">
        {counts.length === 0 && <span class="soft">no devices</span>}
        {counts.map(([state, count]) => (
          <span key={state} data-is={state}>
            {countText(count)} {state}
          </span>
        ))}
      </div>
    </div>
  );
}
