// Validation errors of the service, shown at their fields until the value changes.

import { type ComponentChildren, createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Failure } from '../live/failure.ts';

type ErrorAt = (pointer: string) => string | null;
const FieldErrorContext = createContext<ErrorAt>(() => null);

type Parts = {
  readonly failure: Failure | null;
  /** The rejected request body, and the current body. */
  readonly rejected: unknown;
  readonly current: unknown;
  readonly children: ComponentChildren;
};

/** Provides validation errors to the fields inside. */
export function FieldErrors({ failure, rejected, current, children }: Parts) {
  const errors = failure?.errors.filter((error) => error.in === 'body') ?? [];
  const faultAt: ErrorAt = (pointer) => {
    const own = errors.filter((error) => error.pointer === pointer || error.pointer.startsWith(`${pointer}/`));
    const isAsItWas = JSON.stringify(valueAt(rejected, pointer)) === JSON.stringify(valueAt(current, pointer));
    return own.length === 0 || !isAsItWas ? null : own.map(({ detail }) => detail).join('; ');
  };
  return <FieldErrorContext.Provider value={faultAt}>{children}</FieldErrorContext.Provider>;
}

/**
 * Returns the validation error of a field; null if there is none.
 * @param pointer JSON pointer (RFC 6901) of the value in the body; errors of nested values count too. Undefined: not in the body.
 */
export function useFieldError(pointer: string | undefined): string | null {
  const faultAt = useContext(FieldErrorContext);
  return pointer === undefined ? null : faultAt(pointer);
}

function valueAt(body: unknown, pointer: string): unknown {
  let value = body;
  for (const name of pointer.split('/').slice(1)) value = new Map<string, unknown>(Object.entries(Object(value))).get(name);
  return value;
}
