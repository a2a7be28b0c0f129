// Functions and types that instrumentation appends to a module.

import type { Instruction } from './binary/instruction.ts';
import { encodeInstructions } from './binary/instruction-codec.ts';
import { type FunctionBody, type FunctionType, importsOf, type LocalRun, type Module } from './binary/module.ts';

const keyOf = ({ parameters, results }: FunctionType) => `${parameters.join()}:${results.join()}`;

export class ModuleAdditions {
  readonly types: FunctionType[];
  readonly functions: FunctionBody[] = [];
  readonly #firstIndex: number;
  readonly #typesByKey = new Map<string, number>();

  constructor(module: Module) {
    this.types = [...module.types];
    this.#firstIndex = importsOf(module, 'function').length + module.functions.length;
    for (const [index, type] of module.types.entries()) if (!this.#typesByKey.has(keyOf(type))) this.#typesByKey.set(keyOf(type), index);
  }

  /** Returns the index of a type, which it adds if the module has none like it. */
  typeIndex(type: FunctionType): number {
    const key = keyOf(type);
    const known = this.#typesByKey.get(key);
    if (known !== undefined) return known;
    this.#typesByKey.set(key, this.types.length);
    this.types.push(type);
    return this.types.length - 1;
  }

  /** Index of the function that is added next. */
  get nextIndex(): number {
    return this.#firstIndex + this.functions.length;
  }

  /** Adds a function and returns its index. */
  addFunction(type: number, locals: readonly LocalRun[], instructions: readonly Instruction[]): number {
    const index = this.nextIndex;
    this.functions.push({ type, locals, ...encodeInstructions(instructions) });
    return index;
  }
}
