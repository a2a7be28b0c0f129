// What went wrong, as a page says it.

import { ResponseError, type Schemas } from '../../src/client/client.ts';

export type Failure = {
  readonly title: string;
  readonly detail: string;
  /** Status of the answer; null where there was none. */
  readonly status: number | null;
  /** What the service calls the request, as in its log; null where it did not say. */
  readonly request: string | null;
  /** What the compiler found, where it was asked to compile. */
  readonly diagnostics: readonly Schemas['Diagnostic'][];
  /** Each value of the request that is wrong, as far as the service said which. */
  readonly errors: readonly Schemas['InvalidValue'][];
};

/** A failure of which no answer tells more. */
export function localFailure(title: string, detail: string): Failure {
  return { title, detail, status: null, request: null, diagnostics: [], errors: [] };
}

/** A failure of whatever was thrown while the service was asked. */
export function failureOf(error: unknown): Failure {
  if (error instanceof ResponseError) {
    const { status, problem } = error;
    if (problem !== null) {
      const { title, detail, instance, diagnostics = [], errors = [] } = problem;
      return { title, detail, status, request: instance || null, diagnostics, errors };
    }
    const detail = 'The response does not come from Patchbay. Check for a proxy between this browser and the service.';
    return { ...localFailure(`The service returned status ${status}`, detail), status };
  }
  if (error instanceof TypeError)
    return localFailure('Cannot reach the service', 'Check that the service runs and that the network is up.');
  return localFailure('The page failed', error instanceof Error ? error.message : String(error));
}

/** Whether a request was given up here. */
export function wasGivenUp(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}
