// The client of the API, of types generated from openapi/openapi.json.

import createClient from 'openapi-fetch';
import type { components, paths } from './generated/api.ts';

export type Schemas = components['schemas'];
export type Client = ReturnType<typeof createPatchbayClient>;

/**
 * A client of the service at that address.
 * @param key What it shows; null: nothing. @param fetch How requests are made; by itself, once each.
 */
export function createPatchbayClient(
  baseUrl: string,
  key: string | null = null,
  fetch: (request: Request) => Promise<Response> = globalThis.fetch,
) {
  return createClient<paths>({ baseUrl, fetch, headers: key === null ? {} : { authorization: `Bearer ${key}` } });
}

/** The service answered, but not what it was asked for. */
export class ResponseError extends Error {
  override readonly name = 'AnswerError';
  readonly status: number;
  /** Null where the answer was none of the service's: a proxy's, say. */
  readonly problem: Schemas['Problem'] | null;

  constructor(response: Response, problem: unknown) {
    const known = isProblem(problem) ? problem : null;
    super(`${new URL(response.url).pathname} answered ${response.status}: ${known?.detail ?? JSON.stringify(problem)}`);
    this.status = response.status;
    this.problem = known;
  }
}

/** What the service answered. @throws {ResponseError} that says what it said. */
export function unwrapResponse<Data>(result: {
  readonly data?: Data;
  readonly error?: unknown;
  readonly response: Response;
}): NonNullable<Data> {
  if (result.data !== undefined && result.data !== null) return result.data;
  throw new ResponseError(result.response, result.error);
}

function isProblem(value: unknown): value is Schemas['Problem'] {
  return (
    typeof value === 'object' &&
    value !== null &&
    'title' in value &&
    typeof value.title === 'string' &&
    'detail' in value &&
    typeof value.detail === 'string'
  );
}
