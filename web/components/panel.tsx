// A section of a page with a heading.

import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';

type Parts = {
  readonly heading: string;
  /** A summary next to the heading. */
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
