// How a load is to be carried out: the fields, with what each choice means.

import type { Schemas } from '../../src/client/client.ts';
import { invalidations, similarityPolicies, strategies, versionPolicies } from '../../src/client/enum-values.ts';
import { Choice, Text, Whole } from './fields.tsx';

type Load = Schemas['Load'];
export type Terms = {
  readonly strategy: Load['strategy'];
  readonly drainMilliseconds: number;
  readonly invalidation: Load['invalidation'];
  readonly similarityPolicy: Load['similarityPolicy'];
};
export type Precedence = { readonly versionPolicy: Load['versionPolicy']; readonly downgradeReason: string };

export const usualTerms: Terms = { strategy: 'inject', drainMilliseconds: 10_000, invalidation: 'nx', similarityPolicy: 'require' };
export const usualPrecedence: Precedence = { versionPolicy: 'newer', downgradeReason: '' };

/** The terms as a request has them. */
export function termsBody({ strategy, drainMilliseconds, ...terms }: Terms) {
  return { strategy, ...terms, ...(strategy === 'inject' ? {} : { drainMilliseconds }) };
}

/** Which versions may be loaded, as a request has it. */
export function precedenceBody({ versionPolicy, downgradeReason }: Precedence) {
  return { versionPolicy, ...(versionPolicy === 'downgrade' ? { downgradeReason } : {}) };
}

/** How loads are carried out, on one line. */
export function policyText({
  strategy,
  invalidation,
  versionPolicy,
  similarityPolicy,
}: Omit<Terms, 'drainMilliseconds'> & Pick<Load, 'versionPolicy'>) {
  return `${strategy}, ${invalidation}, ${versionPolicy}, similarity ${similarityPolicy}`;
}

const strategyMeanings = {
  inject: 'accesses inside are interrupted and retry in the new version',
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
const versionMeanings = {
  newer: 'only a newer version',
  different: 'any other version',
  downgrade: 'any other version, with a reason',
} satisfies Record<Load['versionPolicy'], string>;

export function TermsFields({ terms, onChange }: { readonly terms: Terms; readonly onChange: (terms: Terms) => void }) {
  const { strategy, drainMilliseconds, invalidation, similarityPolicy } = terms;
  return (
    <>
      <Choice
        label="Strategy"
        at="/strategy"
        value={strategy}
        options={strategies}
        meanings={strategyMeanings}
        onChange={(value) => onChange({ ...terms, strategy: value })}
      />
      {strategy !== 'inject' && (
        <Whole
          label="Drain timeout, in milliseconds"
          at="/drainMilliseconds"
          value={drainMilliseconds}
          least={0}
          most={3_600_000}
          onChange={(value) => onChange({ ...terms, drainMilliseconds: value })}
        />
      )}
      <Choice
        label="Old pages"
        at="/invalidation"
        value={invalidation}
        options={invalidations}
        meanings={invalidationMeanings}
        onChange={(value) => onChange({ ...terms, invalidation: value })}
      />
      <Choice
        label="Similarity"
        at="/similarityPolicy"
        value={similarityPolicy}
        options={similarityPolicies}
        meanings={similarityMeanings}
        onChange={(value) => onChange({ ...terms, similarityPolicy: value })}
      />
    </>
  );
}

type PrecedenceParts = { readonly precedence: Precedence; readonly onChange: (precedence: Precedence) => void };

export function PrecedenceFields({ precedence, onChange }: PrecedenceParts) {
  return (
    <>
      <Choice
        label="Version policy"
        at="/versionPolicy"
        value={precedence.versionPolicy}
        options={versionPolicies}
        meanings={versionMeanings}
        onChange={(versionPolicy) => onChange({ ...precedence, versionPolicy })}
      />
      {precedence.versionPolicy === 'downgrade' && (
        <Text
          label="Downgrade reason"
          at="/downgradeReason"
          required
          value={precedence.downgradeReason}
          onChange={(downgradeReason) => onChange({ ...precedence, downgradeReason })}
        />
      )}
    </>
  );
}
