// Asks which build is to be loaded on a device, shows what it would come to, and has it done.

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { answerOf } from '../../../src/cli/client/client.ts';
import { useResource } from '../../live/resource.ts';
import { navigate } from '../../navigation/location.ts';
import { loadPath } from '../../navigation/paths.ts';
import { Dialog } from '../../parts/dialog.tsx';
import { Choice } from '../../parts/fields.tsx';
import { FailureNotice, Shown } from '../../parts/shown.tsx';
import { PrecedenceFields, precedenceBody, TermsFields, termsBody, usualPrecedence, usualTerms } from '../../parts/terms.tsx';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';
import type { DeviceDetail } from './device-page.tsx';
import { Preview } from './preview.tsx';
import './load-dialog.css';

/** Modules, and builds of one, that are offered: the newest. */
const offeredLimit = 200;

type Parts = {
  readonly device: DeviceDetail;
  /** The module whose builds are offered first; null: any. */
  readonly given: string | null;
  readonly onClose: () => void;
};

export function LoadDialog({ device, given, onClose }: Parts) {
  const { client } = useSignedIn();
  const [chosen, setChosen] = useState(given);
  const modules = useResource('modules', async (signal) =>
    answerOf(await client.GET('/v1/modules', { params: { query: { limit: offeredLimit, sort: 'lastBuildAt' } }, signal })).items.map(
      ({ name }) => name,
    ),
  );
  return (
    <Dialog heading={`Load a build on ${device.name}`} onClose={onClose}>
      <Shown resource={modules} what="modules">
        {(names) => {
          const module = chosen ?? names[0];
          if (module === undefined)
            return (
              <p class="empty">
                There is no build to load yet: <code>npx patchbay build push</code> makes one.
              </p>
            );
          return (
            <BuildForm key={module} device={device} module={module} onClose={onClose}>
              <Choice label="Module" value={module} options={names.includes(module) ? names : [module, ...names]} onChange={setChosen} />
            </BuildForm>
          );
        }}
      </Shown>
    </Dialog>
  );
}

type FormParts = Pick<Parts, 'device' | 'onClose'> & { readonly module: string; readonly children: ComponentChildren };

function BuildForm({ device, module, onClose, children }: FormParts) {
  const { client } = useSignedIn();
  const [chosen, setChosen] = useState<string | null>(null);
  const [terms, setTerms] = useState(usualTerms);
  const [precedence, setPrecedence] = useState(usualPrecedence);
  const builds = useResource(module, async (signal) => {
    const params = { path: { module }, query: { limit: offeredLimit } };
    return answerOf(await client.GET('/v1/modules/{module}/builds', { params, signal })).items.map(({ version }) => version);
  });
  const inMemory = device.moduleTable.find((entry) => entry.module === module)?.version;
  const version = chosen ?? builds.data?.find((one) => one !== inMemory) ?? builds.data?.[0] ?? null;
  const load = useAction(
    async (headers) => {
      if (version === null) throw new Error('no version is chosen');
      const body = { module, version, devices: [device.id], ...termsBody(terms), ...precedenceBody(precedence) };
      return answerOf(await client.POST('/v1/loads', { body, headers }));
    },
    ({ loads: [made] }) => {
      onClose();
      if (made !== undefined) navigate(loadPath(made.id));
    },
  );
  const submit = (event: Event) => {
    event.preventDefault();
    load.run();
  };
  return (
    <form onSubmit={submit}>
      <div class="fields">
        {children}
        {builds.data !== null && version !== null && <Choice label="Version" value={version} options={builds.data} onChange={setChosen} />}
      </div>
      <details>
        <summary>
          How it is loaded: {terms.strategy}, old pages {terms.invalidation}
        </summary>
        <div class="fields">
          <TermsFields terms={terms} onChange={setTerms} />
          <PrecedenceFields precedence={precedence} onChange={setPrecedence} />
        </div>
      </details>
      {version !== null && <Preview device={device} module={module} version={version} terms={terms} precedence={precedence} />}
      {load.failure !== null && <FailureNotice failure={load.failure} />}
      <div class="buttons">
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        <button type="submit" class="main" disabled={version === null || version === inMemory || load.isUnderWay}>
          {load.isUnderWay ? 'Asking for it…' : `Load ${module}@${version ?? '…'}`}
        </button>
      </div>
    </form>
  );
}
