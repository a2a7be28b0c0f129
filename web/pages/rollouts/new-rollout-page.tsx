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
      <PageHead heading="New rollout" />
      {!may('operator') ? (
        <p class="notice">
          A rollout requires the role operator. <a href="/rollouts">All rollouts</a>
        </p>
      ) : (
        <Shown resource={modules} what="modules">
          {(names) =>
            module === null ? (
              <p class="empty">
                No builds yet. <a href="/builds">Push a build</a>.
              </p>
            ) : (
              <Shown resource={builds} what="builds">
                {(versions) => {
                  const [newest] = versions;
                  if (newest === undefined) return builds.isChanging ? null : <p class="empty">{module} has no builds.</p>;
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
    if (!('conflicts' in answered)) throw new Error('the response has no preview');
    return { of: identity, preview: answered };
  }, setPreviewed);
  const begin = useAction(
    async (headers) => {
      sent.current = body;
      const answered = unwrapResponse(await client.POST('/v1/rollouts', { body, headers }));
      if (!('id' in answered)) throw new Error('the response has no rollout ID');
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
        <Panel heading="Build and devices">
          <div class="panel-body">
            <div class="fields">
              {children}
              <Choice label="Version" at="/version" value={draft.version} options={versions} onChange={(version) => change({ version })} />
              <Text label="Name" at="/name" placeholder="tcp-1.1" maxLength={64} value={draft.name} onChange={(name) => change({ name })} />
              <SelectionFields draft={draft} onChange={change} />
            </div>
            <Selected draft={draft} onChange={change} />
            <Disclosure summary={`Options: ${joiningText(draft)}`}>
              <JoiningFields draft={draft} onChange={change} />
            </Disclosure>
          </div>
        </Panel>
        <Panel heading="Waves" note="in sequence; each wave is evaluated before the next">
          <WaveFields waves={draft.waves} limits={draft.limits} onChange={(waves) => change({ waves })} />
        </Panel>
        <Panel heading="Thresholds" note="empty: not evaluated">
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
            <Disclosure summary="Options: minimum calls and rollback deadline">
              <div class="fields">
                <CallFields limits={draft.limits} at="/thresholds" onChange={(limits) => change({ limits })} />
                <Whole
                  label="Rollback deadline per device, in seconds"
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
        <Panel heading="Schedule and load options">
          <div class="panel-body">
            <Disclosure summary={`Schedule: ${paceOf(draft)}`}>
              <PaceFields draft={draft} onChange={change} />
            </Disclosure>
            <Disclosure summary={`Load options: ${draft.terms.strategy}, old pages ${draft.terms.invalidation}`}>
              <div class="fields">
                <TermsFields terms={draft.terms} onChange={(terms) => change({ terms })} />
                <PrecedenceFields precedence={draft.precedence} onChange={(precedence) => change({ precedence })} />
                <Whole
                  label="Load deadline, in seconds"
                  at="/deadlineSeconds"
                  value={draft.deadlineSeconds}
                  least={1}
                  most={longestDeadline}
                  onChange={(deadlineSeconds) => change({ deadlineSeconds })}
                />
                <Tick label="replace queued loads" at="/supersede" isOn={draft.supersede} onChange={(supersede) => change({ supersede })} />
              </div>
            </Disclosure>
          </div>
        </Panel>
        <Panel heading="Preview">
          <div class="panel-body">
            {previewed === null ? (
              <p class="soft">Shows the devices per wave and the devices that would refuse the build. Nothing is loaded.</p>
            ) : (
              <>
                {!isCurrent && (
                  <p class="notice" data-is="warning">
                    The form has changed. Preview again.
                  </p>
                )}
                <RolloutPreview preview={previewed.preview} />
              </>
            )}
            {failure !== null && <FailureNotice failure={failure} />}
            <div class="buttons">
              <button type="submit" class={isCurrent ? '' : 'main'} disabled={!isSelecting(draft) || preview.isUnderWay}>
                {preview.isUnderWay ? 'Previewing…' : 'Preview'}
              </button>
              <button type="button" class={isCurrent ? 'main' : ''} disabled={!isCurrent || begin.isUnderWay} onClick={begin.run}>
                {begin.isUnderWay ? 'Starting…' : `Roll out ${draft.module}@${draft.version}`}
              </button>
            </div>
          </div>
        </Panel>
      </form>
    </FaultsOf>
  );
}

const reactionMeanings = {
  pause: 'the rollout waits for an operator',
  rollback: 'every device that got the build is rolled back',
  continue: 'the failure is recorded, and the rollout continues',
};

function joiningText({ selectedBy, acceptsDevices, onConflict }: Draft): string {
  const others = onConflict === 'reject' ? 'rejected on conflict with another rollout' : 'queued on conflict with another rollout';
  if (selectedBy === 'name') return others;
  return `${acceptsDevices ? 'matching devices join later' : 'no devices join later'}, ${others}`;
}
