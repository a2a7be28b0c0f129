// The function types of a module, extended by the types that the compiler's code needs.

import type { FunctionType, ValueType } from '../../machine/images/stamp.ts';
import { blockTypeOf } from './byte-writer.ts';
import { type BlockType, emptyBlock } from './instruction.ts';

const keyOf = ({ parameters, results }: FunctionType) => `${parameters.join()}>${results.join()}`;

export class TypeTable {
  readonly #types: FunctionType[];
  readonly #indices = new Map<string, number>();

  constructor(types: readonly FunctionType[]) {
    this.#types = [...types];
    for (const [index, type] of types.entries()) if (!this.#indices.has(keyOf(type))) this.#indices.set(keyOf(type), index);
  }

  /** All types, the module's own first. */
  get types(): readonly FunctionType[] {
    return this.#types;
  }

  /** Returns the index of a type. Adds the type if the table does not contain it. */
  indexOf(type: FunctionType): number {
    const known = this.#indices.get(keyOf(type));
    if (known !== undefined) return known;
    const index = this.#types.push({ parameters: [...type.parameters], results: [...type.results] }) - 1;
    this.#indices.set(keyOf(type), index);
    return index;
  }

  /** Returns the type of a block without parameters and with the given results. */
  blockType(results: readonly ValueType[]): BlockType {
    const [first] = results;
    if (first === undefined) return emptyBlock;
    return results.length === 1 ? blockTypeOf(first) : this.indexOf({ parameters: [], results });
  }
}
