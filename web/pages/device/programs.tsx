// The programs of a device: calls by version, rates, latencies and interruptions.

import type { Schemas } from '../../../src/client/client.ts';
import { Badge, type Tone } from '../../components/badge.tsx';
import { Chart, seriesClass } from '../../components/chart.tsx';
import { counted, countText, shortText } from '../../components/numbers.ts';
import { Panel } from '../../components/panel.tsx';
import { microsecondsText } from '../../components/times.tsx';
import type { DeviceData } from './device-data.ts';
import type { DeviceSamples } from './device-samples.ts';
import './programs.css';

type Program = Schemas['Program'];

const tones: Readonly<Record<Program['state'], Tone>> = {
  starting: 'warn',
  running: 'good',
  stopping: 'warn',
  finished: 'plain',
  stopped: 'plain',
  failed: 'bad',
};

export function Programs({ programs, hasMorePrograms, samples }: DeviceData & { readonly samples: DeviceSamples }) {
  return (
    <Panel heading="Programs" note={hasMorePrograms ? `latest ${programs.length}` : undefined}>
      {programs.length === 0 ? (
        <p class="empty">
          No programs. Start one with <code>npx patchbay program start</code>.
        </p>
      ) : (
        <ul class="programs">
          {programs.map((program) => (
            <li key={program.id}>
              <ProgramView program={program} samples={samples} />
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function ProgramView({ program, samples }: { readonly program: Program; readonly samples: DeviceSamples }) {
  const { id, name, module, export: called, arguments: given, threads, recovery, addressing, state, failure, statistics } = program;
  const series = samples.of(id);
  const now = Date.now();
  const versions = statistics?.versions ?? [];
  const rates = versions.map(({ version }, colour) => ({ name: version, colour, points: series.rates.get(version) ?? [] }));
  const threadsNow = statistics === null || statistics.threads === threads ? '' : ` (${countText(statistics.threads)} left)`;
  return (
    <article class="program" aria-label={`Program ${name}`}>
      <div class="program-facts">
        <h3>
          {name} <Badge tone={tones[state]}>{state}</Badge>
        </h3>
        <p class="code">
          {module}.{called}({given.join(', ')})
        </p>
        <p class="soft">
          {counted(threads, 'thread')}
          {threadsNow}, recovery <span class="code">{recovery}</span>, <span class="code">{addressing}</span>
        </p>
        {failure !== null && <p class="error-message">{failure}</p>}
        {statistics !== null && statistics.lastFailure !== null && <p class="error-message">last failure: {statistics.lastFailure}</p>}
      </div>
      {statistics !== null && (
        <>
          <VersionMix versions={versions} />
          <Chart heading="Calls per second" series={rates} text={shortText} isStacked now={now} />
          <Chart
            heading="Latency"
            text={microsecondsText}
            now={now}
            series={[
              { name: 'p50', points: series.p50, colour: 1 },
              { name: 'p99', points: series.p99, colour: 2, isDashed: true },
            ]}
          />
          <Counts statistics={statistics} />
        </>
      )}
    </article>
  );
}

function VersionMix({ versions }: { readonly versions: Schemas['ProgramStatistics']['versions'] }) {
  const all = versions.reduce((sum, { callsCompleted }) => sum + callsCompleted, 0);
  if (all === 0) return <p class="soft version-mix">No completed calls yet.</p>;
  return (
    <div class="version-mix">
      <span class="soft">Calls by version</span>
      <div class="mix" aria-hidden="true">
        {versions.map(({ version, callsCompleted }, colour) => (
          <span key={version} class={seriesClass(colour)} style={{ flexGrow: callsCompleted / all }} />
        ))}
      </div>
      <ul>
        {versions.map(({ version, callsCompleted }, colour) => (
          <li key={version}>
            <span class={`series-mark ${seriesClass(colour)}`} />
            <span class="code">{version === '' ? 'none' : version}</span> {shortText(callsCompleted)}
          </li>
        ))}
      </ul>
    </div>
  );
}

function Counts({ statistics }: { readonly statistics: Schemas['ProgramStatistics'] }) {
  const { callsCompleted, callsFailed, faults, accessesInterrupted, accessesRetried } = statistics;
  return (
    <dl class="program-counts">
      <Count word="calls completed" count={callsCompleted} />
      <Count word="failed" count={callsFailed} isBad={callsFailed > 0} />
      <Count word="faults of these" count={faults} isBad={faults > 0} />
      <Count word="accesses interrupted" count={accessesInterrupted} />
      <Count word="retried" count={accessesRetried} />
    </dl>
  );
}

function Count({ word, count, isBad = false }: { readonly word: string; readonly count: number; readonly isBad?: boolean }) {
  return (
    <div>
      <dt>{word}</dt>
      <dd class={isBad ? 'error-message' : ''}>{countText(count)}</dd>
    </div>
  );
}
