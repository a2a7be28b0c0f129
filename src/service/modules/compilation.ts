// What a compilation came to: the image, or the problem that its findings are.

import type { CompileProblem, CompileResult } from '../../compiler/result.ts';
import { Problem, type ProblemKind } from '../problem.ts';

const problemOf: Record<CompileProblem, ProblemKind> = {
  'malformed-source': 'malformed-source',
  'not-webassembly': 'not-webassembly',
  unsupported: 'unsupported-module',
  'too-costly': 'too-costly',
  busy: 'busy',
};

/** @throws {Problem} with the compiler's findings, the first of them in its detail. */
export function requireCompiled(result: CompileResult, what: string): Extract<CompileResult, { ok: true }> {
  if (result.ok) return result;
  const [first] = result.diagnostics;
  const place = first?.line ? ` (line ${first.line}, column ${first.column})` : '';
  throw new Problem(problemOf[result.problem], `${what} was not built: ${first?.message ?? result.problem}${place}`, {
    diagnostics: result.diagnostics,
  });
}
