// Maps the result of a compilation to an image or a problem.

import type { CompileProblem, CompileResult } from '../../compiler/result.ts';
import { Problem, type ProblemKind } from '../problem.ts';

const problemOf: Record<CompileProblem, ProblemKind> = {
  'malformed-source': 'malformed-source',
  'not-webassembly': 'not-webassembly',
  unsupported: 'unsupported-module',
  'too-costly': 'too-costly',
  busy: 'busy',
};

/** Returns a successful result. @throws {Problem} with the compiler's diagnostics; its detail has the first one. */
export function requireCompiled(result: CompileResult, name: string): Extract<CompileResult, { ok: true }> {
  if (result.ok) return result;
  const [first] = result.diagnostics;
  const place = first?.line ? ` (line ${first.line}, column ${first.column})` : '';
  throw new Problem(problemOf[result.problem], `${name} was not built: ${first?.message ?? result.problem}${place}`, {
    diagnostics: result.diagnostics,
  });
}
