// A part of a page under a heading of its own.

import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';

type Parts = {
  readonly heading: string;
  /** Beside the heading: what sums the panel up. */
  readonly note?: ComponentChildren;
  readonly actions?: ComponentChildren;
  readonly class?: string;
  readonly children: ComponentChildren;
};

export function Panel({ heading, note, actions, class: style = '', children }: Parts) {
  const id = useId();
  return (
    <section class={`panel ${style}`} aria-labelledby={id}>
      <header>
        <h2 id={id}>{heading}</h2>
        {note !== undefined && <span class="soft">{note}</span>}
        {actions !== undefined && <span class="actions">{actions}</span>}
      </header>
      {children}
    </section>
  );
}
