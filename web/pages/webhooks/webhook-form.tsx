// The form that creates a webhook.

import { useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { webhookFormats } from '../../../src/client/enum-values.ts';
import { Dialog } from '../../components/dialog.tsx';
import { useErrorFocus } from '../../components/disclosure.tsx';
import { FieldErrors } from '../../components/field-errors.tsx';
import { Choice, Text } from '../../components/fields.tsx';
import { FailureNotice } from '../../components/resource-view.tsx';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';

type Parts = { readonly onCreated: (created: Schemas['CreatedWebhook']) => void; readonly onClose: () => void };

export function WebhookForm({ onCreated, onClose }: Parts) {
  const { client } = useSignedIn();
  const [draft, setDraft] = useState({ name: '', url: '', types: 'load.completed, rollout.*', selector: '', group: '' });
  const [format, setFormat] = useState<Schemas['WebhookFormat']>('cloudevents');
  const [rejected, setRejected] = useState<unknown>(null);
  const { name, url, types, selector, group } = draft;
  const eventTypes = types.split(/[\s,]+/).filter((type) => type !== '');
  const body = { name, url, eventTypes, format, ...(selector === '' ? {} : { selector }), ...(group === '' ? {} : { group }) };
  const action = useAction(async (headers) => {
    setRejected(body);
    return unwrapResponse(await client.POST('/v1/webhooks', { body, headers }));
  }, onCreated);
  const of = (field: keyof typeof draft) => ({
    value: draft[field],
    onChange: (value: string) => setDraft({ ...draft, [field]: value }),
  });
  const form = useErrorFocus(action.failure);
  const submit = (event: Event) => {
    event.preventDefault();
    action.run();
  };
  return (
    <Dialog heading="Create a webhook" onClose={onClose}>
      <FieldErrors failure={action.failure} rejected={rejected} current={body}>
        <form ref={form} onSubmit={submit}>
          <Text label="Name" pointer="/name" placeholder="fleet-events" required maxLength={63} {...of('name')} />
          <Text label="URL" pointer="/url" placeholder="https://example.com/hooks/patchbay" required maxLength={2_048} {...of('url')} />
          <Text label="Event types" pointer="/eventTypes" required {...of('types')} />
          <Text label="Label selector of devices (optional)" pointer="/selector" placeholder="zone in (north,south)" {...of('selector')} />
          <Text label="Group of devices (optional)" pointer="/group" placeholder="edge" maxLength={63} {...of('group')} />
          <Choice label="Format" pointer="/format" value={format} options={webhookFormats} onChange={setFormat} />
          {action.failure !== null && <FailureNotice failure={action.failure} />}
          <div class="buttons">
            <button type="button" onClick={onClose}>
              Cancel
            </button>
            <button type="submit" class="main" disabled={action.isUnderWay}>
              {action.isUnderWay ? 'Sending…' : 'Create'}
            </button>
          </div>
        </form>
      </FieldErrors>
    </Dialog>
  );
}
