// A wave of a rollout: device counts, and each threshold with its measurement.

import { useEffect, useState } from 'preact/hooks';
import type { Schemas } from '../../../src/client/client.ts';
import { Badge } from '../../components/badge.tsx';
import { counted, countText } from '../../components/numbers.ts';
import { ObjectName } from '../../components/object-name.tsx';
import { Table } from '../../components/table.tsx';
import { thresholdTexts } from '../../components/threshold-text.ts';
import { microsecondsText, Timestamp } from '../../components/times.tsx';
import type { Names } from '../../session/names.ts';
import { DeviceCounts } from './device-counts.tsx';
import { amountText, type Wave, waveTones } from './rollout-text.ts';

type Verdict = Schemas['Verdict'];

type Parts = { readonly wave: Wave; readonly isCurrent: boolean; readonly names: Names };

export function WaveView({ wave, isCurrent, names }: Parts) {
  const { number, state, devices, upToPercent, deviceCounts, failure, failureIgnored, approval, approvedBy, verdicts } = wave;
  const hasBegun = wave.startedAt !== null;
  return (
    <li class={isCurrent ? 'wave current' : 'wave'} aria-current={isCurrent ? 'step' : undefined}>
      <div class="wave-head">
        <h3>
          Wave {number} <Badge tone={waveTones[state]}>{state}</Badge>
        </h3>
        <span class="soft">
          {counted(devices, 'device')}
          {upToPercent === null ? '' : `, cumulative ${upToPercent}%`}
          {approval && approvedBy === null && ', requires approval'}
          {approvedBy !== null && (
            <>
              , approved by <ObjectName id={approvedBy} names={names} />
            </>
          )}
        </span>
        <DeviceCounts deviceCounts={deviceCounts} />
        <Soak wave={wave} />
        {failure !== null && (
          <p class="notice" data-is="failed">
            <span>
              {failure}
              {failureIgnored ? '; failure ignored' : ''}
            </span>
          </p>
        )}
      </div>
      {hasBegun && (
        <div class="wave-measured">
          {verdicts.length === 0 ? (
            <p class="soft">No thresholds.</p>
          ) : (
            <Table
              caption={`Thresholds of wave ${number}`}
              rows={verdicts}
              keyOf={({ threshold }) => threshold}
              columns={[
                { heading: 'Threshold', cell: ({ threshold }) => thresholdTexts[threshold] },
                { heading: 'Measured', isWide: true, cell: (verdict) => <Measured verdict={verdict} /> },
                { heading: 'Limit', isNumber: true, cell: ({ threshold, limit }) => amountText(threshold, limit) },
                { heading: 'Verdict', cell: (verdict) => <VerdictBadge verdict={verdict} /> },
              ]}
            />
          )}
          <Calls wave={wave} />
        </div>
      )}
    </li>
  );
}

function Measured({ verdict: { threshold, limit, measured, exceeded } }: { readonly verdict: Verdict }) {
  if (measured === null) return <span class="soft">too few calls</span>;
  const share = exceeded ? 100 : limit === 0 ? 0 : Math.min(100, (100 * Math.max(0, measured)) / limit);
  return (
    <span class="against">
      <span class="against-bar" aria-hidden="true">
        <span class={exceeded ? 'bad' : ''} style={{ width: `${share}%` }} />
      </span>
      {amountText(threshold, measured)}
    </span>
  );
}

function VerdictBadge({ verdict: { measured, exceeded } }: { readonly verdict: Verdict }) {
  if (exceeded) return <Badge tone="bad">limit exceeded</Badge>;
  if (measured === null) return <Badge tone="plain">not evaluated</Badge>;
  return <Badge tone="good">within limit</Badge>;
}

/** Calls of the wave's programs in the new version and before. */
function Calls({ wave: { measured, interruptedAccesses } }: { readonly wave: Wave }) {
  const { before } = measured;
  const latency = (microseconds: number | null) => (microseconds === null ? '–' : microsecondsText(microseconds));
  return (
    <dl class="wave-calls">
      <div>
        <dt>Calls</dt>
        <dd>
          {countText(measured.calls)} <span class="soft">before {countText(before.calls)}</span>
        </dd>
      </div>
      <div>
        <dt>Failed calls</dt>
        <dd>
          {countText(measured.failedCalls)} <span class="soft">before {countText(before.failedCalls)}</span>
          {measured.worstMember !== null && <span class="soft">, most in {measured.worstMember}</span>}
        </dd>
      </div>
      <div>
        <dt>p99</dt>
        <dd>
          {latency(measured.p99Microseconds)} <span class="soft">before {latency(before.p99Microseconds)}</span>
        </dd>
      </div>
      <div>
        <dt>Accesses interrupted</dt>
        <dd>{countText(interruptedAccesses)}</dd>
      </div>
    </dl>
  );
}

/** The soak time and its progress. */
function Soak({ wave: { state, soakSeconds, soakUntil, endedAt } }: { readonly wave: Wave }) {
  const now = useNow(state === 'soaking');
  if (state !== 'soaking' || soakUntil === null)
    return (
      <span class="soft">
        {soakSeconds === 0 ? 'no soak time' : `soak time ${soakSeconds} s`}
        {endedAt !== null && (
          <>
            , ended <Timestamp at={endedAt} />
          </>
        )}
      </span>
    );
  const left = Math.max(0, Math.ceil((Date.parse(soakUntil) - now) / 1_000));
  const share = soakSeconds === 0 ? 100 : Math.min(100, 100 * (1 - left / soakSeconds));
  return (
    <div class="soak">
      <span class="soak-bar" aria-hidden="true">
        <span style={{ width: `${share}%` }} />
      </span>
      <span class="soft">
        soak time ends <Timestamp at={soakUntil} />, {counted(left, 'second')} left
      </span>
    </div>
  );
}

function useNow(isTicking: boolean): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!isTicking) return;
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, [isTicking]);
  return now;
}
