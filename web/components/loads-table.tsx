// The table of loads.

import type { Schemas } from '../../src/client/client.ts';
import { devicePath, loadPath } from '../navigation/paths.ts';
import { LoadBadge } from './badge.tsx';
import { Module } from './module.tsx';
import { type Column, Table } from './table.tsx';
import { Timestamp } from './times.tsx';

type Load = Schemas['Load'];
type Parts<Listed extends Load> = {
  readonly loads: readonly Listed[];
  /** Returns the device name of a load, null if unknown; omitted if all loads are of one device. */
  readonly deviceNameOf?: (load: Listed) => string | null;
};

export function LoadsTable<Listed extends Load>({ loads, deviceNameOf }: Parts<Listed>) {
  const columns: Column<Listed>[] = [
    {
      heading: 'Load',
      cell: ({ id, kind, module, version, rollback }) => (
        <>
          <a href={loadPath(id)}>
            <Module module={module} version={version} />
          </a>
          {kind !== 'build' && <span class="soft"> {kind}</span>}
          {rollback && <span class="soft"> rollback</span>}
        </>
      ),
    },
    ...(deviceNameOf === undefined
      ? []
      : [
          {
            heading: 'Device',
            cell: (load: Listed) => <a href={devicePath(load.device)}>{deviceNameOf(load) ?? <code>{load.device}</code>}</a>,
          },
        ]),
    { heading: 'Outcome', cell: (load) => <LoadBadge state={load.state} outcome={load.outcome} /> },
    { heading: 'Interrupted', isNumber: true, cell: ({ interrupted }) => interrupted },
    { heading: 'Retried', isNumber: true, cell: ({ retried }) => retried },
    { heading: 'Failed', isNumber: true, cell: ({ failed }) => failed },
    { heading: 'Requested', cell: ({ requestedAt }) => <Timestamp at={requestedAt} /> },
    { heading: 'Completed', cell: ({ completedAt }) => (completedAt === null ? null : <Timestamp at={completedAt} />) },
  ];
  return <Table caption="Loads" columns={columns} rows={loads} keyOf={({ id }) => id} />;
}
