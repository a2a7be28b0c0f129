// The dialog that unloads a module from a device.

import { useState } from 'preact/hooks';
import { type Schemas, unwrapAccepted, unwrapResponse } from '../../../src/client/client.ts';
import { Dialog } from '../../components/dialog.tsx';
import { Disclosure } from '../../components/disclosure.tsx';
import { Checkbox, Text } from '../../components/fields.tsx';
import { defaultIsolationOptions, IsolationFields, type IsolationOptions, loadOptionsBody } from '../../components/load-options.tsx';
import { countText } from '../../components/numbers.ts';
import { FailureNotice, ResourceView } from '../../components/resource-view.tsx';
import { useResource } from '../../live/resource.ts';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';
import type { DeviceDetail } from './device-data.ts';
import { showCreatedLoad } from './load-form.tsx';
import './load-dialog.css';

type Parts = { readonly device: DeviceDetail; readonly module: string; readonly onClose: () => void };

export function UnloadDialog({ device, module, onClose }: Parts) {
  const { client } = useSignedIn();
  const [terms, setTerms] = useState(defaultIsolationOptions);
  const [isForced, setForced] = useState(false);
  const [reason, setReason] = useState('');
  const entry = device.moduleTable.find((one) => one.module === module);
  const unload = useAction(
    async (headers) => {
      const body = { module, devices: [device.id], ...loadOptionsBody(terms), ...(isForced ? { forceReason: reason } : {}) };
      return unwrapAccepted(await client.POST('/v1/unloads', { body, headers }));
    },
    (made) => showCreatedLoad(made, onClose),
  );
  const submit = (event: Event) => {
    event.preventDefault();
    unload.run();
  };
  return (
    <Dialog heading={`Unload ${module} from ${device.name}`} onClose={onClose}>
      <form onSubmit={submit}>
        <p>
          {entry === undefined ? `${module} is not in memory.` : `Removes ${module}@${entry.version} from the module table.`} Calls of its
          exports fault until a version is loaded again. The device refuses to unload a module that another one imports.
        </p>
        <div class="fields">
          <Checkbox label="Unload it although modules in memory import it" isOn={isForced} onChange={setForced} />
          {isForced && <Text label="Reason" pointer="/forceReason" required value={reason} onChange={setReason} />}
        </div>
        <Disclosure summary={`Options: ${terms.strategy}, old pages ${terms.invalidation}`}>
          <div class="fields">
            <IsolationFields terms={terms} onChange={setTerms} />
          </div>
        </Disclosure>
        {entry !== undefined && (
          <Preview device={device} module={module} terms={terms} isForced={isForced} references={entry.referenceCount} />
        )}
        {unload.failure !== null && <FailureNotice failure={unload.failure} />}
        <div class="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="main" disabled={unload.isUnderWay}>
            {unload.isUnderWay ? 'Sending…' : `Unload ${module}`}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

type PreviewParts = Pick<Parts, 'device' | 'module'> & {
  readonly terms: IsolationOptions;
  readonly isForced: boolean;
  readonly references: number;
};

/** The forecast of the unload. */
function Preview({ device, module, terms, isForced, references }: PreviewParts) {
  const { client } = useSignedIn();
  // The reasons do not affect the forecast: constants avoid a request per typed character.
  const options = loadOptionsBody({ ...terms, overrideReason: terms.overrideReason === '' ? '' : 'a forecast' });
  const body = { module, devices: [device.id], dryRun: true, ...options, ...(isForced ? { forceReason: 'a forecast' } : {}) };
  const previewed = useResource<Schemas['UnloadPreview']>(JSON.stringify(body), async (signal) => {
    const preview = unwrapResponse(await client.POST('/v1/unloads', { body, signal }));
    if (!('items' in preview)) throw new TypeError('the service created an unload instead of a preview');
    return preview;
  });
  return (
    <ResourceView resource={previewed} what="the preview">
      {({ items: [item] }) => item !== undefined && <ForecastNotice item={item} device={device} module={module} references={references} />}
    </ResourceView>
  );
}

type Noticed = Pick<Parts, 'device' | 'module'> & { readonly item: Schemas['PreviewedUnload']; readonly references: number };

function ForecastNotice({ item: { forecast, reason, warnings, reachable, held, currentVersion }, device, module, references }: Noticed) {
  const what = {
    'would-unload': `${module}@${currentVersion} would be unloaded. Accesses inside now: ${countText(references)}.`,
    'refused-not-loaded': 'The device would refuse the unload: the module is not in memory.',
    'refused-imported': 'The device would refuse the unload: modules in memory import the module.',
    'unsupported-by-host': 'The agent of the host does not support unloads.',
  }[forecast];
  const isWell = forecast === 'would-unload' && reachable && !held && warnings.length === 0;
  return (
    <p class="notice" data-is={isWell ? 'well' : 'warning'} role="status">
      <strong>{what}</strong>
      {reason !== null && <span>{reason}</span>}
      {!reachable && <span>The host of {device.name} is unreachable. The unload would wait until it connects, or expire.</span>}
      {held && <span>The maintenance windows of {device.name} are closed. The unload would be held until they open.</span>}
      {warnings.map((warning) => (
        <span key={warning}>Warning: {warning}.</span>
      ))}
    </p>
  );
}
