// Optional fields behind a summary line. It opens when a field inside is invalid.

import type { ComponentChildren, RefObject } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { Failure } from '../live/failure.ts';
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

/** Returns a reference for a form: when its request fails, the first invalid field gets the focus. */
export function useErrorFocus(failure: Failure | null): RefObject<HTMLFormElement | null> {
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    if (failure !== null && form.current !== null) focusFirstError(form.current);
  }, [failure]);
  return form;
}

/** Opens the sections with invalid fields of a form and focuses the first. */
function focusFirstError(form: HTMLFormElement): void {
  const wrong = form.querySelectorAll<HTMLElement>('[aria-invalid="true"]');
  for (const field of wrong) {
    const around = field.closest('details');
    if (around !== null) around.open = true;
  }
  wrong[0]?.focus();
}
