// A state as a word with a mark; the mark's shape also shows the state.

import type { Schemas } from '../../src/client/client.ts';

export type Tone = 'good' | 'warn' | 'bad' | 'plain';

export function Badge({ tone, children }: { readonly tone: Tone; readonly children: string }) {
  return (
    <span class="badge" data-tone={tone}>
      {children}
    </span>
  );
}

const deviceTones: Readonly<Record<Schemas['Device']['status'], Tone>> = {
  connected: 'good',
  attaching: 'warn',
  unreachable: 'bad',
  decommissioned: 'plain',
};

export function DeviceBadge({ status }: Pick<Schemas['Device'], 'status'>) {
  return <Badge tone={deviceTones[status]}>{status}</Badge>;
}

type Outcome = NonNullable<Schemas['Load']['outcome']>;
const outcomeTones: Readonly<Record<Outcome, Tone>> = {
  installed: 'good',
  replaced: 'good',
  'replaced-interrupting': 'good',
  unloaded: 'good',
  'unloaded-interrupting': 'good',
  'refused-not-newer': 'warn',
  'refused-dissimilar': 'warn',
  'refused-unresolved': 'warn',
  'refused-image': 'bad',
  'refused-not-loaded': 'warn',
  'refused-imported': 'warn',
  failed: 'bad',
  expired: 'bad',
  cancelled: 'plain',
  superseded: 'plain',
};

/** The outcome of a load, or its state before it ends. */
export function LoadBadge({ state, outcome }: Pick<Schemas['Load'], 'state' | 'outcome'>) {
  return outcome === null ? <Badge tone="warn">{state}</Badge> : <Badge tone={outcomeTones[outcome]}>{outcome}</Badge>;
}
