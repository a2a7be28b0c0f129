// One rollout: its waves, what they are judged by against what is measured, its devices, and what an operator decides about it.

import { useState } from 'preact/hooks';
import { unwrapResponse } from '../../../src/client/client.ts';
import { useResource } from '../../live/resource.ts';
import { buildPath, type PageParts, rolloutPath } from '../../navigation/paths.ts';
import { Badge } from '../../parts/badge.tsx';
import { Module } from '../../parts/module.tsx';
import { PageHead } from '../../parts/page-head.tsx';
import { Panel } from '../../parts/panel.tsx';
import { Shown } from '../../parts/shown.tsx';
import { policyText } from '../../parts/terms.tsx';
import { clockText, Moment } from '../../parts/times.tsx';
import { useSignedIn } from '../../session/session.tsx';
import { type Decision, DecisionDialog, decisionsOn, labelOf, mainDecision } from './decisions.tsx';
import { RolloutDevices } from './rollout-devices.tsx';
import { Tally } from './tally.tsx';
import { WaveView } from './wave.tsx';
import { nameOf, paceText, type Rollout, selectorText, stateTones, waitText } from './words.ts';
import './rollouts.css';

/** Milliseconds between two looks while it goes on: what is measured is no event. */
const interval = 2_000;

export function RolloutPage({ parameters }: PageParts) {
  const id = parameters['rollout'] ?? '';
  const { client, may } = useSignedIn();
  const [asking, setAsking] = useState<Decision | null>(null);
  const [isEnded, setEnded] = useState(false);
  const every = isEnded ? null : interval;
  const found = useResource(
    id,
    async (signal) => {
      const rollout = unwrapResponse(await client.GET('/v1/rollouts/{rollout}', { params: { path: { rollout: id } }, signal }));
      setEnded(rollout.endedAt !== null);
      return rollout;
    },
    { every, when: ({ object, action }) => object === id || action.startsWith('rollout.') || (!isEnded && action.startsWith('load.')) },
  );
  const rollout = found.data;
  const mayDecide = may('operator');
  return (
    <>
      <PageHead
        heading={rollout === null ? 'Rollout' : nameOf(rollout)}
        note={rollout !== null && <Badge tone={stateTones[rollout.state]}>{rollout.state}</Badge>}
        actions={
          rollout !== null &&
          mayDecide &&
          decisionsOn(rollout).map((decision) => (
            <button
              key={decision.kind}
              type="button"
              class={decision.kind === mainDecision(rollout)?.kind ? 'main' : ''}
              onClick={() => setAsking(decision)}
            >
              {labelOf(decision)}…
            </button>
          ))
        }
      />
      <Shown resource={found} what="the rollout">
        {(known) => (
          <div class="rollout">
            <Standing rollout={known} />
            <Facts rollout={known} />
            <Panel heading="Waves" note={<Overall rollout={known} />}>
              <ol class="waves">
                {known.waves.map((wave) => (
                  <WaveView key={wave.number} wave={wave} isCurrent={known.wave === wave.number && known.endedAt === null} />
                ))}
              </ol>
            </Panel>
            <RolloutDevices rollout={known} every={every} />
          </div>
        )}
      </Shown>
      {rollout !== null && asking !== null && (
        <DecisionDialog
          rollout={rollout}
          decision={asking}
          onClose={() => setAsking(null)}
          onDone={() => {
            setAsking(null);
            found.refresh();
          }}
        />
      )}
    </>
  );
}

function Overall({ rollout: { wave, waves } }: { readonly rollout: Rollout }) {
  return <>{wave === null ? 'all have passed' : `${wave} of ${waves.length}`}</>;
}

/** Why it stands where it does. */
function Standing({ rollout }: { readonly rollout: Rollout }) {
  const { state, reason, rollbackOf, rolledBackBy } = rollout;
  const waiting = waitText(rollout, clockText);
  if (reason === null && waiting === null && rollbackOf === null && rolledBackBy === null) return null;
  const isBad = state === 'paused' || state === 'rolling-back';
  return (
    <div class="notice" data-is={isBad || state === 'awaiting-approval' ? 'warning' : 'plain'} role="status">
      {reason !== null && (
        <strong>
          {state}: {reason}
        </strong>
      )}
      {waiting !== null && <span>It waits for {waiting}.</span>}
      {rollbackOf !== null && (
        <span>
          It takes back the devices of <a href={rolloutPath(rollbackOf)}>another rollout</a>.
        </span>
      )}
      {rolledBackBy !== null && (
        <span>
          <a href={rolloutPath(rolledBackBy)}>A rollout of its own</a> takes its devices back.
        </span>
      )}
    </div>
  );
}

function Facts({ rollout }: { readonly rollout: Rollout }) {
  const { module, version, deviceCounts, downgradeReason, onFailure } = rollout;
  const { requestedAt, requestedBy, startedAt, endedAt } = rollout;
  return (
    <dl class="rollout-facts">
      <div class="wide">
        <dt>Devices</dt>
        <dd>
          <Tally deviceCounts={deviceCounts} />
        </dd>
      </div>
      <div>
        <dt>Build</dt>
        <dd>
          {version === null ? (
            <>
              <Module module={module} />, each to what it had
            </>
          ) : (
            <a href={buildPath(module, version)}>
              <Module module={module} version={version} />
            </a>
          )}
        </dd>
      </div>
      <div>
        <dt>Selected</dt>
        <dd>{selectorText(rollout)}</dd>
      </div>
      <div>
        <dt>How</dt>
        <dd class="code">{policyText(rollout)}</dd>
      </div>
      {downgradeReason !== null && (
        <div>
          <dt>Because</dt>
          <dd>{downgradeReason}</dd>
        </div>
      )}
      <div>
        <dt>If a wave fails</dt>
        <dd class="code">{onFailure}</dd>
      </div>
      <div>
        <dt>Pace</dt>
        <dd>{paceText(rollout, clockText)}</dd>
      </div>
      <div>
        <dt>Requested</dt>
        <dd>
          <Moment at={requestedAt} /> by <code>{requestedBy}</code>
        </dd>
      </div>
      {startedAt !== null && (
        <div>
          <dt>Started</dt>
          <dd>
            <Moment at={startedAt} />
          </dd>
        </div>
      )}
      {endedAt !== null && (
        <div>
          <dt>Ended</dt>
          <dd>
            <Moment at={endedAt} />
          </dd>
        </div>
      )}
    </dl>
  );
}
