// Titles and details of the operations of a load.

import { describeUnresolvedLink } from '../../../src/client/link-text.ts';
import { counted, countText } from '../../components/numbers.ts';
import type { Step } from './workflow.ts';

export type Fact = { readonly term: string; readonly text: string; readonly isCode?: boolean };

const code = (term: string, text: string | null): Fact => ({ term, text: text ?? 'none', isCode: text !== null });
const word = (term: string, text: string): Fact => ({ term, text });

/** Returns the title of an operation. */
export function stepTitle(step: Step): string {
  switch (step.step) {
    case 'received':
      return 'Load request received';
    case 'looked-up':
      return 'Look up the module table entry';
    case 'compared':
      return 'Compare version and interface';
    case 'linked':
      return 'Check the links between modules';
    case 'refused':
      return 'Load refused';
    case 'loaded':
      return 'Loaded at an unused location';
    case 'table-updated':
      return 'Module table updated';
    case 'checked-references':
      return 'Check the reference count of the old version';
    case 'interrupted':
      return 'Error injected into each access';
    case 'references-reset':
      return 'Reference count reset';
    case 'invalidated':
      return 'Old pages invalidated';
    case 'failed':
      return 'Load failed';
    case 'cancelled':
      return 'Load cancelled';
    case 'completed':
      return 'Load complete';
  }
}

export function stepFacts(step: Step): Fact[] {
  switch (step.step) {
    case 'received': {
      const { module, version, image, bytes, signedBy } = step.facts;
      return [
        code('build', `${module}@${version}`),
        word('size', counted(bytes, 'byte')),
        code('image', image),
        ...(signedBy === undefined ? [] : [word('verified signatures', countText(signedBy.length))]),
      ];
    }
    case 'looked-up': {
      const { address, version } = step.facts;
      return address === null
        ? [word('entry', 'none (first version of the module)')]
        : [code('address', address), code('version', version)];
    }
    case 'compared': {
      const { version, inMemoryVersion, precedence, versionPolicy, downgradeReason, similarity, similarityPolicy } = step.facts;
      return [
        word(
          'precedence',
          `${version} is ${precedence === 'same' ? 'the same as' : `${precedence} than`} ${inMemoryVersion} (policy ${versionPolicy})`,
        ),
        ...(downgradeReason === null ? [] : [word('reason', downgradeReason)]),
        word('similarity', `${similarity.similar ? 'substantially similar' : 'dissimilar'} (policy ${similarityPolicy})`),
        ...exportsFact('added', similarity.added),
        ...exportsFact('removed', similarity.removed),
        ...exportsFact('changed', similarity.changed),
      ];
    }
    case 'linked': {
      const { linkPolicy, unresolved, unresolvedLinks, forceReason } = step.facts;
      const more = unresolvedLinks - Math.min(unresolved.length, linksNamed);
      return [
        word('unresolved', `${countText(unresolvedLinks)} (policy ${linkPolicy})`),
        ...unresolved.slice(0, linksNamed).map((link) => word('link', describeUnresolvedLink(link))),
        ...(more > 0 ? [word('link', `${countText(more)} more`)] : []),
        ...(forceReason === undefined ? [] : [word('forced', forceReason)]),
      ];
    }
    case 'refused':
      return [word('reason', step.facts.reason)];
    case 'loaded': {
      const { address, pages, selfCheck, beforeUnload = 'none', stateWords, reclaimed, reclaimedImages } = step.facts;
      return [
        code('address', address),
        word('pages', countText(pages)),
        word('self-check', selfCheck === 'none' ? 'none' : selfCheck),
        ...(beforeUnload === 'none' ? [] : [word('before_unload', beforeUnload)]),
        ...(stateWords === null ? [] : [word('state transferred', counted(stateWords, 'word'))]),
        ...reclaimedFact(reclaimed ?? [], reclaimedImages ?? 0),
      ];
    }
    case 'table-updated':
      return [code('from', step.facts.from), code('to', step.facts.to), ...hookFacts(step.facts)];
    case 'checked-references':
      return [word('reference count', countText(step.facts.referenceCount))];
    case 'interrupted': {
      const { accesses, threads, programs } = step.facts;
      return [
        word(
          'interrupted',
          `${counted(accesses, 'access', 'accesses')} of ${counted(threads, 'thread')} in ${counted(programs.length, 'program')}`,
        ),
      ];
    }
    case 'references-reset': {
      const { retried, failed } = step.facts;
      return [word('retried', countText(retried)), word('ended without a retry', countText(failed))];
    }
    case 'invalidated': {
      const { invalidation, address, pages, heldBy } = step.facts;
      return [
        code('how', invalidation),
        word('what', `${counted(pages, 'page')} at ${address}`),
        ...(heldBy === undefined ? [] : [word('held by', heldBy.length === 0 ? 'no program' : counted(heldBy.length, 'program'))]),
      ];
    }
    case 'failed':
    case 'cancelled':
      return [word('during', step.facts.during), word('reason', step.facts.reason)];
    case 'completed':
      return [code('outcome', step.facts.outcome)];
  }
}

function hookFacts({
  beforeUnload = 'none',
  afterLoad = 'none',
  afterLoadFailure = null,
}: Extract<Step, { step: 'table-updated' }>['facts']): Fact[] {
  return [
    ...(beforeUnload === 'none' ? [] : [word('before_unload', beforeUnload)]),
    ...(afterLoad === 'none' ? [] : [word('after_load', afterLoadFailure === null ? afterLoad : `${afterLoad}: ${afterLoadFailure}`)]),
  ];
}

/** Maximum unresolved links listed. */
const linksNamed = 5;

/** Maximum reclaimed images listed. */
const reclaimedNamed = 5;

function reclaimedFact(reclaimed: readonly { module: string; version: string; address: string; pages: number }[], images: number): Fact[] {
  if (images === 0) return [];
  const named = reclaimed
    .slice(0, reclaimedNamed)
    .map(({ module, version, address, pages }) => `${module}@${version} (${counted(pages, 'page')} at ${address})`);
  const rest = images > named.length ? [`${countText(images - named.length)} more`] : [];
  return [word('reclaimed', [...named, ...rest].join(', '))];
}

function exportsFact(term: string, names: readonly string[]): Fact[] {
  return names.length === 0 ? [] : [code(term, names.join(', '))];
}
