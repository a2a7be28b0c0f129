// Failures of requests, as pages show them.

import { ResponseError, type Schemas } from '../../src/client/client.ts';

export type Failure = {
  readonly title: string;
  readonly detail: string;
  /** HTTP status; null without a response. */
  readonly status: number | null;
  /** The request ID, as in the service's log; null if unknown. */
  readonly request: string | null;
  /** Diagnostics of the compiler; empty if nothing was compiled. */
  readonly diagnostics: readonly Schemas['Diagnostic'][];
  /** The invalid values of the request, if the service named them. */
  readonly errors: readonly Schemas['InvalidValue'][];
};

/** Returns a failure that has no response. */
export function failureWithoutResponse(title: string, detail: string): Failure {
  return { title, detail, status: null, request: null, diagnostics: [], errors: [] };
}

/** Converts an error thrown by a request. */
export function failureOf(error: unknown): Failure {
  if (error instanceof ResponseError) {
    const { status, problem } = error;
    if (problem !== null) {
      const { title, detail, instance, diagnostics = [], errors = [] } = problem;
      return { title, detail, status, request: instance || null, diagnostics, errors };
    }
    const detail = 'The response does not come from Patchbay. Check for a proxy between this browser and the service.';
    return { ...failureWithoutResponse(`The service returned status ${status}`, detail), status };
  }
  if (error instanceof TypeError)
    return failureWithoutResponse('Cannot reach the service', 'Check that the service runs and that the network is up.');
  return failureWithoutResponse('The page failed', error instanceof Error ? error.message : String(error));
}

/** Whether this page aborted the request. */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}
