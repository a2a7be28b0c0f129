// All groups, with dialogs that create, edit and delete them.

import { useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { ListEnd } from '../../components/list-end.tsx';
import { PageHead } from '../../components/page-head.tsx';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { type Column, Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { windowText } from '../../components/window-fields.tsx';
import { usePages } from '../../live/pages.ts';
import { withQuery } from '../../navigation/paths.ts';
import { useSignedIn } from '../../session/session.tsx';
import { DeleteDialog } from './delete-dialog.tsx';
import { GroupDialog } from './group-dialog.tsx';

type Group = Schemas['Group'];
/** The dialog that is open. */
type Opened = { readonly kind: 'edit' | 'delete'; readonly group: Group } | { readonly kind: 'create' } | null;

export function GroupsPage() {
  const { client, mayAcrossFleet } = useSignedIn();
  const [opened, setOpened] = useState<Opened>(null);
  const groups = usePages<Group>(
    'groups',
    async (query, signal) => unwrapResponse(await client.GET('/v1/groups', { params: { query }, signal })),
    { isRelevant: ({ action }) => action.startsWith('group.') },
  );
  const close = () => {
    setOpened(null);
    groups.refresh();
  };
  return (
    <>
      <PageHead
        heading="Groups"
        actions={
          mayAcrossFleet('operator') && (
            <button type="button" class="main" onClick={() => setOpened({ kind: 'create' })}>
              New group…
            </button>
          )
        }
      />
      <Panel heading="Groups" note="newest first">
        <ResourceView resource={groups} what="groups">
          {(items) =>
            items.length === 0 ? (
              <p class="empty">No groups yet. A group is a name for a label selector, such as zone=north.</p>
            ) : (
              <>
                <Table
                  caption="Groups"
                  rows={items}
                  keyOf={({ id }) => id}
                  columns={columns(mayAcrossFleet('operator') ? setOpened : null)}
                />
                <ListEnd pages={groups} shown={items.length} what={items.length === 1 ? 'group' : 'groups'} />
              </>
            )
          }
        </ResourceView>
      </Panel>
      {opened?.kind === 'create' && <GroupDialog group={null} onClose={close} />}
      {opened?.kind === 'edit' && <GroupDialog group={opened.group} onClose={close} />}
      {opened?.kind === 'delete' && <DeleteDialog group={opened.group} onClose={close} />}
    </>
  );
}

/** @param open Opens a dialog; null if the key may not change groups. */
function columns(open: ((opened: Opened) => void) | null): Column<Group>[] {
  const actions: Column<Group> = {
    heading: 'Actions',
    cell: (group) => (
      <>
        <button type="button" aria-label={`Edit ${group.name}`} onClick={() => open?.({ kind: 'edit', group })}>
          Edit…
        </button>{' '}
        <button type="button" aria-label={`Delete ${group.name}`} onClick={() => open?.({ kind: 'delete', group })}>
          Delete…
        </button>
      </>
    ),
  };
  return [
    { heading: 'Group', cell: ({ name }) => <a href={withQuery('/', new URLSearchParams({ group: name }))}>{name}</a> },
    { heading: 'Label selector', isWide: true, cell: ({ selector }) => <code>{selector}</code> },
    { heading: 'Maintenance windows', isWide: true, cell: ({ maintenanceWindows }) => maintenanceWindows.map(windowText).join('; ') },
    { heading: 'Description', isWide: true, cell: ({ description }) => description },
    { heading: 'Created', cell: ({ createdAt }) => <Timestamp at={createdAt} /> },
    ...(open === null ? [] : [actions]),
  ];
}
