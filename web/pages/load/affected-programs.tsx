// The programs affected by a load: interrupted programs, and programs with the stale address.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { counted, countText } from '../../components/numbers.ts';
import { Panel } from '../../components/panel.tsx';
import { ResourceView } from '../../components/resource-view.tsx';
import { Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { useResource } from '../../live/resource.ts';
import { useSignedIn } from '../../session/session.tsx';
import type { LoadPath, StepName } from './workflow.ts';

/** Maximum programs and violations read. */
const limit = 200;
/** Polling interval in milliseconds. */
const interval = 3_000;

type Load = Schemas['LoadDetail'];
type StepOf<Name extends StepName> = Extract<Schemas['LoadReport']['steps'][number], { readonly step: Name }>;

function stepsOf<Name extends StepName>(way: LoadPath, name: Name): StepOf<Name>[] {
  return (way.steps.get(name) ?? []).filter((step): step is StepOf<Name> => step.step === name);
}

function stepOf<Name extends StepName>(way: LoadPath, name: Name): StepOf<Name> | null {
  return stepsOf(way, name)[0] ?? null;
}

export function AffectedPrograms({ load, way }: { readonly load: Load; readonly way: LoadPath }) {
  const { client } = useSignedIn();
  const { device } = load;
  const names = useResource(device, async (signal) => {
    const { items } = unwrapResponse(
      await client.GET('/v1/devices/{device}/programs', { params: { path: { device }, query: { limit } }, signal }),
    );
    return new Map(items.map(({ id, name }) => [id, name]));
  });
  const nameOf = (program: string) => names.data?.get(program) ?? program;
  return (
    <>
      <Interrupted way={way} nameOf={nameOf} />
      <Stale load={load} way={way} nameOf={nameOf} />
    </>
  );
}

type Parts = { readonly way: LoadPath; readonly nameOf: (program: string) => string };

function Interrupted({ way, nameOf }: Parts) {
  const interrupted = stepOf(way, 'interrupted');
  const reset = stepOf(way, 'references-reset');
  if (interrupted === null)
    return (
      <Panel heading="Interrupted">
        <p class="empty">No access was interrupted.</p>
      </Panel>
    );
  const fate = reset === null ? '' : `${countText(reset.facts.retried)} retried, ${countText(reset.facts.failed)} ended without a retry`;
  return (
    <Panel heading="Interrupted" note={`${counted(interrupted.facts.accesses, 'access', 'accesses')}: ${fate}`}>
      <Table
        caption="Interrupted programs"
        rows={interrupted.facts.programs}
        keyOf={({ program }) => program}
        columns={[
          { heading: 'Program', cell: ({ program }) => nameOf(program) },
          { heading: 'Identifier', isWide: true, cell: ({ program }) => <code>{program}</code> },
          { heading: 'Threads', isNumber: true, cell: ({ threads }) => countText(threads) },
        ]}
      />
    </Panel>
  );
}

function Stale({ load, way, nameOf }: Parts & { readonly load: Load }) {
  const { client } = useSignedIn();
  const invalidated = stepsOf(way, 'invalidated');
  const replaced = (load.report?.members ?? [load.report]).flatMap((change) => change?.previous ?? []);
  const violations = useResource(
    load.id,
    async (signal) => {
      const ofModule = load.kind === 'patch-set' ? {} : { module: load.module };
      const params = { path: { device: load.device }, query: { ...ofModule, from: load.requestedAt, limit } };
      const { items } = unwrapResponse(await client.GET('/v1/devices/{device}/abi-violations', { params, signal }));
      return items.filter(({ version, address }) => replaced.some((old) => version === old.version && address === old.address));
    },
    { pollMilliseconds: interval },
  );
  if (invalidated.length === 0) return null;
  const holders = [...new Set(invalidated.flatMap(({ facts }) => facts.heldBy ?? []))];
  return (
    <Panel heading="Stale address" note="programs with the old address hard-coded">
      <ResourceView resource={violations} what="the ABI violations">
        {(found) => {
          const silent = holders.filter((program) => !found.some((one) => one.program === program));
          return (
            <>
              {silent.length > 0 && <p class="panel-body">Without a fault so far: {silent.map(nameOf).join(', ')}.</p>}
              {found.length === 0 && silent.length === 0 && <p class="empty">No program has the stale address.</p>}
              {found.length > 0 && (
                <Table
                  caption="Programs that faulted on the stale address"
                  rows={found}
                  keyOf={({ program, firstFaultAt }) => `${program} ${firstFaultAt}`}
                  columns={[
                    { heading: 'Program', cell: ({ programName }) => programName },
                    { heading: 'Address', cell: ({ address }) => <code>{address}</code> },
                    { heading: 'Page', isNumber: true, cell: ({ page }) => page },
                    { heading: 'Fault', cell: ({ flag }) => <span class="code">{flag}</span> },
                    { heading: 'Faults', isNumber: true, cell: ({ faults }) => countText(faults) },
                    { heading: 'First', cell: ({ firstFaultAt }) => <Timestamp at={firstFaultAt} /> },
                    { heading: 'Last', cell: ({ lastFaultAt }) => <Timestamp at={lastFaultAt} /> },
                  ]}
                />
              )}
            </>
          );
        }}
      </ResourceView>
    </Panel>
  );
}
