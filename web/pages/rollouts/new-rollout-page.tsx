// The form of a new rollout: fields, preview, start.

import type { ComponentChildren } from 'preact';
import { useRef, useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { unreachableChoices } from '../../../src/client/enum-values.ts';
import { Disclosure, useErrorFocus } from '../../components/disclosure.tsx';
import { FieldErrors } from '../../components/field-errors.tsx';
import { Checkbox, Choice, Text, WholeNumber } from '../../components/fields.tsx';
import { LoadOptionsFields, maxDeadlineSeconds, VersionPolicyFields } from '../../components/load-options.tsx';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { ReactionField } from '../../components/reaction-field.tsx';
import { FailureNotice, ResourceView } from '../../components/resource-view.tsx';
import { CallFields, ThresholdFields } from '../../components/threshold-fields.tsx';
import { WaveFields } from '../../components/wave-fields.tsx';
import { useResource } from '../../live/resource.ts';
import { navigate, useLocation } from '../../navigation/location.ts';
import { rolloutPath } from '../../navigation/paths.ts';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';
import { type Draft, defaultDraft, hasSelector, requestBody } from './rollout-draft.ts';
import { RolloutPreview } from './rollout-preview.tsx';
import { ScheduleFields, scheduleTextOf } from './schedule-fields.tsx';
import { DeviceSelection, DynamicFields, SelectionFields } from './selection-fields.tsx';
import './rollouts.css';

/** Maximum modules, and builds of a module, offered; newest first. */
const offeredLimit = 200;

export function NewRolloutPage() {
  const { may } = useSignedIn();
  const { query } = useLocation();
  const [, name, version] = /^([^@]+)@(.+)$/.exec(query.get('patchSet') ?? '') ?? [];
  return (
    <>
      <PageHead heading="New rollout" />
      {!may('operator') ? (
        <p class="notice">
          A rollout requires the role operator. <a href="/rollouts">All rollouts</a>
        </p>
      ) : name !== undefined && version !== undefined ? (
        <RolloutForm initial={defaultDraft(name, version, true)} versions={[version]}>
          <Choice label="Patch set" pointer="/patchSet" value={name} options={[name]} onChange={() => {}} />
        </RolloutForm>
      ) : (
        <BuildRollout />
      )}
    </>
  );
}

/** The form of a rollout of a build, with a choice of modules. */
function BuildRollout() {
  const { client } = useSignedIn();
  const { query } = useLocation();
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
    <ResourceView resource={modules} what="modules">
      {(names) =>
        module === null ? (
          <p class="empty">
            No builds yet. <a href="/builds">Push a build</a>.
          </p>
        ) : (
          <ResourceView resource={builds} what="builds">
            {(versions) => {
              const [newest] = versions;
              if (newest === undefined) return builds.isChanging ? null : <p class="empty">{module} has no builds.</p>;
              const asked = query.get('module') === module ? query.get('version') : null;
              return (
                <RolloutForm
                  key={module}
                  initial={defaultDraft(module, asked !== null && versions.includes(asked) ? asked : newest)}
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
          </ResourceView>
        )
      }
    </ResourceView>
  );
}

type FormParts = { readonly initial: Draft; readonly versions: readonly string[]; readonly children: ComponentChildren };
/** A preview and the request body that it belongs to. */
type Previewed = { readonly of: string; readonly preview: Schemas['RolloutPreview'] };

function RolloutForm({ initial, versions, children }: FormParts) {
  const { client } = useSignedIn();
  const [draft, setDraft] = useState(initial);
  const [previewed, setPreviewed] = useState<Previewed | null>(null);
  const sent = useRef<unknown>(null);
  const change = (changes: Partial<Draft>) => setDraft({ ...draft, ...changes });
  const body = requestBody(draft);
  const identity = JSON.stringify(body);
  const preview = useAction(async (headers) => {
    sent.current = body;
    const response = unwrapResponse(await client.POST('/v1/rollouts', { body: { ...body, dryRun: true }, headers }));
    if (!('conflicts' in response)) throw new Error('the response has no preview');
    return { of: identity, preview: response };
  }, setPreviewed);
  const start = useAction(
    async (headers) => {
      sent.current = body;
      const response = unwrapResponse(await client.POST('/v1/rollouts', { body, headers }));
      if (!('id' in response)) throw new Error('the response has no rollout ID');
      return response.id;
    },
    (id) => navigate(rolloutPath(id)),
  );
  const submit = (event: Event) => {
    event.preventDefault();
    preview.run();
  };
  const isCurrent = previewed?.of === identity;
  const failure = preview.failure ?? start.failure;
  const form = useErrorFocus(failure);
  return (
    <FieldErrors failure={failure} rejected={sent.current} current={body}>
      <form ref={form} class="new-rollout" onSubmit={submit}>
        <Panel heading="Build and devices">
          <div class="panel-body">
            <div class="fields">
              {children}
              <Choice
                label="Version"
                pointer="/version"
                value={draft.version}
                options={versions}
                onChange={(version) => change({ version })}
              />
              <Text
                label="Name"
                pointer="/name"
                placeholder="tcp-1.1"
                maxLength={64}
                value={draft.name}
                onChange={(name) => change({ name })}
              />
              <SelectionFields draft={draft} onChange={change} />
            </div>
            <DeviceSelection draft={draft} onChange={change} />
            <Disclosure summary={`Options: ${optionsText(draft)}`}>
              <DynamicFields draft={draft} onChange={change} />
            </Disclosure>
          </div>
        </Panel>
        <Panel heading="Waves" note="in sequence; each wave is evaluated before the next">
          <div class="panel-body">
            <WaveFields waves={draft.waves} limits={draft.limits} onChange={(waves) => change({ waves })} />
          </div>
        </Panel>
        <Panel heading="Thresholds" note="empty: not evaluated">
          <div class="panel-body">
            <ThresholdFields limits={draft.limits} at="/thresholds" onChange={(limits) => change({ limits })} />
            <div class="fields">
              <ReactionField onFailure={draft.onFailure} onChange={(onFailure) => change({ onFailure })} />
            </div>
            <Disclosure summary="Options: minimum calls and rollback deadline">
              <div class="fields">
                <CallFields limits={draft.limits} at="/thresholds" onChange={(limits) => change({ limits })} />
                <WholeNumber
                  label="Rollback deadline per device, in seconds"
                  pointer="/rollbackDeadlineSeconds"
                  value={draft.rollbackDeadlineSeconds}
                  min={1}
                  max={maxDeadlineSeconds}
                  onChange={(rollbackDeadlineSeconds) => change({ rollbackDeadlineSeconds })}
                />
              </div>
            </Disclosure>
          </div>
        </Panel>
        <Panel heading="Schedule and load options">
          <div class="panel-body">
            <Disclosure summary={`Schedule: ${scheduleTextOf(draft)}`}>
              <ScheduleFields draft={draft} onChange={change} />
            </Disclosure>
            <Disclosure summary={`Load options: ${draft.terms.strategy}, old pages ${draft.terms.invalidation}`}>
              <div class="fields">
                <LoadOptionsFields terms={draft.terms} onChange={(terms) => change({ terms })} />
                <VersionPolicyFields precedence={draft.precedence} onChange={(precedence) => change({ precedence })} />
                <Checkbox
                  label="replace queued loads"
                  pointer="/supersede"
                  isOn={draft.supersede}
                  onChange={(supersede) => change({ supersede })}
                />
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
            {(draft.unreachable === 'skip' || (previewed?.preview.unreachable ?? 0) > 0) && (
              <Choice
                label="Unreachable devices"
                pointer="/unreachable"
                value={draft.unreachable}
                options={unreachableChoices}
                meanings={unreachableMeanings}
                onChange={(unreachable) => change({ unreachable })}
              />
            )}
            {failure !== null && <FailureNotice failure={failure} />}
            <div class="buttons">
              <button type="submit" class={isCurrent ? '' : 'main'} disabled={!hasSelector(draft) || preview.isUnderWay}>
                {preview.isUnderWay ? 'Previewing…' : 'Preview'}
              </button>
              <button type="button" class={isCurrent ? 'main' : ''} disabled={!isCurrent || start.isUnderWay} onClick={start.run}>
                {start.isUnderWay ? 'Starting…' : `Roll out ${draft.module}@${draft.version}`}
              </button>
            </div>
          </div>
        </Panel>
      </form>
    </FieldErrors>
  );
}

const unreachableMeanings = {
  wait: 'their loads wait until their hosts connect',
  skip: 'they are left out',
};

function optionsText({ selectedBy, acceptsDevices, onConflict }: Draft): string {
  const others = onConflict === 'reject' ? 'rejected on conflict with another rollout' : 'queued on conflict with another rollout';
  if (selectedBy === 'name') return others;
  return `${acceptsDevices ? 'matching devices join later' : 'no devices join later'}, ${others}`;
}
