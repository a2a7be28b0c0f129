// A rollout is written down, what it would come to is looked at, and then it begins.

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { failureReactions } from '../../../src/cli/client/choices.ts';
import { answerOf, type Schemas } from '../../../src/cli/client/client.ts';
import { useResource } from '../../live/resource.ts';
import { navigate, usePlace } from '../../navigation/location.ts';
import { rolloutPath } from '../../navigation/paths.ts';
import { Choice, Text, Whole } from '../../parts/fields.tsx';
import { PageHead } from '../../parts/page-head.tsx';
import { Panel } from '../../parts/panel.tsx';
import { FailureNotice, Shown } from '../../parts/shown.tsx';
import { PrecedenceFields, TermsFields } from '../../parts/terms.tsx';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';
import { bodyOf, type Draft, labelsIn, usualDraft } from './rollout-draft.ts';
import { RolloutPreview } from './rollout-preview.tsx';
import { ThresholdFields } from './threshold-fields.tsx';
import { WaveFields } from './wave-fields.tsx';
import './rollouts.css';

/** Modules, and builds of one, that are offered: the newest. */
const offeredLimit = 200;

export function NewRolloutPage() {
  const { client, may } = useSignedIn();
  const { query } = usePlace();
  const [chosen, setChosen] = useState(query.get('module'));
  const modules = useResource('modules', async (signal) =>
    answerOf(await client.GET('/v1/modules', { params: { query: { limit: offeredLimit, sort: 'lastBuildAt' } }, signal })).items.map(
      ({ name }) => name,
    ),
  );
  const module = chosen ?? modules.data?.[0] ?? null;
  const builds = useResource(module ?? '', async (signal) => {
    if (module === null) return [];
    const params = { path: { module }, query: { limit: offeredLimit } };
    return answerOf(await client.GET('/v1/modules/{module}/builds', { params, signal })).items.map(({ version }) => version);
  });
  return (
    <>
      <PageHead heading="Roll a build out" />
      {!may('operator') ? (
        <p class="notice">
          Your key does not allow it: it needs the role operator. <a href="/rollouts">All rollouts</a>
        </p>
      ) : (
        <Shown resource={modules} what="modules">
          {(names) =>
            module === null ? (
              <p class="empty">
                There is no build to roll out yet: <a href="/builds">push one</a>.
              </p>
            ) : (
              <Shown resource={builds} what="builds">
                {(versions) => {
                  const [newest] = versions;
                  if (newest === undefined) return builds.isChanging ? null : <p class="empty">There is no build of {module}.</p>;
                  const asked = query.get('module') === module ? query.get('version') : null;
                  return (
                    <RolloutForm
                      key={module}
                      usual={usualDraft(module, asked !== null && versions.includes(asked) ? asked : newest)}
                      versions={versions}
                    >
                      <Choice
                        label="Module"
                        value={module}
                        options={names.includes(module) ? names : [module, ...names]}
                        onChange={setChosen}
                      />
                    </RolloutForm>
                  );
                }}
              </Shown>
            )
          }
        </Shown>
      )}
    </>
  );
}

type FormParts = { readonly usual: Draft; readonly versions: readonly string[]; readonly children: ComponentChildren };
/** What a rollout would come to, and of which it was asked. */
type Previewed = { readonly of: string; readonly preview: Schemas['RolloutPreview'] };

function RolloutForm({ usual, versions, children }: FormParts) {
  const { client } = useSignedIn();
  const [draft, setDraft] = useState(usual);
  const [previewed, setPreviewed] = useState<Previewed | null>(null);
  const change = (changes: Partial<Draft>) => setDraft({ ...draft, ...changes });
  const body = bodyOf(draft);
  const identity = JSON.stringify(body);
  const preview = useAction(async (headers) => {
    const answered = answerOf(await client.POST('/v1/rollouts', { body: { ...body, dryRun: true }, headers }));
    if (!('conflicts' in answered)) throw new Error('the service did not tell what it would come to');
    return { of: identity, preview: answered };
  }, setPreviewed);
  const begin = useAction(
    async (headers) => {
      const answered = answerOf(await client.POST('/v1/rollouts', { body, headers }));
      if (!('id' in answered)) throw new Error('the service did not say which rollout it has begun');
      return answered.id;
    },
    (id) => navigate(rolloutPath(id)),
  );
  const submit = (event: Event) => {
    event.preventDefault();
    preview.run();
  };
  const areLabelsGood = labelsIn(draft.labels) !== null;
  const isSelecting = areLabelsGood && (draft.labels.trim() !== '' || draft.runningVersion.trim() !== '');
  const isCurrent = previewed?.of === identity;
  const failure = preview.failure ?? begin.failure;
  return (
    <form class="new-rollout" onSubmit={submit}>
      <Panel heading="What, and where">
        <div class="panel-body">
          <div class="fields">
            {children}
            <Choice label="Version" value={draft.version} options={versions} onChange={(version) => change({ version })} />
            <Text
              label="Devices with these labels"
              placeholder="zone=north, tier=edge"
              value={draft.labels}
              onChange={(labels) => change({ labels })}
            />
            <Text
              label="Devices that run these versions"
              placeholder="<1.1.0"
              maxLength={256}
              value={draft.runningVersion}
              onChange={(runningVersion) => change({ runningVersion })}
            />
            <Text label="What to call it" placeholder="tcp-1.1" maxLength={64} value={draft.name} onChange={(name) => change({ name })} />
          </div>
          {!areLabelsGood && (
            <p class="told" role="alert">
              Write labels as key=value, with commas between them: zone=north, tier=edge
            </p>
          )}
          {areLabelsGood && !isSelecting && (
            <p class="soft">Give labels, versions or both: every device that has all of it gets the build.</p>
          )}
        </div>
      </Panel>
      <Panel heading="Waves" note="one after another; each is judged before the next">
        <WaveFields waves={draft.waves} onChange={(waves) => change({ waves })} />
      </Panel>
      <Panel heading="What a wave is judged by" note="empty: not by that">
        <div class="panel-body">
          <ThresholdFields
            thresholds={draft.thresholds}
            onChange={(name, limit) => change({ thresholds: { ...draft.thresholds, [name]: limit } })}
          />
          <div class="fields">
            <Whole
              label="Calls are judged from so many on"
              value={draft.minimumCalls}
              least={0}
              most={1_000_000_000}
              onChange={(minimumCalls) => change({ minimumCalls })}
            />
            <Choice
              label="If a wave fails"
              value={draft.onFailure}
              options={failureReactions}
              meanings={reactionMeanings}
              onChange={(onFailure) => change({ onFailure })}
            />
            <Whole
              label="Loads under way at once"
              value={draft.devicesInFlight}
              least={1}
              most={10_000}
              onChange={(devicesInFlight) => change({ devicesInFlight })}
            />
            <Choice
              label="If another rollout has some of the devices"
              value={draft.whenBusy}
              options={busyReactions}
              meanings={busyMeanings}
              onChange={(whenBusy) => change({ whenBusy })}
            />
          </div>
        </div>
      </Panel>
      <Panel heading="How it is loaded">
        <div class="panel-body">
          <div class="fields">
            <TermsFields terms={draft.terms} onChange={(terms) => change({ terms })} />
            <PrecedenceFields precedence={draft.precedence} onChange={(precedence) => change({ precedence })} />
          </div>
        </div>
      </Panel>
      <Panel heading="What it would come to">
        <div class="panel-body">
          {previewed === null ? (
            <p class="soft">Look at it before it begins: how many devices are in which wave, and which would refuse the build.</p>
          ) : (
            <>
              {!isCurrent && (
                <p class="notice" data-is="warning">
                  The form has changed since: look once more.
                </p>
              )}
              <RolloutPreview preview={previewed.preview} />
            </>
          )}
          {failure !== null && <FailureNotice failure={failure} />}
          <div class="buttons">
            <button type="submit" class={isCurrent ? '' : 'main'} disabled={!isSelecting || preview.isUnderWay}>
              {preview.isUnderWay ? 'Looking…' : 'See what it would come to'}
            </button>
            <button type="button" class={isCurrent ? 'main' : ''} disabled={!isCurrent || begin.isUnderWay} onClick={begin.run}>
              {begin.isUnderWay ? 'Beginning…' : `Roll ${draft.module}@${draft.version} out`}
            </button>
          </div>
        </div>
      </Panel>
    </form>
  );
}

const reactionMeanings = {
  pause: 'it waits for an operator',
  rollback: 'every device that has got the build goes back to what it had',
  continue: 'it is told, and the rollout goes on',
};
const busyReactions = ['refuse', 'queue'] as const;
const busyMeanings = { refuse: 'this one is refused', queue: 'this one waits until that has ended' };
