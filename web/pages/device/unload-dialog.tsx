// The dialog that unloads a module from a device.

import { useState } from 'preact/hooks';
import { unwrapResponse } from '../../../src/client/client.ts';
import { Dialog } from '../../components/dialog.tsx';
import { Disclosure } from '../../components/disclosure.tsx';
import { Checkbox, Text } from '../../components/fields.tsx';
import { defaultIsolationOptions, IsolationFields, loadOptionsBody } from '../../components/load-options.tsx';
import { FailureNotice } from '../../components/resource-view.tsx';
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
      return unwrapResponse(await client.POST('/v1/unloads', { body, headers }));
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
