// Collects the functions and types that instrumentation appends to a module.

import type { FunctionType } from '../machine/images/stamp.ts';
import type { Instruction } from './binary/instruction.ts';
import { encodeInstructions } from './binary/instruction-codec.ts';
import { type FunctionBody, importsOf, type LocalRun, type Module } from './binary/module.ts';
import { TypeTable } from './binary/type-table.ts';

export class ModuleAdditions {
  readonly types: TypeTable;
  readonly functions: FunctionBody[] = [];
  readonly #firstIndex: number;

  constructor(module: Module) {
    this.types = new TypeTable(module.types);
    this.#firstIndex = importsOf(module, 'function').length + module.functions.length;
  }

  /** Adds an encoded function and returns its index. */
  addFunctionBody(body: FunctionBody): number {
    this.functions.push(body);
    return this.#firstIndex + this.functions.length - 1;
  }

  /** Adds a function and returns its index. */
  addFunction(type: FunctionType, locals: readonly LocalRun[], instructions: readonly Instruction[]): number {
    return this.addFunctionBody({ type: this.types.indexOf(type), locals, ...encodeInstructions(instructions) });
  }
}
