// The dialog of one webhook: its state, its parked events, and its actions.

import { useState } from 'preact/hooks';
import { assertSuccess, type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { Dialog } from '../../components/dialog.tsx';
import { FailureNotice, ResourceView } from '../../components/resource-view.tsx';
import { Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { usePages } from '../../live/pages.ts';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';
import { pollInterval } from './poll-interval.ts';

type Webhook = Schemas['Webhook'];
type Parts = {
  readonly webhook: Webhook;
  readonly onSecret: (rotated: Schemas['CreatedWebhook']) => void;
  readonly onClose: () => void;
};

export function WebhookDialog({ webhook, onSecret, onClose }: Parts) {
  const { client } = useSignedIn();
  const [result, setResult] = useState('');
  const { id, name, url, enabled, delivery } = webhook;
  const params = { path: { webhook: id } };
  const test = useAction(
    async (headers) => unwrapResponse(await client.POST('/v1/webhooks/{webhook}/test', { params, headers })),
    ({ error, milliseconds }) => setResult(error ?? `The test event was delivered in ${milliseconds} ms.`),
  );
  const replay = useAction(
    async (headers) => unwrapResponse(await client.POST('/v1/webhooks/{webhook}/replay', { params, body: { parked: 'all' }, headers })),
    ({ parkedEvents }) => setResult(`${parkedEvents} parked ${parkedEvents === 1 ? 'event' : 'events'} will be sent again.`),
  );
  const rotate = useAction(
    async (headers) => unwrapResponse(await client.POST('/v1/webhooks/{webhook}/rotate-secret', { params, headers })),
    onSecret,
  );
  const toggle = useAction(
    async () => unwrapResponse(await client.PUT('/v1/webhooks/{webhook}', { params, body: { ...contentOf(webhook), enabled: !enabled } })),
    () => setResult(enabled ? 'The webhook is disabled.' : 'The webhook is enabled.'),
  );
  const remove = useAction(async () => assertSuccess(await client.DELETE('/v1/webhooks/{webhook}', { params })), onClose);
  const actions = [
    { label: 'Send a test event', action: test },
    { label: 'Replay parked events', action: replay },
    { label: 'Rotate the secret', action: rotate },
    { label: enabled ? 'Disable' : 'Enable', action: toggle },
    { label: 'Delete', action: remove },
  ];
  const failure = actions.map(({ action }) => action.failure).find((one) => one !== null);
  return (
    <Dialog heading={name} onClose={onClose}>
      <p>
        Sends events to <code>{url}</code>. Position: event {delivery.deliveredThrough}.
        {delivery.failingSince !== null && (
          <>
            {' '}
            Failing since <Timestamp at={delivery.failingSince} />: {delivery.lastError}.
          </>
        )}
        {delivery.skipped !== null &&
          ` Events after ${delivery.skipped.after} up to ${delivery.skipped.through} were pruned before they were sent.`}
      </p>
      <ParkedEvents id={id} />
      <p role="status">{result}</p>
      {failure !== undefined && <FailureNotice failure={failure} />}
      <div class="buttons">
        {actions.map(({ label, action }) => (
          <button key={label} type="button" disabled={action.isUnderWay} onClick={action.run}>
            {label}
          </button>
        ))}
      </div>
    </Dialog>
  );
}

function ParkedEvents({ id }: Pick<Webhook, 'id'>) {
  const { client } = useSignedIn();
  const parked = usePages<Schemas['ParkedEvent']>(
    id,
    async (page, signal) =>
      unwrapResponse(await client.GET('/v1/webhooks/{webhook}/parked-events', { params: { path: { webhook: id }, query: page }, signal })),
    { limit: 50, pollMilliseconds: pollInterval, isRelevant: ({ object }) => object === id },
  );
  return (
    <ResourceView resource={parked} what="parked events">
      {(items) =>
        items.length === 0 ? (
          <p class="soft">No parked events.</p>
        ) : (
          <Table
            caption="Parked events"
            rows={items}
            keyOf={({ number }) => String(number)}
            columns={[
              { heading: 'Event', isNumber: true, cell: ({ number }) => number },
              { heading: 'Action', cell: ({ action }) => action },
              { heading: 'Parked', cell: ({ parkedAt }) => <Timestamp at={parkedAt} /> },
              { heading: 'Last error', isWide: true, cell: ({ lastError }) => lastError },
            ]}
          />
        )
      }
    </ResourceView>
  );
}

function contentOf({ name, url, eventTypes, selector, group, format }: Webhook) {
  return { name, url, eventTypes, format, ...(selector === null ? {} : { selector }), ...(group === null ? {} : { group }) };
}
