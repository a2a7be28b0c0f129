// The fields of the load options, with the meaning of each choice.

import type { Schemas } from '../../src/client/client.ts';
import { invalidations, linkPolicies, similarityPolicies, strategies, versionPolicies } from '../../src/client/enum-values.ts';
import { Choice, Text, WholeNumber } from './fields.tsx';

type Load = Schemas['Load'];
export type LoadOptions = {
  readonly strategy: Load['strategy'];
  readonly drainMilliseconds: number;
  readonly invalidation: Load['invalidation'];
  /** Reason for overriding maintenance windows; empty: not overridden. */
  readonly overrideReason: string;
  /** Time after which an incomplete load expires. */
  readonly deadlineSeconds: number;
  readonly similarityPolicy: Load['similarityPolicy'];
  readonly linkPolicy: Load['linkPolicy'];
};
export type VersionPolicy = { readonly versionPolicy: Load['versionPolicy']; readonly downgradeReason: string };

/** The options that unloads have too. */
export type IsolationOptions = Pick<LoadOptions, 'strategy' | 'drainMilliseconds' | 'invalidation' | 'overrideReason' | 'deadlineSeconds'>;

/** Maximum deadline of a load or rollback: 30 days. */
export const maxDeadlineSeconds = 2_592_000;
export const defaultIsolationOptions: IsolationOptions = {
  strategy: 'inject',
  drainMilliseconds: 10_000,
  invalidation: 'nx',
  overrideReason: '',
  deadlineSeconds: 86_400,
};
export const defaultLoadOptions: LoadOptions = {
  ...defaultIsolationOptions,
  similarityPolicy: 'require',
  linkPolicy: 'require',
};
export const defaultVersionPolicy: VersionPolicy = { versionPolicy: 'newer', downgradeReason: '' };

/** Returns the load options for a request body. */
export function loadOptionsBody<Options extends IsolationOptions>({ strategy, drainMilliseconds, overrideReason, ...terms }: Options) {
  const reason = overrideReason.trim();
  return {
    strategy,
    ...terms,
    ...(strategy === 'inject' ? {} : { drainMilliseconds }),
    ...(reason === '' ? {} : { overrideMaintenanceWindow: { reason } }),
  };
}

/** Returns the version policy for a request body. */
export function versionPolicyBody({ versionPolicy, downgradeReason }: VersionPolicy) {
  return { versionPolicy, ...(versionPolicy === 'downgrade' ? { downgradeReason } : {}) };
}

/** Summarizes the load options in one line. */
export function loadOptionsText({
  strategy,
  invalidation,
  versionPolicy,
  similarityPolicy,
  linkPolicy,
}: Omit<LoadOptions, 'drainMilliseconds' | 'overrideReason' | 'deadlineSeconds'> & Pick<Load, 'versionPolicy'>) {
  return `${strategy}, ${invalidation}, ${versionPolicy}, similarity ${similarityPolicy}, links ${linkPolicy}`;
}

const strategyMeanings = {
  inject: 'accesses inside are interrupted and retry',
  drain: 'waits for accesses to leave; on timeout the load fails',
  'drain-then-inject': 'waits for accesses to leave; on timeout they are interrupted',
} satisfies Record<Load['strategy'], string>;
const invalidationMeanings = {
  none: 'the old pages do not change',
  'mark-invalid': 'the old pages are marked invalid: a fetch faults',
  nx: 'the old pages get their NX bit: a fetch faults',
  delete: 'the old pages are deleted and can be reused',
} satisfies Record<Load['invalidation'], string>;
const similarityMeanings = {
  require: 'refuses a version that removes or changes an export',
  warn: 'accepts any exports; the report lists the differences',
  off: 'accepts any exports',
} satisfies Record<Load['similarityPolicy'], string>;
const linkMeanings = {
  require: 'refuses a version with unresolved imports, or one that takes an import from another module',
  warn: 'accepts unresolved links; the report lists them',
  off: 'does not check links',
} satisfies Record<Load['linkPolicy'], string>;
const versionMeanings = {
  newer: 'only a newer version',
  different: 'any other version',
  downgrade: 'any other version, with a reason',
} satisfies Record<Load['versionPolicy'], string>;

type IsolationParts = { readonly terms: IsolationOptions; readonly onChange: (terms: IsolationOptions) => void };

/** The fields of the options that unloads have too. */
export function IsolationFields({ terms, onChange }: IsolationParts) {
  const { strategy, drainMilliseconds, invalidation, overrideReason, deadlineSeconds } = terms;
  return (
    <>
      <Choice
        label="Strategy"
        pointer="/strategy"
        value={strategy}
        options={strategies}
        meanings={strategyMeanings}
        onChange={(value) => onChange({ ...terms, strategy: value })}
      />
      {strategy !== 'inject' && (
        <WholeNumber
          label="Drain timeout, in milliseconds"
          pointer="/drainMilliseconds"
          value={drainMilliseconds}
          min={0}
          max={3_600_000}
          onChange={(value) => onChange({ ...terms, drainMilliseconds: value })}
        />
      )}
      <Choice
        label="Old pages"
        pointer="/invalidation"
        value={invalidation}
        options={invalidations}
        meanings={invalidationMeanings}
        onChange={(value) => onChange({ ...terms, invalidation: value })}
      />
      <Text
        label="Override maintenance windows because of"
        pointer="/overrideMaintenanceWindow/reason"
        maxLength={1_000}
        placeholder="loads wait for the windows of their devices"
        value={overrideReason}
        onChange={(value) => onChange({ ...terms, overrideReason: value })}
      />
      <WholeNumber
        label="Load deadline, in seconds"
        pointer="/deadlineSeconds"
        value={deadlineSeconds}
        min={1}
        max={maxDeadlineSeconds}
        onChange={(value) => onChange({ ...terms, deadlineSeconds: value })}
      />
    </>
  );
}

export function LoadOptionsFields({ terms, onChange }: { readonly terms: LoadOptions; readonly onChange: (terms: LoadOptions) => void }) {
  const { similarityPolicy, linkPolicy } = terms;
  return (
    <>
      <IsolationFields terms={terms} onChange={(isolation) => onChange({ ...terms, ...isolation })} />
      <Choice
        label="Similarity"
        pointer="/similarityPolicy"
        value={similarityPolicy}
        options={similarityPolicies}
        meanings={similarityMeanings}
        onChange={(value) => onChange({ ...terms, similarityPolicy: value })}
      />
      <Choice
        label="Links"
        pointer="/linkPolicy"
        value={linkPolicy}
        options={linkPolicies}
        meanings={linkMeanings}
        onChange={(value) => onChange({ ...terms, linkPolicy: value })}
      />
    </>
  );
}

type VersionPolicyParts = { readonly precedence: VersionPolicy; readonly onChange: (precedence: VersionPolicy) => void };

export function VersionPolicyFields({ precedence, onChange }: VersionPolicyParts) {
  return (
    <>
      <Choice
        label="Version policy"
        pointer="/versionPolicy"
        value={precedence.versionPolicy}
        options={versionPolicies}
        meanings={versionMeanings}
        onChange={(versionPolicy) => onChange({ ...precedence, versionPolicy })}
      />
      {precedence.versionPolicy === 'downgrade' && (
        <Text
          label="Downgrade reason"
          pointer="/downgradeReason"
          required
          value={precedence.downgradeReason}
          onChange={(downgradeReason) => onChange({ ...precedence, downgradeReason })}
        />
      )}
    </>
  );
}
