// The form that rolls a device back to the versions before a patch set, with a preview of the modules that change.

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { type Client, type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { Text } from '../../components/fields.tsx';
import { defaultLoadOptions, type LoadOptions, loadOptionsBody } from '../../components/load-options.tsx';
import { Module } from '../../components/module.tsx';
import { Table } from '../../components/table.tsx';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';
import type { DeviceDetail } from './device-data.ts';
import { LoadForm, showCreatedLoad } from './load-form.tsx';

/** Maximum number of patch sets offered. */
const offeredLimit = 5;
/** Maximum number of the newest patch sets of the module that are considered. */
const readLimit = 100;

/** The rollback of a patch set on the device. */
export type SetRollback = {
  readonly name: string;
  /** The version of the set that the rollback reverts. */
  readonly version: string;
  readonly modules: Schemas['PreviewedRollback']['modules'];
};

/** Returns the rollbacks of patch sets that change a module of a device. */
export async function readSetRollbacks(client: Client, device: string, module: string, signal: AbortSignal): Promise<SetRollback[]> {
  const query = { module, limit: readLimit };
  const { items } = unwrapResponse(await client.GET('/v1/patch-sets', { params: { query }, signal }));
  const names = [...new Set(items.map(({ name }) => name))].slice(0, offeredLimit);
  const found = await Promise.all(
    names.map(async (name): Promise<SetRollback[]> => {
      // The reason does not affect the preview.
      const body = { patchSet: name, devices: [device], reason: 'a preview', dryRun: true };
      const preview = unwrapResponse(await client.POST('/v1/rollbacks', { body, signal }));
      const [item] = 'items' in preview ? preview.items : [];
      if (item?.version == null || !item.modules.some((changed) => changed.module === module)) return [];
      return [{ name, version: item.version, modules: item.modules }];
    }),
  );
  return found.flat();
}

type Parts = {
  readonly device: DeviceDetail;
  readonly rollback: SetRollback;
  /** The field that chooses between the module and its patch sets. */
  readonly subject: ComponentChildren;
  readonly onClose: () => void;
};

export function SetRollbackForm({ device, rollback: { name, version, modules }, subject, onClose }: Parts) {
  const { client } = useSignedIn();
  const [reason, setReason] = useState('');
  const [terms, setTerms] = useState<LoadOptions>({ ...defaultLoadOptions, similarityPolicy: 'warn' });
  const rollBack = useAction(
    async (headers) => {
      const body = { patchSet: name, devices: [device.id], reason, ...loadOptionsBody(terms) };
      const accepted = unwrapResponse(await client.POST('/v1/rollbacks', { body, headers }));
      return 'loads' in accepted ? accepted : { loads: [] };
    },
    (made) => showCreatedLoad(made, onClose),
  );
  return (
    <LoadForm
      fields={
        <>
          {subject}
          <Text label="Reason" placeholder={`${version} drops packets`} required value={reason} onChange={setReason} />
        </>
      }
      terms={terms}
      onTerms={setTerms}
      action={rollBack}
      isComplete
      label={`Revert ${name}@${version}`}
      onClose={onClose}
    >
      <Table
        caption="Modules that change"
        rows={modules}
        keyOf={({ module }) => module}
        columns={[
          { heading: 'Module', cell: ({ module }) => <Module module={module} /> },
          { heading: 'Installed', cell: ({ currentVersion }) => <span class="code whole">{currentVersion ?? 'none'}</span> },
          { heading: 'Roll back to', cell: (changed) => <span class="code whole">{changed.version ?? 'unload'}</span> },
        ]}
      />
    </LoadForm>
  );
}
