// The interface of a build: its exported and imported functions with their WebAssembly types.

import { z } from 'zod';
import { exampleFunction, exampleInterface } from './examples.ts';
import { ExportName } from './identifiers.ts';

/** Maximum parameters, and maximum results, of a function: the limit of engines. */
const valueLimit = 1_000;
/** Maximum exports, and maximum imports, of a module: the limits of the compiler. */
const exportLimit = 10_000;
const importLimit = 1_000;

export const ValueType = z.enum(['i32', 'i64', 'f32', 'f64', 'v128', 'funcref', 'externref']).meta({ id: 'ValueType' });
export type ValueType = z.infer<typeof ValueType>;

export const FunctionType = z
  .object({
    parameters: z.array(ValueType).max(valueLimit),
    results: z.array(ValueType).max(valueLimit),
  })
  .meta({ id: 'FunctionType', examples: [exampleFunction] });
export type FunctionType = z.infer<typeof FunctionType>;

const ExportedFunction = FunctionType.extend({ name: ExportName }).meta({ id: 'ExportedFunction' });
const ImportedFunction = FunctionType.extend({ module: z.string().max(63), name: ExportName }).meta({ id: 'ImportedFunction' });

export const Interface = z
  .object({
    exports: z.array(ExportedFunction).max(exportLimit),
    imports: z.array(ImportedFunction).max(importLimit),
  })
  .meta({ id: 'Interface', examples: [exampleInterface] });
export type Interface = z.infer<typeof Interface>;

/** The differences between two interfaces, as names of exports (patent claim 11). They are substantially similar if nothing is removed or changed. */
export const SimilarityReport = z
  .object({
    similar: z.boolean(),
    added: z.array(ExportName).max(exportLimit),
    removed: z.array(ExportName).max(exportLimit),
    changed: z.array(ExportName).max(exportLimit),
  })
  .meta({ id: 'SimilarityReport' });
export type SimilarityReport = z.infer<typeof SimilarityReport>;
