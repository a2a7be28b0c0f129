// The header of a page: heading (also the tab's title) and actions.

import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';

type Parts = {
  readonly heading: string;
  /** Text next to the heading. */
  readonly note?: ComponentChildren;
  readonly actions?: ComponentChildren;
};

export function PageHead({ heading, note, actions }: Parts) {
  useEffect(() => {
    document.title = `${heading} · Patchbay`;
  }, [heading]);
  return (
    <div class="page-head">
      <h1 tabIndex={-1}>{heading}</h1>
      {note}
      {actions !== undefined && <span class="actions">{actions}</span>}
    </div>
  );
}
