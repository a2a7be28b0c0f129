// Determines whether the instantiation of a module can fail. Instantiation writes the active segments, and a segment out of bounds traps.

import type { ActivePlace, Limits, Module } from './binary/module.ts';

const memoryPageBytes = 65_536;
const i32Const = 0x41;

/** An active segment and the size of its target, in bytes of a memory or elements of a table. */
type Placement = { readonly offset: number | null; readonly length: number; readonly available: number };

/**
 * Returns whether the instantiation of a valid module may trap or runs the module's code: it has a start function, or an active segment that is not
 * at a constant offset within the initial size of its memory or table.
 */
export function mayFailToInstantiate(module: Pick<Module, 'start' | 'memories' | 'tables' | 'elements' | 'data'>): boolean {
  if (module.start !== null) return true;
  return [...dataPlacements(module), ...elementPlacements(module)].some(
    ({ offset, length, available }) => offset === null || offset + length > available,
  );
}

function dataPlacements({ data, memories }: Pick<Module, 'data' | 'memories'>): Placement[] {
  return data.flatMap(({ place, bytes }) => {
    if (place.kind !== 'active') return [];
    return [{ offset: constantOffset(place), length: bytes.length, available: initialOf(memories[place.index]) * memoryPageBytes }];
  });
}

function elementPlacements({ elements, tables }: Pick<Module, 'elements' | 'tables'>): Placement[] {
  return elements.flatMap(({ place, items }) => {
    if (place.kind !== 'active') return [];
    const length = items.kind === 'functions' ? items.indices.length : items.expressions.length;
    return [{ offset: constantOffset(place), length, available: initialOf(tables[place.index]?.limits) }];
  });
}

const initialOf = (limits: Limits | undefined) => limits?.initial ?? 0;

/** Returns the offset of a segment as an unsigned number; null if it is not a single `i32.const`. */
function constantOffset({ offset: [opcode, ...bytes] }: ActivePlace): number | null {
  if (opcode !== i32Const) return null;
  let value = 0;
  for (const [index, byte] of bytes.entries()) {
    value |= (byte & 0x7f) << (7 * index);
    if ((byte & 0x80) !== 0) continue;
    if (index < bytes.length - 1) return null;
    const isNegative = (byte & 0x40) !== 0 && index < 4;
    return (isNegative ? value | (-1 << (7 * (index + 1))) : value) >>> 0;
  }
  return null;
}
