// The page of a build: interface, comparison with another version, provenance and devices.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { Badge } from '../../components/badge.tsx';
import { Choice } from '../../components/fields.tsx';
import { usePages } from '../../live/pages.ts';
import { useResource } from '../../live/resource.ts';
import { navigate, useLocation } from '../../navigation/location.ts';
import { buildPath, devicePath, modulePath, type PageProps, withQuery } from '../../navigation/paths.ts';
import '../../components/filters.css';
import { InterfaceComparison } from '../../components/interface-comparison.tsx';
import { ListEnd } from '../../components/list-end.tsx';
import { counted } from '../../components/numbers.ts';
import { ObjectName } from '../../components/object-name.tsx';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { type Names, useActorNames } from '../../session/names.ts';
import { useSignedIn } from '../../session/session.tsx';
import { LifecycleActions, YankedNotice } from './lifecycle.tsx';
import { Provenance } from './provenance.tsx';
import './builds.css';

/** Maximum builds offered for the comparison, newest first. */
const comparedLimit = 200;

type Build = Schemas['Build'];
type Found = { readonly build: Build; readonly others: readonly Build[] };

export function BuildPage({ parameters }: PageProps) {
  const [module, version] = [parameters['module'] ?? '', parameters['version'] ?? ''];
  const { client, may } = useSignedIn();
  const names = useActorNames();
  const found = useResource<Found>(
    `${module}@${version}`,
    async (signal) => {
      const [build, { items }] = await Promise.all([
        client.GET('/v1/modules/{module}/builds/{version}', { params: { path: { module, version } }, signal }).then(unwrapResponse),
        client
          .GET('/v1/modules/{module}/builds', { params: { path: { module }, query: { limit: comparedLimit } }, signal })
          .then(unwrapResponse),
      ]);
      return { build, others: items.filter((other) => other.version !== version) };
    },
    { isRelevant: ({ action, detail }) => action.startsWith('build.') && detail['module'] === module },
  );
  return (
    <>
      <PageHead
        heading={`${module}@${version}`}
        note={
          <>
            {found.data?.build.yanked && <Badge tone="bad">yanked</Badge>}
            <a href={modulePath(module)}>all builds of {module}</a>
          </>
        }
        actions={
          found.data !== null && (
            <>
              <LifecycleActions build={found.data.build} onDone={found.refresh} />
              {may('operator') && found.data.build.yanked === null && (
                <button
                  type="button"
                  class="main"
                  onClick={() => navigate(withQuery('/rollouts/new', new URLSearchParams({ module, version })))}
                >
                  Roll out…
                </button>
              )}
            </>
          )
        }
      />
      <ResourceView resource={found} what="the build">
        {({ build, others }) => (
          <div class="build">
            <Facts build={build} names={names} />
            <Interface build={build} />
            <Comparison build={build} others={others} />
            <Provenance build={build} names={names} />
            <Devices module={module} version={version} />
          </div>
        )}
      </ResourceView>
    </>
  );
}

type FactsParts = { readonly build: Build; readonly names: Names };

function Facts({ build, names }: FactsParts) {
  const { id, language, compiler, image, createdAt, pushedBy, sourceDigest, yanked } = build;
  return (
    <section class="wide" aria-label="Facts">
      {yanked !== null && <YankedNotice yanked={yanked} names={names} />}
      {image.prunedAt !== null && (
        <p class="notice" data-is="warning">
          The image was pruned at <Timestamp at={image.prunedAt} /> because no device had it or could roll back to it. Push the same source
          again to restore it.
        </p>
      )}
      <dl class="facts">
        <dt>Compiled by</dt>
        <dd>
          {compiler}, from {language === 'wasm' ? 'a prebuilt module' : language}
        </dd>
        <dt>Pushed</dt>
        <dd>
          <Timestamp at={createdAt} /> by {pushedBy === null ? 'an unknown key' : <ObjectName id={pushedBy} names={names} />}
        </dd>
        <dt>Image</dt>
        <dd>
          {counted(image.bytes, 'byte')}, <code>{image.digest}</code>
        </dd>
        <dt>Source</dt>
        <dd>
          <code>{sourceDigest}</code>
        </dd>
        <dt>Identifier</dt>
        <dd>
          <code>{id}</code>
        </dd>
      </dl>
    </section>
  );
}

function Interface({ build }: { readonly build: Build }) {
  const { exports, imports } = build.interface;
  return (
    <Panel heading="Interface" note={`${counted(exports.length, 'export')}, ${counted(imports.length, 'import')}`}>
      <ul class="panel-body signatures">
        {exports.map(({ name, parameters, results }) => (
          <li key={name}>
            <span class="soft">export</span> <code>{signature(name, parameters, results)}</code>
          </li>
        ))}
        {imports.map(({ module, name, parameters, results }) => (
          <li key={`${module} ${name}`}>
            <span class="soft">import</span> <code>{signature(`${module}.${name}`, parameters, results)}</code>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function signature(name: string, parameters: readonly string[], results: readonly string[]): string {
  return `${name}(${parameters.join(', ')})${results.length === 0 ? '' : `: ${results.join(', ')}`}`;
}

function Comparison({ build, others }: Found) {
  const { query } = useLocation();
  const { module, version, createdAt } = build;
  const before = others.find((other) => other.createdAt < createdAt) ?? others[0];
  const old = others.find((other) => other.version === query.get('from')) ?? before;
  if (old === undefined)
    return (
      <Panel heading="Interface changes">
        <p class="empty">{module} has no other build to compare with.</p>
      </Panel>
    );
  return (
    <Panel heading="Interface changes">
      <div class="filters">
        <Choice
          label="Compared with"
          value={old.version}
          options={others.map((other) => other.version)}
          onChange={(from) => navigate(withQuery(buildPath(module, version), new URLSearchParams({ from })), 'replace')}
        />
      </div>
      <div class="panel-body">
        <InterfaceComparison old={old} next={build} />
      </div>
    </Panel>
  );
}

function Devices({ module, version }: { readonly module: string; readonly version: string }) {
  const { client } = useSignedIn();
  const devices = usePages<Schemas['DeviceOfBuild']>(
    `${module}@${version}`,
    async (page, signal) => {
      const params = { path: { module, version }, query: { ...page, running: true } };
      return unwrapResponse(await client.GET('/v1/modules/{module}/builds/{version}/devices', { params, signal }));
    },
    { limit: 20, isRelevant: ({ action, detail }) => action.startsWith('load.') && detail['module'] === module },
  );
  return (
    <Panel heading="Devices with this build" class="wide">
      <ResourceView resource={devices} what="devices">
        {(items) =>
          items.length === 0 ? (
            <p class="empty">No device has this build in memory.</p>
          ) : (
            <>
              <Table
                caption="Devices with this build"
                rows={items}
                keyOf={({ device }) => device}
                columns={[
                  { heading: 'Device', cell: ({ device, deviceName }) => <a href={devicePath(device)}>{deviceName}</a> },
                  { heading: 'First installed', cell: ({ firstInstalledAt }) => <Timestamp at={firstInstalledAt} /> },
                  { heading: 'Last installed', cell: ({ lastInstalledAt }) => <Timestamp at={lastInstalledAt} /> },
                  { heading: 'Residencies', isNumber: true, cell: ({ residencies }) => residencies },
                ]}
              />
              <ListEnd pages={devices} shown={items.length} what={items.length === 1 ? 'device' : 'devices'} />
            </>
          )
        }
      </ResourceView>
    </Panel>
  );
}
