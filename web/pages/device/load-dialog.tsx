// The dialog that loads a build on a device, with a preview.

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { unwrapAccepted, unwrapResponse } from '../../../src/client/client.ts';
import { Dialog } from '../../components/dialog.tsx';
import { Choice } from '../../components/fields.tsx';
import {
  defaultLoadOptions,
  defaultVersionPolicy,
  loadOptionsBody,
  VersionPolicyFields,
  versionPolicyBody,
} from '../../components/load-options.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { useResource } from '../../live/resource.ts';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';
import type { DeviceDetail } from './device-data.ts';
import { LoadForm, showCreatedLoad } from './load-form.tsx';
import { Preview } from './preview.tsx';
import './load-dialog.css';

/** Maximum modules, and builds of a module, offered; newest first. */
const offeredLimit = 200;

type Parts = {
  readonly device: DeviceDetail;
  /** The preselected module; null: the latest. */
  readonly given: string | null;
  readonly onClose: () => void;
};

export function LoadDialog({ device, given, onClose }: Parts) {
  const { client } = useSignedIn();
  const [chosen, setChosen] = useState(given);
  const modules = useResource('modules', async (signal) =>
    unwrapResponse(await client.GET('/v1/modules', { params: { query: { limit: offeredLimit, sort: 'lastBuildAt' } }, signal })).items.map(
      ({ name }) => name,
    ),
  );
  return (
    <Dialog heading={`Load a build on ${device.name}`} onClose={onClose}>
      <ResourceView resource={modules} what="modules">
        {(names) => {
          const module = chosen ?? names[0];
          if (module === undefined)
            return (
              <p class="empty">
                No builds yet. Create one with <code>npx patchbay build push</code>.
              </p>
            );
          return (
            <BuildForm key={module} device={device} module={module} onClose={onClose}>
              <Choice label="Module" value={module} options={names.includes(module) ? names : [module, ...names]} onChange={setChosen} />
            </BuildForm>
          );
        }}
      </ResourceView>
    </Dialog>
  );
}

type FormParts = Pick<Parts, 'device' | 'onClose'> & { readonly module: string; readonly children: ComponentChildren };

function BuildForm({ device, module, onClose, children }: FormParts) {
  const { client } = useSignedIn();
  const [chosen, setChosen] = useState<string | null>(null);
  const [terms, setTerms] = useState(defaultLoadOptions);
  const [precedence, setPrecedence] = useState(defaultVersionPolicy);
  const builds = useResource(module, async (signal) => {
    const params = { path: { module }, query: { limit: offeredLimit } };
    return unwrapResponse(await client.GET('/v1/modules/{module}/builds', { params, signal })).items.map(({ version }) => version);
  });
  const inMemory = device.moduleTable.find((entry) => entry.module === module)?.version;
  const version = chosen ?? builds.data?.find((one) => one !== inMemory) ?? builds.data?.[0] ?? null;
  const load = useAction(
    async (headers) => {
      if (version === null) throw new Error('Choose a version.');
      const body = { module, version, devices: [device.id], ...loadOptionsBody(terms), ...versionPolicyBody(precedence) };
      return unwrapAccepted(await client.POST('/v1/loads', { body, headers }));
    },
    (made) => showCreatedLoad(made, onClose),
  );
  return (
    <LoadForm
      fields={
        <>
          {children}
          {builds.data !== null && version !== null && (
            <Choice label="Version" value={version} options={builds.data} onChange={setChosen} />
          )}
        </>
      }
      terms={terms}
      onTerms={setTerms}
      moreTerms={<VersionPolicyFields precedence={precedence} onChange={setPrecedence} />}
      action={load}
      isComplete={version !== null && version !== inMemory}
      label={`Load ${module}@${version ?? '…'}`}
      onClose={onClose}
    >
      {version !== null && <Preview device={device} module={module} version={version} terms={terms} precedence={precedence} />}
    </LoadForm>
  );
}
