// What the service has said is wrong with the values of a form: each fault at the field that it is about, until that has another value.

import { type ComponentChildren, createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Failure } from '../live/failure.ts';

type FaultAt = (pointer: string) => string | null;
const Faults = createContext<FaultAt>(() => null);

type Parts = {
  readonly failure: Failure | null;
  /** The body that was refused, and the one that would be sent now. */
  readonly refused: unknown;
  readonly current: unknown;
  readonly children: ComponentChildren;
};

/** Tells what is wrong to the fields inside. */
export function FaultsOf({ failure, refused, current, children }: Parts) {
  const errors = failure?.errors.filter((error) => error.in === 'body') ?? [];
  const faultAt: FaultAt = (pointer) => {
    const own = errors.filter((error) => error.pointer === pointer || error.pointer.startsWith(`${pointer}/`));
    const isAsItWas = JSON.stringify(valueAt(refused, pointer)) === JSON.stringify(valueAt(current, pointer));
    return own.length === 0 || !isAsItWas ? null : own.map(({ detail }) => detail).join('; ');
  };
  return <Faults.Provider value={faultAt}>{children}</Faults.Provider>;
}

/**
 * What is wrong with the value of a field; null where nothing is known to be.
 * @param pointer Where the value is in the body, as a JSON pointer (RFC 6901): what is wrong with a part of it counts too. Undefined: nowhere.
 */
export function useFault(pointer: string | undefined): string | null {
  const faultAt = useContext(Faults);
  return pointer === undefined ? null : faultAt(pointer);
}

function valueAt(body: unknown, pointer: string): unknown {
  let value = body;
  for (const name of pointer.split('/').slice(1)) value = new Map<string, unknown>(Object.entries(Object(value))).get(name);
  return value;
}
