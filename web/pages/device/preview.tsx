// Previews a load: similarity of the two versions, and the device's forecast.

import { type Client, type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { InterfaceComparison } from '../../components/interface-comparison.tsx';
import { LinkedText } from '../../components/linked.tsx';
import { type LoadOptions, loadOptionsBody, type VersionPolicy, versionPolicyBody } from '../../components/load-options.tsx';
import { countText } from '../../components/numbers.ts';
import { ResourceView } from '../../components/resource-view.tsx';
import { useResource } from '../../live/resource.ts';
import { useObjectNames } from '../../session/names.ts';
import { useSignedIn } from '../../session/session.tsx';
import type { DeviceDetail } from './device-data.ts';

type Parts = {
  readonly device: DeviceDetail;
  readonly module: string;
  readonly version: string;
  readonly terms: LoadOptions;
  readonly precedence: VersionPolicy;
};
type Forecast = Schemas['RolloutPreview']['items'][number];
type Known = {
  readonly next: Schemas['Build'];
  readonly old: Schemas['Build'] | null;
  readonly forecast: Forecast | null;
  readonly conflicts: readonly string[];
};

export function Preview({ device, module, version, terms, precedence }: Parts) {
  const { client } = useSignedIn();
  const entry = device.moduleTable.find((one) => one.module === module);
  // The reason and the deadline do not affect the forecast: constants avoid a request per typed character.
  const asked = {
    ...loadOptionsBody({ ...terms, deadlineSeconds: 86_400, overrideReason: terms.overrideReason === '' ? '' : 'a forecast' }),
    ...versionPolicyBody({ ...precedence, downgradeReason: 'a forecast' }),
  };
  const known = useResource<Known>(JSON.stringify([module, version, entry?.version, asked]), async (signal) => {
    const [next, old, preview] = await Promise.all([
      build(client, module, version, signal),
      entry === undefined ? null : build(client, module, entry.version, signal),
      entry?.version === version
        ? null
        : client
            .POST('/v1/rollouts', { body: { module, version, devices: [device.id], dryRun: true, ...asked }, signal })
            .then(unwrapResponse),
    ]);
    if (preview === null || !('conflicts' in preview)) return { next, old, forecast: null, conflicts: [] };
    return { next, old, forecast: preview.items[0] ?? null, conflicts: preview.conflicts.map(({ rollout }) => rollout) };
  });
  return (
    <ResourceView resource={known} what="the preview">
      {({ next, old, forecast, conflicts }) => (
        <div class="preview">
          {old?.version === next.version && (
            <p class="notice" data-is="warning" role="status">
              {device.name} already has {version}.
            </p>
          )}
          {forecast !== null && (
            <ForecastNotice forecast={forecast} device={device} module={module} version={version} references={entry?.referenceCount ?? 0} />
          )}
          {conflicts.length > 0 && (
            <p class="notice" data-is="warning">
              This device is in an unfinished rollout of {module}: <Conflicts rollouts={conflicts} />.
            </p>
          )}
          {old === null ? (
            <p class="soft">No version in memory to compare {version} with.</p>
          ) : old.version === next.version ? null : (
            <InterfaceComparison old={old} next={next} />
          )}
        </div>
      )}
    </ResourceView>
  );
}

function Conflicts({ rollouts }: { readonly rollouts: readonly string[] }) {
  return <LinkedText text={rollouts.join(', ')} names={useObjectNames(...rollouts)} />;
}

async function build(client: Client, module: string, version: string, signal: AbortSignal): Promise<Schemas['Build']> {
  return unwrapResponse(await client.GET('/v1/modules/{module}/builds/{version}', { params: { path: { module, version } }, signal }));
}

type Noticed = {
  readonly forecast: Forecast;
  readonly device: DeviceDetail;
  readonly module: string;
  readonly version: string;
  readonly references: number;
};

function ForecastNotice({
  forecast: { forecast, reason, warnings, currentVersion, reachable },
  device,
  module,
  version,
  references,
}: Noticed) {
  const isWilling = forecast === 'would-install' || forecast === 'would-replace';
  const what = {
    'would-install': `${module}@${version} would be installed on ${device.name}.`,
    'would-replace': `${version} would replace ${currentVersion}. Accesses inside now: ${countText(references)}.`,
    'already-installed': `${device.name} already has ${version}. The load would be refused.`,
    'refused-not-newer': 'The device would refuse the build: not newer.',
    'refused-dissimilar': 'The device would refuse the build: not substantially similar.',
    'refused-unresolved': 'The device would refuse the build: unresolved links.',
    'refused-image': 'The device would refuse the image.',
    'out-of-memory': 'The load would fail: out of memory.',
    'unsupported-by-host': 'The agent of the host does not support the load.',
  }[forecast];
  return (
    <p class="notice" data-is={isWilling && reachable && warnings.length === 0 ? 'well' : 'warning'} role="status">
      <strong>{what}</strong>
      {reason !== null && <span>{reason}</span>}
      {!reachable && <span>The host of {device.name} is unreachable. The load would wait until it connects, or expire.</span>}
      {warnings.map((warning) => (
        <span key={warning}>Warning: {warning}.</span>
      ))}
    </p>
  );
}
