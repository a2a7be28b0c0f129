// The form of a load or a rollback of one device: what is asked for, how it is loaded, what it would come to, and having it done.

import type { ComponentChildren } from 'preact';
import type { Schemas } from '../../../src/client/client.ts';
import { navigate } from '../../navigation/location.ts';
import { loadPath } from '../../navigation/paths.ts';
import { Disclosure } from '../../parts/disclosure.tsx';
import { FailureNotice } from '../../parts/shown.tsx';
import { type Terms, TermsFields } from '../../parts/terms.tsx';
import type { Action } from '../../session/action.ts';

type Parts = {
  /** What is asked for. */
  readonly fields: ComponentChildren;
  readonly terms: Terms;
  readonly onTerms: (terms: Terms) => void;
  /** What there is to be said of how it is loaded, besides the terms. */
  readonly moreTerms?: ComponentChildren;
  /** What it would come to. */
  readonly children: ComponentChildren;
  readonly action: Action;
  readonly isComplete: boolean;
  /** What is written on the button that has it done. */
  readonly label: string;
  readonly onClose: () => void;
};

export function LoadForm({ fields, terms, onTerms, moreTerms, children, action, isComplete, label, onClose }: Parts) {
  const submit = (event: Event) => {
    event.preventDefault();
    action.run();
  };
  return (
    <form onSubmit={submit}>
      <div class="fields">{fields}</div>
      <Disclosure summary={`Options: ${terms.strategy}, old pages ${terms.invalidation}`}>
        <div class="fields">
          <TermsFields terms={terms} onChange={onTerms} />
          {moreTerms}
        </div>
      </Disclosure>
      {children}
      {action.failure !== null && <FailureNotice failure={action.failure} />}
      <div class="buttons">
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        <button type="submit" class="main" disabled={!isComplete || action.isUnderWay}>
          {action.isUnderWay ? 'Sending…' : label}
        </button>
      </div>
    </form>
  );
}

/** Shows the load that was made, instead of the dialog. */
export function showMade({ loads: [made] }: Pick<Schemas['AcceptedLoads'], 'loads'>, onClose: () => void): void {
  onClose();
  if (made !== undefined) navigate(loadPath(made.id));
}
