// The page of a rollout: waves with thresholds and measurements, devices, and actions.

import { useState } from 'preact/hooks';
import { unwrapResponse } from '../../../src/client/client.ts';
import { Badge } from '../../components/badge.tsx';
import { loadOptionsText } from '../../components/load-options.tsx';
import { Module } from '../../components/module.tsx';
import { ObjectName } from '../../components/object-name.tsx';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { PatchSetMembers } from '../../components/patch-set-members.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { Timestamp, timeText } from '../../components/times.tsx';
import { unreachableText } from '../../components/unreachable-text.ts';
import { useResource } from '../../live/resource.ts';
import { buildPath, type PageProps, rolloutPath } from '../../navigation/paths.ts';
import { type Names, rolloutName, useActorNames, useObjectNames } from '../../session/names.ts';
import { useSignedIn } from '../../session/session.tsx';
import { type Decision, DecisionDialog, decisionsOn, labelOf, mainDecision } from './decisions.tsx';
import { DeviceCounts } from './device-counts.tsx';
import { RolloutDevices } from './rollout-devices.tsx';
import { type Rollout, scheduleText, selectorText, stateTones, waitingForText } from './rollout-text.ts';
import { WaveView } from './wave.tsx';
import './rollouts.css';

/** Polling interval in milliseconds while the rollout runs: measurements cause no events. */
const interval = 2_000;

export function RolloutPage({ parameters }: PageProps) {
  const id = parameters['rollout'] ?? '';
  const { client, may } = useSignedIn();
  const names = useActorNames();
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
    {
      pollMilliseconds: every,
      isRelevant: ({ object, action }) => object === id || action.startsWith('rollout.') || (!isEnded && action.startsWith('load.')),
    },
  );
  const rollout = found.data;
  const mayDecide = may('operator');
  return (
    <>
      <PageHead
        heading={rollout === null ? 'Rollout' : rolloutName(rollout)}
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
      <ResourceView resource={found} what="the rollout">
        {(known) => (
          <div class="rollout">
            <Status rollout={known} />
            <Facts rollout={known} names={names} />
            <Panel heading="Waves" note={<WaveProgress rollout={known} />}>
              <ol class="waves">
                {known.waves.map((wave) => (
                  <WaveView key={wave.number} wave={wave} isCurrent={known.wave === wave.number && known.endedAt === null} names={names} />
                ))}
              </ol>
            </Panel>
            <RolloutDevices rollout={known} every={every} />
          </div>
        )}
      </ResourceView>
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

function WaveProgress({ rollout: { wave, waves } }: { readonly rollout: Rollout }) {
  return <>{wave === null ? 'all passed' : `${wave} of ${waves.length}`}</>;
}

/** The reason of the current state, and what the rollout waits for. */
function Status({ rollout }: { readonly rollout: Rollout }) {
  const { state, reason, rollbackOf, rolledBackBy } = rollout;
  const names = useObjectNames(rollbackOf ?? '');
  const waiting = waitingForText(rollout, timeText);
  if (reason === null && waiting === null && rollbackOf === null && rolledBackBy === null) return null;
  const isBad = state === 'paused' || state === 'rolling-back';
  return (
    <div class="notice" data-is={isBad || state === 'awaiting-approval' ? 'warning' : 'plain'} role="status">
      {reason !== null && (
        <strong>
          {state}: {reason}
        </strong>
      )}
      {waiting !== null && <span>Waiting for {waiting}.</span>}
      {rollbackOf !== null && (
        <span>
          Rolls back <a href={rolloutPath(rollbackOf)}>{names.get(rollbackOf) ?? 'another rollout'}</a>.
        </span>
      )}
      {rolledBackBy !== null && (
        <span>
          <a href={rolloutPath(rolledBackBy)}>The rollback rollout</a> restores its devices.
        </span>
      )}
    </div>
  );
}

function Facts({ rollout, names }: { readonly rollout: Rollout; readonly names: Names }) {
  const { module, version, patchSet, deviceCounts, downgradeReason, onFailure } = rollout;
  const { requestedAt, requestedBy, startedAt, endedAt } = rollout;
  const unreachable = unreachableText(rollout.unreachableDevices);
  return (
    <dl class="rollout-facts">
      <div class="wide">
        <dt>Devices</dt>
        <dd>
          <DeviceCounts deviceCounts={deviceCounts} />
        </dd>
      </div>
      {patchSet === null ? (
        <div>
          <dt>Build</dt>
          <dd>
            {version === null ? (
              <>
                <Module module={module} />, each to its previous version
              </>
            ) : (
              <a href={buildPath(module, version)}>
                <Module module={module} version={version} />
              </a>
            )}
          </dd>
        </div>
      ) : (
        <PatchSetFacts id={patchSet.id} name={`${patchSet.name}@${patchSet.version}`} isReverted={rollout.rollbackOf !== null} />
      )}
      <div>
        <dt>Selector</dt>
        <dd>{selectorText(rollout)}</dd>
      </div>
      {unreachable !== null && (
        <div>
          <dt>Unreachable</dt>
          <dd>{unreachable}</dd>
        </div>
      )}
      <div>
        <dt>Load options</dt>
        <dd class="code">{loadOptionsText(rollout)}</dd>
      </div>
      {downgradeReason !== null && (
        <div>
          <dt>Downgrade reason</dt>
          <dd>{downgradeReason}</dd>
        </div>
      )}
      <div>
        <dt>If a wave fails</dt>
        <dd class="code">{onFailure}</dd>
      </div>
      <div>
        <dt>Pace</dt>
        <dd>{scheduleText(rollout, timeText)}</dd>
      </div>
      <div>
        <dt>Requested</dt>
        <dd>
          <Timestamp at={requestedAt} /> by <ObjectName id={requestedBy} names={names} />
        </dd>
      </div>
      {startedAt !== null && (
        <div>
          <dt>Started</dt>
          <dd>
            <Timestamp at={startedAt} />
          </dd>
        </div>
      )}
      {endedAt !== null && (
        <div>
          <dt>Ended</dt>
          <dd>
            <Timestamp at={endedAt} />
          </dd>
        </div>
      )}
    </dl>
  );
}

type PatchSetParts = { readonly id: string; readonly name: string; readonly isReverted: boolean };

/** The patch set of a rollout, and its builds. */
function PatchSetFacts({ id, name, isReverted }: PatchSetParts) {
  const { client } = useSignedIn();
  const found = useResource(id, async (signal) =>
    unwrapResponse(await client.GET('/v1/patch-sets/{patchSet}', { params: { path: { patchSet: id } }, signal })),
  );
  return (
    <>
      <div>
        <dt>Patch set</dt>
        <dd>
          <a href="/builds" class="code" title={id}>
            {name}
          </a>
          {isReverted && ', reverted to the versions before it'}
        </dd>
      </div>
      <div class="wide">
        <dt>Builds</dt>
        <dd>{found.data === null ? <span class="soft">{id}</span> : <PatchSetMembers patchSet={found.data} />}</dd>
      </div>
    </>
  );
}
