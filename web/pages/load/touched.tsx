// Whom a load has touched: the programs that were inside the old version, and those that went on calling its address.

import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { useResource } from '../../live/resource.ts';
import { counted, countText } from '../../parts/numbers.ts';
import { Panel } from '../../parts/panel.tsx';
import { Shown } from '../../parts/shown.tsx';
import { Table } from '../../parts/table.tsx';
import { Moment } from '../../parts/times.tsx';
import { useSignedIn } from '../../session/session.tsx';
import type { StepName, Taken } from './workflow.ts';

/** Programs and violations that are looked through. */
const limit = 200;
/** Milliseconds between two looks for faults. */
const interval = 3_000;

type Load = Schemas['LoadDetail'];
type StepOf<Name extends StepName> = Extract<Schemas['LoadReport']['steps'][number], { readonly step: Name }>;

function stepOf<Name extends StepName>(way: Taken, name: Name): StepOf<Name> | null {
  const step = way.steps.get(name);
  return isStep(step, name) ? step : null;
}

function isStep<Name extends StepName>(step: { readonly step: StepName } | undefined, name: Name): step is StepOf<Name> {
  return step?.step === name;
}

export function Touched({ load, way }: { readonly load: Load; readonly way: Taken }) {
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

type Parts = { readonly way: Taken; readonly nameOf: (program: string) => string };

function Interrupted({ way, nameOf }: Parts) {
  const interrupted = stepOf(way, 'interrupted');
  const reset = stepOf(way, 'references-reset');
  if (interrupted === null)
    return (
      <Panel heading="Interrupted">
        <p class="empty">Nobody: no access was inside an old version, or those inside left by themselves.</p>
      </Panel>
    );
  const fate =
    reset === null ? '' : `${countText(reset.facts.retried)} retried in the new version, ${countText(reset.facts.failed)} did not`;
  return (
    <Panel heading="Interrupted" note={`${counted(interrupted.facts.accesses, 'access', 'accesses')}: ${fate}`}>
      <Table
        caption="Programs that were interrupted"
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
  const invalidated = stepOf(way, 'invalidated');
  const previous = load.report?.previous ?? null;
  const violations = useResource(
    load.id,
    async (signal) => {
      const params = { path: { device: load.device }, query: { module: load.module, from: load.requestedAt, limit } };
      const { items } = unwrapResponse(await client.GET('/v1/devices/{device}/abi-violations', { params, signal }));
      return items.filter(({ version, address }) => version === previous?.version && address === previous.address);
    },
    { every: interval },
  );
  if (invalidated === null) return null;
  const holders = invalidated.facts.heldBy ?? [];
  return (
    <Panel heading="At the stale address" note="programs that keep the old address, hard-coded">
      <Shown resource={violations} what="the violations">
        {(found) => {
          const silent = holders.filter((program) => !found.some((one) => one.program === program));
          return (
            <>
              {silent.length > 0 && (
                <p class="panel-body">
                  {silent.map(nameOf).join(', ')} {silent.length === 1 ? 'keeps' : 'keep'} it, and {silent.length === 1 ? 'has' : 'have'}{' '}
                  not faulted there.
                </p>
              )}
              {found.length === 0 && silent.length === 0 && <p class="empty">Nobody keeps it.</p>}
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
                    { heading: 'First', cell: ({ firstFaultAt }) => <Moment at={firstFaultAt} /> },
                    { heading: 'Last', cell: ({ lastFaultAt }) => <Moment at={lastFaultAt} /> },
                  ]}
                />
              )}
            </>
          );
        }}
      </Shown>
    </Panel>
  );
}
