// A client that repeats its requests while the service is overloaded, as it may be on a machine with other work.

import { readFileSync } from 'node:fs';
import { type Client, createPatchbayClient } from '../../src/client/client.ts';
import { fetchWithRetries } from '../../src/client/fetch-with-retries.ts';

const never = new AbortController().signal;

/** Sends a request until the service is not overloaded. */
export const retryingFetch = (request: Request): Promise<Response> => fetchWithRetries(request, never);

/** Returns a client with the API key in a file. */
export function retryingClient(url: string, keyFile: string): Client {
  return createPatchbayClient(url, readFileSync(keyFile, 'utf8').trim(), retryingFetch);
}
