// What a load would come to, before it is asked for: the similarity of the two versions, and what the device would say.

import { type Client, type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { useResource } from '../../live/resource.ts';
import { InterfaceComparison } from '../../parts/interface-comparison.tsx';
import { Linked } from '../../parts/linked.tsx';
import { counted } from '../../parts/numbers.ts';
import { Shown } from '../../parts/shown.tsx';
import { type Precedence, precedenceBody, type Terms, termsBody } from '../../parts/terms.tsx';
import { useSignedIn } from '../../session/session.tsx';
import type { DeviceDetail } from './watched.ts';

type Parts = {
  readonly device: DeviceDetail;
  readonly module: string;
  readonly version: string;
  readonly terms: Terms;
  readonly precedence: Precedence;
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
  // The reason is no matter of the forecast, which is not to be asked for with every letter of it.
  const asked = {
    ...termsBody(terms),
    ...precedenceBody({ ...precedence, downgradeReason: 'a forecast' }),
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
    <Shown resource={known} what="what it would come to">
      {({ next, old, forecast, conflicts }) => (
        <div class="preview">
          {old?.version === next.version && (
            <p class="notice" data-is="warning" role="status">
              {device.name} has {version} already: there is nothing to load.
            </p>
          )}
          {forecast !== null && (
            <ForecastNotice forecast={forecast} device={device} module={module} version={version} references={entry?.referenceCount ?? 0} />
          )}
          {conflicts.length > 0 && (
            <p class="notice" data-is="warning">
              A rollout of {module} that has not ended has this device: <Linked text={conflicts.join(', ')} />.
            </p>
          )}
          {old === null ? (
            <p class="soft">There is no version in memory to compare {version} with.</p>
          ) : old.version === next.version ? null : (
            <InterfaceComparison old={old} next={next} />
          )}
        </div>
      )}
    </Shown>
  );
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

function ForecastNotice({ forecast: { forecast, reason, currentVersion }, device, module, version, references }: Noticed) {
  const isWilling = forecast === 'would-install' || forecast === 'would-replace';
  const what = {
    'would-install': `${module}@${version} would be the first of its module on ${device.name}.`,
    'would-replace': `${version} would take the place of ${currentVersion}${references > 0 ? `, with ${counted(references, 'access', 'accesses')} inside now` : ', with nobody inside now'}.`,
    'already-installed': `${device.name} has ${version} already: the load would be refused.`,
    'refused-not-newer': 'The device would refuse it: it is not newer.',
    'refused-dissimilar': 'The device would refuse it: it is not substantially similar.',
    'refused-image': 'The device would refuse its image.',
    'out-of-memory': 'The load would fail: there is not the memory.',
  }[forecast];
  return (
    <p class="notice" data-is={isWilling ? 'well' : 'warning'} role="status">
      <strong>{what}</strong>
      {reason !== null && <span>{reason}</span>}
    </p>
  );
}
