// A rollout is written down, what it would come to is looked at, and then it begins.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { failureReactions } from '../../../src/client/enum-values.ts';
import { useResource } from '../../live/resource.ts';
import { navigate, usePlace } from '../../navigation/location.ts';
import { rolloutPath } from '../../navigation/paths.ts';
import { Disclosure, goToFaults } from '../../parts/disclosure.tsx';
import { FaultsOf } from '../../parts/faults.tsx';
import { Choice, Text, Tick, Whole } from '../../parts/fields.tsx';
import { PageHead } from '../../parts/page-head.tsx';
import { Panel } from '../../parts/panel.tsx';
import { FailureNotice, Shown } from '../../parts/shown.tsx';
import { PrecedenceFields, TermsFields } from '../../parts/terms.tsx';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';
import { PaceFields, paceOf } from './pace-fields.tsx';
import { bodyOf, type Draft, isSelecting, longestDeadline, usualDraft } from './rollout-draft.ts';
import { RolloutPreview } from './rollout-preview.tsx';
import { JoiningFields, Selected, SelectionFields } from './selection-fields.tsx';
import { CallFields, ThresholdFields } from './threshold-fields.tsx';
import { WaveFields } from './wave-fields.tsx';
import './rollouts.css';

/** Modules, and builds of one, that are offered: the newest. */
const offeredLimit = 200;

export function NewRolloutPage() {
  const { client, may } = useSignedIn();
  const { query } = usePlace();
  const [chosen, setChosen] = useState(query.get('module'));
  const modules = useResource('modules', async (signal) =>
    unwrapResponse(await client.GET('/v1/modules', { params: { query: { limit: offeredLimit, sort: 'lastBuildAt' } }, signal })).items.map(
      ({ name }) => name,
    ),
  );
  const module = chosen ?? modules.data?.[0] ?? null;
  const builds = useResource(module ?? '', async (signal) => {
    if (module === null) return [];
    const params = { path: { module }, query: { limit: offeredLimit } };
    return unwrapResponse(await client.GET('/v1/modules/{module}/builds', { params, signal })).items.map(({ version }) => version);
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
  const form = useRef<HTMLFormElement>(null);
  const sent = useRef<unknown>(null);
  const change = (changes: Partial<Draft>) => setDraft({ ...draft, ...changes });
  const body = bodyOf(draft);
  const identity = JSON.stringify(body);
  const preview = useAction(async (headers) => {
    sent.current = body;
    const answered = unwrapResponse(await client.POST('/v1/rollouts', { body: { ...body, dryRun: true }, headers }));
    if (!('conflicts' in answered)) throw new Error('the service did not tell what it would come to');
    return { of: identity, preview: answered };
  }, setPreviewed);
  const begin = useAction(
    async (headers) => {
      sent.current = body;
      const answered = unwrapResponse(await client.POST('/v1/rollouts', { body, headers }));
      if (!('id' in answered)) throw new Error('the service did not say which rollout it has begun');
      return answered.id;
    },
    (id) => navigate(rolloutPath(id)),
  );
  const submit = (event: Event) => {
    event.preventDefault();
    preview.run();
  };
  const isCurrent = previewed?.of === identity;
  const failure = preview.failure ?? begin.failure;
  useEffect(() => {
    if (failure !== null && form.current !== null) goToFaults(form.current);
  }, [failure]);
  return (
    <FaultsOf failure={failure} refused={sent.current} current={body}>
      <form ref={form} class="new-rollout" onSubmit={submit}>
        <Panel heading="What, and where">
          <div class="panel-body">
            <div class="fields">
              {children}
              <Choice label="Version" at="/version" value={draft.version} options={versions} onChange={(version) => change({ version })} />
              <Text
                label="What to call it"
                at="/name"
                placeholder="tcp-1.1"
                maxLength={64}
                value={draft.name}
                onChange={(name) => change({ name })}
              />
              <SelectionFields draft={draft} onChange={change} />
            </div>
            <Selected draft={draft} onChange={change} />
            <Disclosure summary={`More: ${joiningText(draft)}`}>
              <JoiningFields draft={draft} onChange={change} />
            </Disclosure>
          </div>
        </Panel>
        <Panel heading="Waves" note="one after another; each is judged before the next">
          <WaveFields waves={draft.waves} limits={draft.limits} onChange={(waves) => change({ waves })} />
        </Panel>
        <Panel heading="What a wave is judged by" note="empty: not by that">
          <div class="panel-body">
            <ThresholdFields limits={draft.limits} at="/thresholds" onChange={(limits) => change({ limits })} />
            <div class="fields">
              <Choice
                label="If a wave fails"
                at="/onFailure"
                value={draft.onFailure}
                options={failureReactions}
                meanings={reactionMeanings}
                onChange={(onFailure) => change({ onFailure })}
              />
            </div>
            <Disclosure summary="More: from how many calls on, and the way back">
              <div class="fields">
                <CallFields limits={draft.limits} at="/thresholds" onChange={(limits) => change({ limits })} />
                <Whole
                  label="A device may take to go back, in seconds"
                  at="/rollbackDeadlineSeconds"
                  value={draft.rollbackDeadlineSeconds}
                  least={1}
                  most={longestDeadline}
                  onChange={(rollbackDeadlineSeconds) => change({ rollbackDeadlineSeconds })}
                />
              </div>
            </Disclosure>
          </div>
        </Panel>
        <Panel heading="When, how fast, and how">
          <div class="panel-body">
            <Disclosure summary={`Loads: ${paceOf(draft)}`}>
              <PaceFields draft={draft} onChange={change} />
            </Disclosure>
            <Disclosure summary={`Each: ${draft.terms.strategy}, old pages ${draft.terms.invalidation}`}>
              <div class="fields">
                <TermsFields terms={draft.terms} onChange={(terms) => change({ terms })} />
                <PrecedenceFields precedence={draft.precedence} onChange={(precedence) => change({ precedence })} />
                <Whole
                  label="A load may take, in seconds"
                  at="/deadlineSeconds"
                  value={draft.deadlineSeconds}
                  least={1}
                  most={longestDeadline}
                  onChange={(deadlineSeconds) => change({ deadlineSeconds })}
                />
                <Tick
                  label="takes the place of loads that wait"
                  at="/supersede"
                  isOn={draft.supersede}
                  onChange={(supersede) => change({ supersede })}
                />
              </div>
            </Disclosure>
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
              <button type="submit" class={isCurrent ? '' : 'main'} disabled={!isSelecting(draft) || preview.isUnderWay}>
                {preview.isUnderWay ? 'Looking…' : 'See what it would come to'}
              </button>
              <button type="button" class={isCurrent ? 'main' : ''} disabled={!isCurrent || begin.isUnderWay} onClick={begin.run}>
                {begin.isUnderWay ? 'Beginning…' : `Roll ${draft.module}@${draft.version} out`}
              </button>
            </div>
          </div>
        </Panel>
      </form>
    </FaultsOf>
  );
}

const reactionMeanings = {
  pause: 'it waits for an operator',
  rollback: 'every device that has got the build goes back to what it had',
  continue: 'it is told, and the rollout goes on',
};

function joiningText({ selectedBy, acceptsDevices, onConflict }: Draft): string {
  const others =
    onConflict === 'reject' ? 'refused where another rollout has some of them' : 'waits where another rollout has some of them';
  if (selectedBy === 'name') return others;
  return `${acceptsDevices ? 'devices that match later join it' : 'no devices join it later'}, ${others}`;
}
