// Sends one message to the URL of a webhook: one HTTP request, within limits of time, size and addresses.

import { type LookupAddress, type LookupAllOptions, lookup } from 'node:dns';
import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import type { LookupFunction } from 'node:net';
import { findAddressFault, findUrlFault } from './address-policy.ts';
import type { Message } from './messages.ts';
import { signContent } from './signature.ts';

const senderLimits = {
  /** Duration of an attempt, from the resolution of the name to the end of the response, in milliseconds. */
  duration: 15_000,
  /** Bytes of a response that are read; the content is ignored. */
  responseBytes: 16_384,
  /** How long an unused connection stays open, in milliseconds: shorter than common servers keep it. */
  idle: 4_000,
} as const;

/** The result of an attempt. */
export type Attempt =
  | { readonly result: 'delivered'; readonly status: number }
  | {
      readonly result: 'failed';
      /** Null if there was no response. */
      readonly status: number | null;
      /** Why, as a sentence; it contains nothing of the response but its status. */
      readonly reason: string;
      /** When the receiver wants the next attempt, in milliseconds from now. Null if it does not say. */
      readonly retryAfter: number | null;
    };

export type OutgoingMessage = Message & { readonly url: string; readonly id: string; readonly secrets: readonly string[] };

/** Resolves a host name to its addresses. */
export type Resolve = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

type Policy = { readonly allowPrivate: boolean };

/** An address that the policy refuses. */
class RefusedAddress extends Error {
  override readonly name = 'RefusedAddress';
}

export class Sender {
  readonly #policy: Policy;
  readonly #agents: { readonly http: HttpAgent; readonly https: HttpsAgent };
  readonly #resolve: Resolve;

  /** @param resolveName Resolves host names; by default as other programs of this machine. */
  constructor(policy: Policy, resolveName: Resolve = lookup) {
    this.#policy = policy;
    this.#resolve = resolveName;
    const options = { keepAlive: true, timeout: senderLimits.idle, lookup: this.#lookup };
    this.#agents = { http: new HttpAgent(options), https: new HttpsAgent(options) };
  }

  /** Sends a message. Never rejects. @param now The time of the signature. @param signal Ends the attempt. */
  async send(message: OutgoingMessage, now: Date, signal: AbortSignal): Promise<Attempt> {
    const fault = findUrlFault(message.url, this.#policy);
    if (fault !== null) return failed(fault.startsWith('must ') ? `the URL ${fault}` : fault);
    const timeout = AbortSignal.timeout(senderLimits.duration);
    const ended = AbortSignal.any([signal, timeout]);
    const headers = signedHeaders(message, now);
    try {
      return await this.#request(message, headers, ended);
    } catch (error) {
      if (timeout.aborted) return failed(`no complete response within ${senderLimits.duration / 1_000} s`);
      return failed(describeError(error));
    }
  }

  /** Closes unused connections. */
  close(): void {
    this.#agents.http.destroy();
    this.#agents.https.destroy();
  }

  /** Sends a request; once again on a new connection if the receiver has closed an unused one at the same moment. */
  async #request(message: OutgoingMessage, headers: Record<string, string>, signal: AbortSignal): Promise<Attempt> {
    for (;;) {
      const request = this.#start(message.url, headers, signal);
      try {
        return await exchange(request, message.body);
      } catch (error) {
        const wasClosed = request.reusedSocket && error instanceof Error && 'code' in error && error.code === 'ECONNRESET';
        if (!wasClosed || signal.aborted) throw error;
      }
    }
  }

  #start(url: string, headers: Record<string, string>, signal: AbortSignal): ClientRequest {
    const { http, https } = this.#agents;
    const options = { method: 'POST', headers, signal };
    return new URL(url).protocol === 'https:'
      ? requestHttps(url, { ...options, agent: https })
      : requestHttp(url, { ...options, agent: http });
  }

  /** Resolves a name for a connection. The connection uses the checked addresses, so a second resolution cannot return others (DNS rebinding). */
  readonly #lookup: LookupFunction = (hostname, options, callback) => {
    this.#resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, '', 0);
      const faults = addresses.map(({ address }) => findAddressFault(address, this.#policy));
      const permitted = addresses.filter((_, index) => faults[index] === null);
      const [first] = permitted;
      if (first === undefined)
        return callback(new RefusedAddress(`${hostname}: ${faults.find((fault) => fault !== null) ?? 'has no address'}`), '', 0);
      if (options.all) return callback(null, permitted);
      return callback(null, first.address, first.family);
    });
  };
}

function signedHeaders({ id, body, contentType, secrets }: OutgoingMessage, now: Date): Record<string, string> {
  const timestamp = Math.floor(now.getTime() / 1_000);
  return {
    'content-type': contentType,
    'content-length': String(Buffer.byteLength(body)),
    'user-agent': 'Patchbay',
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': signContent({ id, timestamp, body }, secrets),
  };
}

/** Sends the body and reads the response. Redirects are not followed, and the protocol is not changed. Always settles once the request is closed. */
function exchange(request: ClientRequest, body: string): Promise<Attempt> {
  return new Promise((settle, reject) => {
    let received: IncomingMessage | null = null;
    // Bytes after a complete response, such as the content of a 204, do not change it.
    request.on('error', (error) => (received?.complete === true ? settle(toAttempt(received)) : reject(error)));
    // Without a listener, a response 101 ends with neither a response nor an error.
    request.on('upgrade', (response, socket) => {
      settle(toAttempt(response));
      socket.destroy();
    });
    request.on('response', (response) => {
      received = response;
      let bytes = 0;
      const end = () => settle(toAttempt(response));
      response.on('data', (chunk: Uint8Array) => {
        bytes += chunk.length;
        if (bytes <= senderLimits.responseBytes) return;
        // The status decides: the rest is not read, and the connection is not used again.
        end();
        response.destroy();
      });
      response.on('end', end);
      response.on('error', reject);
      response.on('aborted', () => reject(new Error('the connection was closed before the response was complete')));
    });
    request.on('close', () => reject(new Error('the connection was closed without a response')));
    request.end(body);
  });
}

function toAttempt({ statusCode: status = 0, headers }: IncomingMessage): Attempt {
  if (status >= 200 && status < 300) return { result: 'delivered', status };
  const isRedirect = status >= 300 && status < 400;
  const reason = isRedirect
    ? `the receiver responded with ${status}, and redirects are not followed: use the URL that it redirects to`
    : `the receiver responded with ${status}`;
  return { result: 'failed', status, reason, retryAfter: parseRetryAfter(headers['retry-after'], Date.now()) };
}

/** Returns the milliseconds of a `Retry-After` header, which has seconds or a date; null if there is none. */
export function parseRetryAfter(header: string | undefined, now: number): number | null {
  if (header === undefined) return null;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1_000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}

const failed = (reason: string): Attempt => ({ result: 'failed', status: null, reason, retryAfter: null });

/** Maximum length of the description of an error, in characters. */
const maxErrorLength = 300;

function describeError(error: unknown): string {
  // A connection to several addresses fails with the errors of all.
  const [first] = error instanceof AggregateError ? error.errors : [error];
  const text = first instanceof Error ? first.message : String(first);
  return (first instanceof RefusedAddress ? text : `cannot send: ${text}`).slice(0, maxErrorLength);
}
