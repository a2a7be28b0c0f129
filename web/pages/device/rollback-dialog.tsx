// The dialog that rolls a module of a device back, with a reason and a preview.

import { useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { Dialog } from '../../components/dialog.tsx';
import { Choice, Text } from '../../components/fields.tsx';
import { defaultLoadOptions, type LoadOptions, loadOptionsBody } from '../../components/load-options.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { useResource } from '../../live/resource.ts';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';
import type { DeviceDetail } from './device-data.ts';
import { LoadForm, showCreatedLoad } from './load-form.tsx';
import { Preview } from './preview.tsx';

/** Maximum history entries read. */
const historyLimit = 200;

type Parts = { readonly device: DeviceDetail; readonly module: string; readonly onClose: () => void };

export function RollbackDialog({ device, module, onClose }: Parts) {
  const { client } = useSignedIn();
  const current = device.moduleTable.find((entry) => entry.module === module)?.version ?? null;
  const versions = useResource(`${module} ${current}`, async (signal) => {
    const params = { path: { device: device.id, module }, query: { limit: historyLimit } };
    return rollbackVersions(
      unwrapResponse(await client.GET('/v1/devices/{device}/modules/{module}/history', { params, signal })).items,
      current,
    );
  });
  return (
    <Dialog heading={`Roll ${module} back on ${device.name}`} onClose={onClose}>
      <ResourceView resource={versions} what="the history">
        {(known) => {
          const [first] = known;
          if (first === undefined)
            return <p class="empty">The device had no other version of {module}. There is no version to roll back to.</p>;
          return <RollbackForm device={device} module={module} versions={known} first={first} onClose={onClose} />;
        }}
      </ResourceView>
    </Dialog>
  );
}

type FormParts = Parts & { readonly versions: readonly string[]; readonly first: string };

function RollbackForm({ device, module, versions, first, onClose }: FormParts) {
  const { client } = useSignedIn();
  const [to, setTo] = useState(first);
  const [reason, setReason] = useState('');
  const [terms, setTerms] = useState<LoadOptions>({ ...defaultLoadOptions, similarityPolicy: 'warn' });
  const rollback = useAction(
    async (headers) => {
      const params = { path: { device: device.id, module } };
      const body = { to, reason, ...loadOptionsBody(terms) };
      return unwrapResponse(await client.POST('/v1/devices/{device}/modules/{module}/rollback', { params, body, headers }));
    },
    (made) => showCreatedLoad(made, onClose),
  );
  return (
    <LoadForm
      fields={
        <>
          <Choice label="Roll back to" value={to} options={versions} onChange={setTo} />
          <Text label="Reason" placeholder="1.1.0 drops packets" required value={reason} onChange={setReason} />
        </>
      }
      terms={terms}
      onTerms={setTerms}
      action={rollback}
      isComplete
      label={`Roll ${module} back to ${to}`}
      onClose={onClose}
    >
      <Preview
        device={device}
        module={module}
        version={to}
        terms={terms}
        precedence={{ versionPolicy: 'downgrade', downgradeReason: reason }}
      />
    </LoadForm>
  );
}

/**
 * Returns the earlier versions of a module on a device: first the version before the first installation of the current version (the target of a
 * plain rollback), then the others, latest first.
 */
function rollbackVersions(residencies: readonly Schemas['HistoryEntry'][], current: string | null): string[] {
  const firstOfCurrent = residencies.findLastIndex(({ version }) => version === current);
  const before = residencies[firstOfCurrent + 1]?.version;
  const others = residencies.map(({ version }) => version).filter((version) => version !== current);
  return [...new Set(before === undefined || before === current ? others : [before, ...others])];
}
