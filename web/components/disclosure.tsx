// Optional fields behind a summary line. It opens when a field inside is invalid.

import type { ComponentChildren } from 'preact';
import './disclosure.css';

type Parts = { readonly summary: ComponentChildren; readonly children: ComponentChildren };

export function Disclosure({ summary, children }: Parts) {
  return (
    <details
      class="disclosure"
      // The browser can only report an invalid field that is visible.
      onInvalidCapture={({ currentTarget }) => {
        currentTarget.open = true;
      }}
    >
      <summary>{summary}</summary>
      {children}
    </details>
  );
}

/** Opens the sections with invalid fields of a form and focuses the first. */
export function focusFirstError(form: HTMLFormElement): void {
  const wrong = form.querySelectorAll<HTMLElement>('[aria-invalid="true"]');
  for (const field of wrong) {
    const around = field.closest('details');
    if (around !== null) around.open = true;
  }
  wrong[0]?.focus();
}
