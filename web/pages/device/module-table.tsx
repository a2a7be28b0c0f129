// The module table of a device: where each module is now, and how many accesses are inside.

import { Chart, type Series } from '../../parts/chart.tsx';
import { Module } from '../../parts/module.tsx';
import { countText } from '../../parts/numbers.ts';
import { Panel } from '../../parts/panel.tsx';
import { type Column, Table } from '../../parts/table.tsx';
import type { DeviceDetail } from './watched.ts';

type Entry = DeviceDetail['moduleTable'][number];
type Parts = {
  readonly device: DeviceDetail;
  /** Accesses inside each module of late. */
  readonly references: readonly Series[];
  /** Asks whether a build is to be loaded, or one gone back from; null where the user may not. */
  readonly ask: ((kind: 'load' | 'rollback', module: string) => void) | null;
};

/** How accesses ended that may have left the state of a module half changed. */
const endings = { trap: 'a trap', deadline: 'a deadline', stop: 'a stop', interruption: 'an injected error' } as const;

/** Whether accesses ended abnormally inside a module with state. */
function TaintMark({ tainted }: { readonly tainted: NonNullable<Entry['tainted']> | null }) {
  if (tainted === null) return <>–</>;
  const { reason, at, accesses } = tainted;
  return (
    <span class="code whole" title={`First cause: ${endings[reason]}, at ${at}. Load the module again to reset its state.`}>
      tainted by {countText(accesses)} {accesses === 1 ? 'access' : 'accesses'}
    </span>
  );
}

export function ModuleTable({ device: { moduleTable }, references, ask }: Parts) {
  const columns: Column<Entry>[] = [
    { heading: 'Module', cell: ({ module }) => <Module module={module} /> },
    { heading: 'Version', cell: ({ version }) => <span class="code whole">{version}</span> },
    { heading: 'Address', cell: ({ address }) => <code>{address}</code> },
    { heading: 'References', isNumber: true, cell: ({ referenceCount }) => countText(referenceCount) },
    { heading: 'State', cell: ({ tainted }) => <TaintMark tainted={tainted ?? null} /> },
    ...(ask === null
      ? []
      : [
          {
            heading: 'Actions',
            isWide: true,
            cell: ({ module }: Entry) => (
              <span class="row-actions">
                <button type="button" onClick={() => ask('load', module)}>
                  Load<span class="unseen"> a build of {module}</span>…
                </button>
                <button type="button" onClick={() => ask('rollback', module)}>
                  Roll <span class="unseen">{module} </span>back…
                </button>
              </span>
            ),
          },
        ]),
  ];
  return (
    <Panel heading="Module table" note="References: accesses inside now">
      {moduleTable.length === 0 ? (
        <p class="empty">No module is in memory{ask === null ? '.' : '. Load a build.'}</p>
      ) : (
        <>
          <Table caption="Module table" columns={columns} rows={moduleTable} keyOf={({ module }) => module} />
          <div class="panel-body">
            <Chart heading="Accesses inside" series={references} text={countText} now={Date.now()} />
          </div>
        </>
      )}
    </Panel>
  );
}
