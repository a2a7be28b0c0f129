// Compares the exports of two versions (patent claim 11): which were added, removed and changed.

import { isSameFunctionType, type TypeNames } from '../images/function-type.ts';

type ExportedFunction = TypeNames & { readonly name: string };
/** The part of an interface that is compared. */
export type ComparedInterface = { readonly exports: readonly ExportedFunction[] };

/** Result of a comparison, as names of exports. */
export type Similarity = {
  /** Substantially similar: the new version has every export of the old one with the same type. */
  readonly similar: boolean;
  readonly added: string[];
  readonly removed: string[];
  readonly changed: string[];
};

/** Compares the exports of two versions. */
export function compareInterfaces(old: ComparedInterface, next: ComparedInterface): Similarity {
  const oldTypes = new Map(old.exports.map((exported) => [exported.name, exported]));
  const nextTypes = new Map(next.exports.map((exported) => [exported.name, exported]));
  const added = [...nextTypes.keys()].filter((name) => !oldTypes.has(name));
  const removed = [...oldTypes.keys()].filter((name) => !nextTypes.has(name));
  const changed = [...oldTypes].filter(([name, type]) => isTypeChanged(type, nextTypes.get(name))).map(([name]) => name);
  return { similar: removed.length === 0 && changed.length === 0, added, removed, changed };
}

function isTypeChanged(type: ExportedFunction, other: ExportedFunction | undefined): boolean {
  return other !== undefined && !isSameFunctionType(type, other);
}
