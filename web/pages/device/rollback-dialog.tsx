// Asks to which version a module of a device is to go back, and why; shows what it would come to, and has it done.

import { useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { useResource } from '../../live/resource.ts';
import { Dialog } from '../../parts/dialog.tsx';
import { Choice, Text } from '../../parts/fields.tsx';
import { Shown } from '../../parts/shown.tsx';
import { type Terms, termsBody, usualTerms } from '../../parts/terms.tsx';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';
import { LoadForm, showMade } from './load-form.tsx';
import { Preview } from './preview.tsx';
import type { DeviceDetail } from './watched.ts';

/** Stays that are looked back at. */
const stayLimit = 200;

type Parts = { readonly device: DeviceDetail; readonly module: string; readonly onClose: () => void };

export function RollbackDialog({ device, module, onClose }: Parts) {
  const { client } = useSignedIn();
  const current = device.moduleTable.find((entry) => entry.module === module)?.version ?? null;
  const versions = useResource(`${module} ${current}`, async (signal) => {
    const params = { path: { device: device.id, module }, query: { limit: stayLimit } };
    return versionsToGoBackTo(
      unwrapResponse(await client.GET('/v1/devices/{device}/modules/{module}/history', { params, signal })).items,
      current,
    );
  });
  return (
    <Dialog heading={`Roll ${module} back on ${device.name}`} onClose={onClose}>
      <Shown resource={versions} what="the history">
        {(known) => {
          const [first] = known;
          if (first === undefined)
            return <p class="empty">The device had no other version of {module}. There is no version to roll back to.</p>;
          return <RollbackForm device={device} module={module} versions={known} first={first} onClose={onClose} />;
        }}
      </Shown>
    </Dialog>
  );
}

type FormParts = Parts & { readonly versions: readonly string[]; readonly first: string };

function RollbackForm({ device, module, versions, first, onClose }: FormParts) {
  const { client } = useSignedIn();
  const [to, setTo] = useState(first);
  const [reason, setReason] = useState('');
  const [terms, setTerms] = useState<Terms>({ ...usualTerms, similarityPolicy: 'warn' });
  const rollback = useAction(
    async (headers) => {
      const params = { path: { device: device.id, module } };
      const body = { to, reason, ...termsBody(terms) };
      return unwrapResponse(await client.POST('/v1/devices/{device}/modules/{module}/rollback', { params, body, headers }));
    },
    (made) => showMade(made, onClose),
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
 * Versions that a device has had besides the one that it has: first the one before that had first entered, which is where one rollback after another
 * leads, then the others, the newest stay first.
 */
function versionsToGoBackTo(stays: readonly Schemas['HistoryEntry'][], current: string | null): string[] {
  const firstOfCurrent = stays.findLastIndex(({ version }) => version === current);
  const before = stays[firstOfCurrent + 1]?.version;
  const others = stays.map(({ version }) => version).filter((version) => version !== current);
  return [...new Set(before === undefined || before === current ? others : [before, ...others])];
}
