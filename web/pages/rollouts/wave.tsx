// One wave of a rollout: how far its devices are, and each threshold against what is measured.

import { useEffect, useState } from 'preact/hooks';
import type { Schemas } from '../../../src/client/client.ts';
import { Badge } from '../../parts/badge.tsx';
import { counted, countText } from '../../parts/numbers.ts';
import { Table } from '../../parts/table.tsx';
import { Moment, microsecondsText } from '../../parts/times.tsx';
import { Tally } from './tally.tsx';
import { amountText, thresholdTexts, type Wave, waveTones } from './words.ts';

type Verdict = Schemas['Verdict'];

export function WaveView({ wave, isCurrent }: { readonly wave: Wave; readonly isCurrent: boolean }) {
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
          {upToPercent === null ? '' : `, up to ${upToPercent}% of all`}
          {approval && (approvedBy === null ? ', begins when it is approved' : `, approved by ${approvedBy}`)}
        </span>
        <Tally deviceCounts={deviceCounts} />
        <Soak wave={wave} />
        {failure !== null && (
          <p class="notice" data-is="failed">
            <span>
              {failure}
              {failureIgnored ? '; it goes on in spite of that' : ''}
            </span>
          </p>
        )}
      </div>
      {hasBegun && (
        <div class="wave-measured">
          {verdicts.length === 0 ? (
            <p class="soft">Nothing is judged.</p>
          ) : (
            <Table
              caption={`Thresholds of wave ${number}`}
              rows={verdicts}
              keyOf={({ threshold }) => threshold}
              columns={[
                { heading: 'Judged by', cell: ({ threshold }) => thresholdTexts[threshold] },
                { heading: 'Measured', isWide: true, cell: (verdict) => <Measured verdict={verdict} /> },
                { heading: 'Limit', isNumber: true, cell: ({ threshold, limit }) => amountText(threshold, limit) },
                { heading: 'Verdict', cell: (verdict) => <VerdictBadge verdict={verdict} isOver={state === 'passed'} /> },
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
  if (measured === null) return <span class="soft">too few calls to judge by</span>;
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

function VerdictBadge({ verdict: { measured, exceeded }, isOver }: { readonly verdict: Verdict; readonly isOver: boolean }) {
  if (exceeded) return <Badge tone="bad">too much</Badge>;
  if (measured === null) return <Badge tone="plain">not judged</Badge>;
  return <Badge tone="good">{isOver ? 'good' : 'good so far'}</Badge>;
}

/** What its programs have done since, and in the version before. */
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

/** How long its programs are watched, and how long still. */
function Soak({ wave: { state, soakSeconds, soakUntil, endedAt } }: { readonly wave: Wave }) {
  const now = useNow(state === 'soaking');
  if (state !== 'soaking' || soakUntil === null)
    return (
      <span class="soft">
        {soakSeconds === 0 ? 'not watched after its loads' : `watched for ${soakSeconds} s after its last load`}
        {endedAt !== null && (
          <>
            , ended <Moment at={endedAt} />
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
        watched until <Moment at={soakUntil} />, {counted(left, 'second')} left
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
