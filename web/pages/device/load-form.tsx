// The form of a load or rollback on one device: fields, load options, preview and submit button.

import type { ComponentChildren } from 'preact';
import type { Schemas } from '../../../src/client/client.ts';
import { Disclosure } from '../../components/disclosure.tsx';
import { type LoadOptions, LoadOptionsFields } from '../../components/load-options.tsx';
import { FailureNotice } from '../../components/resource-view.tsx';
import { navigate } from '../../navigation/location.ts';
import { loadPath } from '../../navigation/paths.ts';
import type { Action } from '../../session/action.ts';

type Parts = {
  /** The fields above the load options. */
  readonly fields: ComponentChildren;
  readonly terms: LoadOptions;
  readonly onTerms: (terms: LoadOptions) => void;
  /** Further load options. */
  readonly moreTerms?: ComponentChildren;
  /** The preview. */
  readonly children: ComponentChildren;
  readonly action: Action;
  readonly isComplete: boolean;
  /** The label of the submit button. */
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
          <LoadOptionsFields terms={terms} onChange={onTerms} />
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

/** Closes the dialog and navigates to the created load. */
export function showCreatedLoad({ loads: [made] }: Pick<Schemas['AcceptedLoads'], 'loads'>, onClose: () => void): void {
  onClose();
  if (made !== undefined) navigate(loadPath(made.id));
}
