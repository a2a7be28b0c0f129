// The page of a load: FIG. 2 with its path, the operations with their times, and the affected programs.

import type { ComponentChildren } from 'preact';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { LoadBadge } from '../../components/badge.tsx';
import { Module } from '../../components/module.tsx';
import { counted } from '../../components/numbers.ts';
import { ObjectName } from '../../components/object-name.tsx';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { FailureNotice, ResourceView } from '../../components/resource-view.tsx';
import { Table } from '../../components/table.tsx';
import { microsecondsText, Timestamp } from '../../components/times.tsx';
import { type Resource, useResource } from '../../live/resource.ts';
import { devicePath, loadBatchPath, type PageProps, rolloutPath } from '../../navigation/paths.ts';
import { useAction } from '../../session/action.ts';
import { useActorNames, useObjectNames } from '../../session/names.ts';
import { useSignedIn } from '../../session/session.tsx';
import { AffectedPrograms } from './affected-programs.tsx';
import { DrainProgress } from './drain-progress.tsx';
import { Steps } from './steps.tsx';
import { loadPathOf } from './workflow.ts';
import { WorkflowFigure } from './workflow-figure.tsx';

type Load = Schemas['LoadDetail'];
type Found = { readonly load: Load; readonly deviceName: string };

export function LoadPage({ parameters }: PageProps) {
  const id = parameters['load'] ?? '';
  const { client, may } = useSignedIn();
  const found: Resource<Found> = useResource(
    id,
    async (signal) => {
      const load = unwrapResponse(await client.GET('/v1/loads/{load}', { params: { path: { load: id } }, signal }));
      const device = unwrapResponse(await client.GET('/v1/devices/{device}', { params: { path: { device: load.device } }, signal }));
      return { load, deviceName: device.name };
    },
    {
      isRelevant: ({ object, detail }) =>
        object === id || object === found.data?.load.batch || detail['device'] === found.data?.load.device,
    },
  );
  const load = found.data?.load;
  const cancel = useAction(
    async (headers) => unwrapResponse(await client.POST('/v1/loads/{load}/cancel', { params: { path: { load: id } }, headers })),
    found.refresh,
  );
  const inject = useAction(
    async (headers) => unwrapResponse(await client.POST('/v1/loads/{load}/inject', { params: { path: { load: id } }, headers })),
    found.refresh,
  );
  const progress = load?.progress ?? null;
  return (
    <>
      <PageHead
        heading={load === undefined ? 'Load' : `${contentText(load)} on ${found.data?.deviceName}`}
        note={
          load !== undefined && (
            <>
              <LoadBadge state={load.state} outcome={load.outcome} />
              {load.rollback && <span class="soft">a rollback</span>}
            </>
          )
        }
        actions={
          (load?.state === 'queued' || progress !== null) &&
          may('operator') && (
            <>
              {progress !== null && (
                <button type="button" disabled={inject.isUnderWay || progress.requested.includes('inject')} onClick={inject.run}>
                  Inject now
                </button>
              )}
              <button type="button" disabled={cancel.isUnderWay || progress?.requested.includes('cancel') === true} onClick={cancel.run}>
                Cancel load
              </button>
            </>
          )
        }
      />
      {cancel.failure !== null && <FailureNotice failure={cancel.failure} />}
      {inject.failure !== null && <FailureNotice failure={inject.failure} />}
      <ResourceView resource={found} what="the load">
        {(known) => <LoadView {...known} />}
      </ResourceView>
    </>
  );
}

function contentText({ kind, module, version }: Load): string {
  const build = `${module}@${version}`;
  return { build, 'patch-set': `Patch set ${build}`, unload: `Unload ${build}` }[kind];
}

function LoadView({ load, deviceName }: Found) {
  const { report } = load;
  const way = loadPathOf(report?.steps ?? [], load.kind);
  return (
    <div class="load-page">
      <section class="wide load-facts" aria-label="Facts">
        {load.reason !== null && (
          <p class="notice" data-is="warning">
            <strong>{load.outcome}</strong> <span>{load.reason}</span>
          </p>
        )}
        <HoldNotice load={load} />
        <Facts load={load} deviceName={deviceName} />
      </section>
      <Panel heading="Isolation workflow" note={report === null ? undefined : `${microsecondsText(report.microseconds)} in total`}>
        <div class="panel-body">
          <WorkflowFigure kind={load.kind} way={way} isOpen={load.state !== 'completed'} />
        </div>
      </Panel>
      <div class="rest">
        {load.progress !== null && <DrainProgress load={load} />}
        {report?.members !== undefined && <Members members={report.members} />}
        <Panel heading="Operations">
          {report === null ? (
            <NoReport load={load} deviceName={deviceName} />
          ) : (
            <Steps steps={report.steps} microseconds={report.microseconds} />
          )}
        </Panel>
        {way.steps.has('table-updated') && <AffectedPrograms load={load} way={way} />}
      </div>
    </div>
  );
}

/** The members of a patch set. */
function Members({ members }: { readonly members: NonNullable<NonNullable<Load['report']>['members']> }) {
  return (
    <Panel heading="Members" note="all entries of the module table change at one moment">
      <Table
        caption="Members of the patch set"
        rows={members}
        keyOf={({ module }) => module}
        columns={[
          { heading: 'Module', cell: ({ module }) => <Module module={module} /> },
          { heading: 'In the module table', isWide: true, cell: ({ module, ...change }) => <Change change={change} module={module} /> },
        ]}
      />
    </Panel>
  );
}

function waitText(strategy: Load['strategy'], progress: Load['progress']): string {
  if (progress !== null) return ' and waits for accesses to leave the old version';
  return strategy === 'inject' ? '' : ' and may be waiting for accesses to leave the old version';
}

/** Says why a load is held, and until when. */
function HoldNotice({ load: { heldSince, heldUntil } }: { readonly load: Load }) {
  if (heldSince === null) return null;
  return (
    <p class="notice" data-is="warning" role="status">
      <strong>held</strong>{' '}
      <span>
        The maintenance windows of the device are closed.{' '}
        {heldUntil === null ? (
          'They do not open within 30 days.'
        ) : (
          <>
            They open <Timestamp at={heldUntil} />.
          </>
        )}
      </span>
    </p>
  );
}

function NoReport({ load: { state, strategy, outcome, progress, heldSince }, deviceName }: Found) {
  const text =
    heldSince !== null
      ? 'Held until the maintenance windows of the device open.'
      : state === 'queued'
        ? `Queued until the host of ${deviceName} takes the load.`
        : state === 'dispatched'
          ? `${deviceName} is executing the load${waitText(strategy, progress)}. It reports at the end.`
          : `It ended as ${outcome}, without the device.`;
  return (
    <p class="empty" role="status">
      {text}
    </p>
  );
}

function Facts({ load, deviceName }: Found) {
  const actorNames = useActorNames();
  const rolloutNames = useObjectNames(load.rollout ?? '');
  const { device, report, strategy, invalidation, interrupted, retried, failed, requestedAt, requestedBy, completedAt, batch, rollout } =
    load;
  return (
    <dl class="strip">
      <Fact term="Device">
        <a href={devicePath(device)}>{deviceName}</a>
      </Fact>
      {report !== null && report.members === undefined && (
        <Fact term="In the module table">
          <Change change={report} module={load.module} />
        </Fact>
      )}
      <Fact term="Load options">
        <span class="code">
          {strategy}, {invalidation}
        </span>
      </Fact>
      {load.overrideMaintenanceWindow !== null && (
        <Fact term="Maintenance windows overridden">{load.overrideMaintenanceWindow.reason}</Fact>
      )}
      {load.forceReason !== null && <Fact term="Forced">{load.forceReason}</Fact>}
      {interrupted !== null && (
        <Fact term="Interrupted, retried, failed">
          {interrupted}, {retried}, {failed}
        </Fact>
      )}
      <Fact term="Requested">
        <Timestamp at={requestedAt} />
      </Fact>
      {completedAt !== null && (
        <Fact term="Completed">
          <Timestamp at={completedAt} />
        </Fact>
      )}
      {requestedBy !== null && (
        <Fact term="By">
          <ObjectName id={requestedBy} names={actorNames} />
        </Fact>
      )}
      <Fact term="Request">
        <a href={loadBatchPath(batch)}>all its loads</a>
        {rollout !== null && (
          <>
            , <a href={rolloutPath(rollout)}>rollout {rolloutNames.get(rollout)}</a>
          </>
        )}
      </Fact>
    </dl>
  );
}

function Fact({ term, children }: { readonly term: string; readonly children: ComponentChildren }) {
  return (
    <div>
      <dt>{term}</dt>
      <dd>{children}</dd>
    </div>
  );
}

type VersionChange = Pick<NonNullable<Load['report']>, 'previous' | 'current'>;

function Change({ change: { previous, current }, module }: { readonly change: VersionChange; readonly module: string }) {
  if (current === null)
    return previous === null ? (
      <>nothing</>
    ) : (
      <>
        <span class="code">{previous.version}</span> at <code>{previous.address}</code>, now nothing
      </>
    );
  const now = (
    <>
      <Module module={module} version={current.version} /> at <code>{current.address}</code>
    </>
  );
  if (previous === null || previous.address === current.address) return now;
  return (
    <>
      <span class="code">{previous.version}</span> at <code>{previous.address}</code>
      {previous.tainted ? ` (tainted: ${counted(previous.tainted.accesses, 'access', 'accesses')} ended abnormally inside)` : ''}, now {now}
    </>
  );
}
