// How many devices of a rollout, or of a wave, are at what: a bar, and the same in words.

import type { Schemas } from '../../../src/client/client.ts';
import { rolloutDeviceStates } from '../../../src/client/enum-values.ts';
import { countText } from '../../parts/numbers.ts';
import './tally.css';

type Parts = { readonly deviceCounts: Schemas['DeviceCounts'] };

/** In the order in which they fill the bar: what is through first. */
const order = rolloutDeviceStates.toSorted((left, right) => rank(left) - rank(right));

function rank(state: Schemas['RolloutDeviceState']): number {
  return ['loaded', 'failed', 'loading', 'waiting', 'skipped'].indexOf(state);
}

export function Tally({ deviceCounts }: Parts) {
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
