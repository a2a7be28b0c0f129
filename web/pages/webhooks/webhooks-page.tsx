// Webhooks: their state, parked events, and forms to create and change them.

import { useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { Badge, type Tone } from '../../components/badge.tsx';
import { ListEnd } from '../../components/list-end.tsx';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { usePages } from '../../live/pages.ts';
import { useSignedIn } from '../../session/session.tsx';
import { pollInterval } from './poll-interval.ts';
import { SecretDialog } from './secret-dialog.tsx';
import { WebhookDialog } from './webhook-dialog.tsx';
import { WebhookForm } from './webhook-form.tsx';

type Webhook = Schemas['Webhook'];
type Shown =
  | { readonly kind: 'create' }
  | { readonly kind: 'webhook'; readonly id: string }
  | { readonly kind: 'secret'; readonly of: Schemas['CreatedWebhook'] };

const tones: Readonly<Record<Schemas['WebhookStatus'], Tone>> = { delivering: 'good', failing: 'bad', disabled: 'plain' };
/** Webhooks per page. */
const pageLimit = 100;

export function WebhooksPage() {
  const { client, may } = useSignedIn();
  return (
    <>
      <PageHead heading="Webhooks" />
      {may('admin') ? <WebhookList client={client} /> : <p class="empty">Webhooks are visible to administrators.</p>}
    </>
  );
}

function WebhookList({ client }: Pick<ReturnType<typeof useSignedIn>, 'client'>) {
  const [shown, setShown] = useState<Shown | null>(null);
  const webhooks = usePages<Webhook>(
    'webhooks',
    async (page, signal) => unwrapResponse(await client.GET('/v1/webhooks', { params: { query: page }, signal })),
    { limit: pageLimit, pollMilliseconds: pollInterval, isRelevant: ({ action }) => action.startsWith('webhook.') },
  );
  const close = () => setShown(null);
  const actions = (
    <button type="button" class="main" onClick={() => setShown({ kind: 'create' })}>
      Create a webhook
    </button>
  );
  return (
    <Panel heading="Webhooks" note="newest first" actions={actions}>
      <ResourceView resource={webhooks} what="webhooks">
        {(items) => {
          const opened = shown?.kind === 'webhook' ? items.find(({ id }) => id === shown.id) : undefined;
          return (
            <>
              {items.length === 0 ? (
                <p class="empty">No webhooks yet.</p>
              ) : (
                <WebhookTable webhooks={items} onOpen={(id) => setShown({ kind: 'webhook', id })} />
              )}
              <ListEnd pages={webhooks} shown={items.length} what={items.length === 1 ? 'webhook' : 'webhooks'} />
              {opened !== undefined && (
                <WebhookDialog webhook={opened} onSecret={(of) => setShown({ kind: 'secret', of })} onClose={close} />
              )}
            </>
          );
        }}
      </ResourceView>
      {shown?.kind === 'create' && <WebhookForm onCreated={(of) => setShown({ kind: 'secret', of })} onClose={close} />}
      {shown?.kind === 'secret' && <SecretDialog name={shown.of.name} secret={shown.of.secret} onClose={close} />}
    </Panel>
  );
}

function WebhookTable({ webhooks, onOpen }: { readonly webhooks: readonly Webhook[]; readonly onOpen: (id: string) => void }) {
  return (
    <Table
      caption="Webhooks"
      rows={webhooks}
      keyOf={({ id }) => id}
      columns={[
        {
          heading: 'Name',
          cell: ({ id, name }) => (
            <button type="button" class="plain" onClick={() => onOpen(id)}>
              {name}
            </button>
          ),
        },
        { heading: 'Status', cell: ({ delivery }) => <Badge tone={tones[delivery.status]}>{delivery.status}</Badge> },
        { heading: 'Events', cell: ({ eventTypes }) => eventTypes.join(', ') },
        { heading: 'Last delivery', cell: ({ delivery: { lastDeliveredAt: at } }) => (at === null ? 'never' : <Timestamp at={at} />) },
        { heading: 'Parked', isNumber: true, cell: ({ delivery }) => delivery.parkedEvents },
        { heading: 'Last error', isWide: true, cell: ({ disabledReason, delivery }) => disabledReason ?? delivery.lastError },
      ]}
    />
  );
}
