// A build's interface: the functions it exports and imports, with their WebAssembly types.

import { z } from 'zod';
import { exampleFunction, exampleInterface } from './examples.ts';
import { ExportName } from './identifiers.ts';

export const ValueType = z.enum(['i32', 'i64', 'f32', 'f64', 'v128', 'funcref', 'externref']).meta({ id: 'ValueType' });
export type ValueType = z.infer<typeof ValueType>;

export const FunctionType = z
  .object({
    parameters: z.array(ValueType),
    results: z.array(ValueType),
  })
  .meta({ id: 'FunctionType', examples: [exampleFunction] });
export type FunctionType = z.infer<typeof FunctionType>;

const ExportedFunction = FunctionType.extend({ name: ExportName }).meta({ id: 'ExportedFunction' });
const ImportedFunction = FunctionType.extend({ module: z.string(), name: ExportName }).meta({ id: 'ImportedFunction' });

export const Interface = z
  .object({
    exports: z.array(ExportedFunction),
    imports: z.array(ImportedFunction),
  })
  .meta({ id: 'Interface', examples: [exampleInterface] });
export type Interface = z.infer<typeof Interface>;

/** What changed between two interfaces (patent claim 11): names of exports. Substantially similar: nothing removed or changed. */
export const SimilarityReport = z
  .object({
    similar: z.boolean(),
    added: z.array(ExportName),
    removed: z.array(ExportName),
    changed: z.array(ExportName),
  })
  .meta({ id: 'SimilarityReport' });
export type SimilarityReport = z.infer<typeof SimilarityReport>;
