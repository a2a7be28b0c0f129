// The dialog that rolls a module of a device back, or a patch set that it came with, with a reason and a preview.

import type { ComponentChildren } from 'preact';
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
import { readSetRollbacks, type SetRollback, SetRollbackForm } from './set-rollback-form.tsx';

/** Maximum history entries read. */
const historyLimit = 200;

type Parts = { readonly device: DeviceDetail; readonly module: string; readonly onClose: () => void };

export function RollbackDialog({ device, module, onClose }: Parts) {
  const { client } = useSignedIn();
  const current = device.moduleTable.find((entry) => entry.module === module)?.version ?? null;
  const [subject, setSubject] = useState(module);
  const known = useResource(`${module} ${current}`, async (signal) => {
    const params = { path: { device: device.id, module }, query: { limit: historyLimit } };
    const [history, sets] = await Promise.all([
      client.GET('/v1/devices/{device}/modules/{module}/history', { params, signal }),
      readSetRollbacks(client, device.id, module, signal),
    ]);
    return { versions: rollbackVersions(unwrapResponse(history).items, current), sets };
  });
  return (
    <Dialog heading={`Roll ${module} back on ${device.name}`} onClose={onClose}>
      <ResourceView resource={known} what="the history">
        {({ versions, sets }) => {
          const [first] = versions;
          const subjects = [...(first === undefined ? [] : [module]), ...sets.map(subjectOf)];
          const rollback = sets.find((set) => subjectOf(set) === subject) ?? (first === undefined ? sets[0] : undefined);
          const field = sets.length > 0 && (
            <Choice
              label="What to roll back"
              value={rollback === undefined ? module : subjectOf(rollback)}
              options={subjects}
              onChange={setSubject}
            />
          );
          if (rollback !== undefined) return <SetRollbackForm device={device} rollback={rollback} subject={field} onClose={onClose} />;
          if (first === undefined)
            return <p class="empty">The device had no other version of {module}. There is no version to roll back to.</p>;
          return <RollbackForm device={device} module={module} versions={versions} first={first} subject={field} onClose={onClose} />;
        }}
      </ResourceView>
    </Dialog>
  );
}

const subjectOf = ({ name, version }: SetRollback) => `patch set ${name}@${version}`;

type FormParts = Parts & {
  readonly versions: readonly string[];
  readonly first: string;
  /** The field that chooses between the module and its patch sets. */
  readonly subject: ComponentChildren;
};

function RollbackForm({ device, module, versions, first, subject, onClose }: FormParts) {
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
          {subject}
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
