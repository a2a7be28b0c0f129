// The client of the API, with types generated from openapi/openapi.json.

import createClient from 'openapi-fetch';
import type { components, paths } from './generated/api.ts';

export type Schemas = components['schemas'];
export type Client = ReturnType<typeof createPatchbayClient>;

/**
 * Creates a client of a service.
 * @param key The API key; null: none.
 * @param fetch Sends a request; the default sends it once.
 */
export function createPatchbayClient(
  baseUrl: string,
  key: string | null = null,
  fetch: (request: Request) => Promise<Response> = globalThis.fetch,
) {
  return createClient<paths>({ baseUrl, fetch, headers: key === null ? {} : { authorization: `Bearer ${key}` } });
}

/** The service responded with an error. */
export class ResponseError extends Error {
  override readonly name = 'ResponseError';
  readonly status: number;
  /** Null if the response has no problem details: it may come from a proxy. */
  readonly problem: Schemas['Problem'] | null;

  constructor(status: number, problem: Schemas['Problem'] | null) {
    super(problem === null ? `unexpected response with status ${status}` : `${problem.title}: ${problem.detail} (status ${status})`);
    this.status = status;
    this.problem = problem;
  }
}

/** Returns the data of a response. @throws {ResponseError} */
export function unwrapResponse<Data>(result: {
  readonly data?: Data;
  readonly error?: unknown;
  readonly response: Response;
}): NonNullable<Data> {
  if (result.data !== undefined && result.data !== null) return result.data;
  throw toResponseError(result);
}

/** Returns the data of a response to a request that is not a dry run. @throws {ResponseError} {TypeError} if it is a preview. */
export function unwrapAccepted<Data extends object>(result: {
  readonly data?: Data;
  readonly error?: unknown;
  readonly response: Response;
}): Exclude<Data, { readonly items: unknown }> {
  const data = unwrapResponse(result);
  if (!isCreated(data)) throw new TypeError('the response is a preview: the request was a dry run, which creates nothing');
  return data;
}

function isCreated<Data extends object>(data: Data): data is Exclude<Data, { readonly items: unknown }> {
  return !('items' in data);
}

/** Checks a response without data. @throws {ResponseError} */
export function assertSuccess(result: { readonly error?: unknown; readonly response: Response }): void {
  if (!result.response.ok) throw toResponseError(result);
}

function toResponseError({ error, response }: { readonly error?: unknown; readonly response: Response }): ResponseError {
  return new ResponseError(response.status, isProblem(error) ? error : null);
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
