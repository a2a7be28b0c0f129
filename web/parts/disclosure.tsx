// Fields that the usual case does not need, behind a line that says how they are set. It opens by itself where one of them is wrong.

import type { ComponentChildren } from 'preact';
import './disclosure.css';

type Parts = { readonly summary: ComponentChildren; readonly children: ComponentChildren };

export function Disclosure({ summary, children }: Parts) {
  return (
    <details
      class="disclosure"
      // What the browser does not let pass it points out, which it cannot where that is not shown.
      onInvalidCapture={({ currentTarget }) => {
        currentTarget.open = true;
      }}
    >
      <summary>{summary}</summary>
      {children}
    </details>
  );
}

/** Shows the fields of a form that are marked as wrong, and goes to the first. */
export function goToFaults(form: HTMLFormElement): void {
  const wrong = form.querySelectorAll<HTMLElement>('[aria-invalid="true"]');
  for (const field of wrong) {
    const around = field.closest('details');
    if (around !== null) around.open = true;
  }
  wrong[0]?.focus();
}
