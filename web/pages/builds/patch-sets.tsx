// The patch sets: all of them, or those with a build of one module.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { ListEnd } from '../../components/list-end.tsx';
import { ObjectName } from '../../components/object-name.tsx';
import { Panel } from '../../components/panel.tsx';
import { PatchSetMembers } from '../../components/patch-set-members.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { usePages } from '../../live/pages.ts';
import { newRolloutPath } from '../../navigation/paths.ts';
import { useActorNames } from '../../session/names.ts';
import { useSignedIn } from '../../session/session.tsx';

type PatchSet = Schemas['PatchSet'];

/** @param module Null: patch sets of all modules. */
export function PatchSets({ module }: { readonly module: string | null }) {
  const { client, may } = useSignedIn();
  const names = useActorNames();
  const patchSets = usePages<PatchSet>(
    `patch sets ${module ?? ''}`,
    async (page, signal) => {
      const query = { ...page, ...(module === null ? {} : { module }) };
      return unwrapResponse(await client.GET('/v1/patch-sets', { params: { query }, signal }));
    },
    { limit: 20, isRelevant: ({ action }) => action.startsWith('patch-set.') },
  );
  return (
    <Panel heading="Patch sets" note="newest first">
      <ResourceView resource={patchSets} what="patch sets">
        {(items) =>
          items.length === 0 ? (
            <p class="empty">{module === null ? 'No patch sets yet.' : `No patch set contains ${module}.`}</p>
          ) : (
            <>
              <Table
                caption="Patch sets"
                rows={items}
                keyOf={({ id }) => id}
                columns={[
                  { heading: 'Patch set', cell: ({ id, name, version }) => <code title={id}>{`${name}@${version}`}</code> },
                  { heading: 'Builds', isWide: true, cell: (patchSet) => <PatchSetMembers patchSet={patchSet} /> },
                  { heading: 'Created', cell: ({ createdAt }) => <Timestamp at={createdAt} /> },
                  { heading: 'Created by', cell: ({ createdBy }) => <ObjectName id={createdBy} names={names} /> },
                  ...(may('operator') ? [{ heading: 'Roll out', cell: toRollOut }] : []),
                ]}
              />
              <ListEnd pages={patchSets} shown={items.length} what={items.length === 1 ? 'patch set' : 'patch sets'} />
            </>
          )
        }
      </ResourceView>
    </Panel>
  );
}

const toRollOut = ({ name, version }: PatchSet) => <a href={newRolloutPath({ patchSet: `${name}@${version}` })}>Roll out…</a>;
