// The client of the API, of types generated from openapi/openapi.json.

import createClient from 'openapi-fetch';
import type { components, paths } from './generated/api.ts';

export type Schemas = components['schemas'];
export type Client = ReturnType<typeof createPatchbayClient>;

/** A client of the service at that address, which shows that key. */
export function createPatchbayClient(baseUrl: string, key: string) {
  return createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${key}` } });
}

/** What the service answered, or an error that says what it said. */
export function answerOf<Data>(result: { readonly data?: Data; readonly error?: unknown; readonly response: Response }): NonNullable<Data> {
  if (result.data !== undefined && result.data !== null) return result.data;
  const problem = result.error;
  const detail = typeof problem === 'object' && problem !== null && 'detail' in problem ? String(problem.detail) : JSON.stringify(problem);
  throw new Error(`${new URL(result.response.url).pathname} answered ${result.response.status}: ${detail}`);
}
