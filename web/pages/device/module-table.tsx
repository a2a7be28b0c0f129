// The module table of a device: address and reference count of each module.

import { Chart, type Series } from '../../components/chart.tsx';
import { Module } from '../../components/module.tsx';
import { countText } from '../../components/numbers.ts';
import { Panel } from '../../components/panel.tsx';
import { type Column, Table } from '../../components/table.tsx';
import type { DeviceDetail } from './device-data.ts';

type Entry = DeviceDetail['moduleTable'][number];
type Parts = {
  readonly device: DeviceDetail;
  /** Recent accesses inside each module. */
  readonly references: readonly Series[];
  /** Opens the load, rollback or unload dialog; null if the user has no permission. */
  readonly ask: ((kind: 'load' | 'rollback' | 'unload', module: string) => void) | null;
};

/** Abnormal ends of accesses that taint the state of a module. */
const endings = { trap: 'a trap', deadline: 'a deadline', stop: 'a stop', interruption: 'an injected error' } as const;

/** Shows whether a module's state is tainted. */
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
                <button type="button" onClick={() => ask('unload', module)}>
                  Unload<span class="unseen"> {module}</span>…
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
