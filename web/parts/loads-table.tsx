// Loads, one a line.

import type { Schemas } from '../../src/cli/client/client.ts';
import { devicePath, loadPath } from '../navigation/paths.ts';
import { LoadBadge } from './badge.tsx';
import { Module } from './module.tsx';
import { type Column, Table } from './table.tsx';
import { Moment } from './times.tsx';

type Load = Schemas['Load'];
type Parts = {
  readonly loads: readonly Load[];
  /** Names of devices by their identifiers, as far as they are known; null where all are of one device. */
  readonly deviceNames: ReadonlyMap<string, string> | null;
};

export function LoadsTable({ loads, deviceNames }: Parts) {
  const columns: Column<Load>[] = [
    {
      heading: 'Load',
      cell: ({ id, module, version, rollback }) => (
        <>
          <a href={loadPath(id)}>
            <Module module={module} version={version} />
          </a>
          {rollback && <span class="soft"> rollback</span>}
        </>
      ),
    },
    ...(deviceNames === null
      ? []
      : [
          {
            heading: 'Device',
            cell: ({ device }: Load) => <a href={devicePath(device)}>{deviceNames.get(device) ?? <code>{device}</code>}</a>,
          },
        ]),
    { heading: 'Outcome', cell: (load) => <LoadBadge state={load.state} outcome={load.outcome} /> },
    { heading: 'Interrupted', isNumber: true, cell: ({ interrupted }) => interrupted },
    { heading: 'Retried', isNumber: true, cell: ({ retried }) => retried },
    { heading: 'Failed', isNumber: true, cell: ({ failed }) => failed },
    { heading: 'Requested', cell: ({ requestedAt }) => <Moment at={requestedAt} /> },
    { heading: 'Completed', cell: ({ completedAt }) => (completedAt === null ? null : <Moment at={completedAt} />) },
  ];
  return <Table caption="Loads" columns={columns} rows={loads} keyOf={({ id }) => id} />;
}
