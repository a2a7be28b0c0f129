// HTTP client of /agent/v1, for the host.

import { EventSourceParserStream } from 'eventsource-parser/stream';
import { z } from 'zod';
import { agentLimits, type HostRegistrationInput, Order, RegisteredHost } from '../protocol/agent.ts';
import { delay } from '../protocol/back-off.ts';
import { defaultIdleTimeouts, IdleTimeoutError, type IdleTimeouts, watchIdle } from '../protocol/idle-timeout.ts';
import { parseRetryAfter } from '../protocol/retry-after.ts';
import { type ServiceKey, ServiceKeys } from '../protocol/signed-statement.ts';
import { AdaptiveTimeout, type TimeoutBounds } from './adaptive-timeout.ts';

/** Time limits of requests other than the order stream, from the start of the request to the headers of the response. */
const defaultTimeouts: TimeoutBounds = { min: 5_000, max: 30_000 };
/** The kinds of requests, each with its own time limit: a registration takes longer than a heartbeat. */
const requestKinds = ['registration', 'heartbeat', 'reports', 'download'] as const;
type RequestKind = (typeof requestKinds)[number];
/** Time limit of a poll, and of the body of a response. */
const requestMilliseconds = 30_000;
/** How long a poll for orders waits; less than `requestMilliseconds`. */
const pollSeconds = 20;
/** Minimum interval of polls without a new order, in case a proxy responds immediately. */
const pollPauseMilliseconds = 1_000;
/** A longer order ends the stream. The longest real one, for a device with 1,000 programs, is far shorter. */
const maxOrderCharacters = 16 * 1024 * 1024;

/** An error response of the service or a proxy. */
export class ControlError extends Error {
  override readonly name = 'ControlError';
  readonly status: number;
  /** Whether the service has read the request and will never accept it. A truncated request gets a 400 without problem details, which is not final. */
  readonly isFinal: boolean;
  /** Whether the service has decommissioned the host: no later request will succeed. */
  readonly isDecommissioned: boolean;
  /** Whether another host with the same name is connected: a later registration succeeds when that host is gone. */
  readonly isConflict: boolean;
  /** The detail of the problem; the complete message if the response has no problem details. */
  readonly detail: string;
  /** `Retry-After` of a 429 or 503 in milliseconds; 0 without one. */
  readonly retryAfterMilliseconds: number;

  constructor(status: number, message: string, problem: ProblemText | null, retryAfter: number | null) {
    super(message);
    this.status = status;
    this.retryAfterMilliseconds = busyStatuses.has(status) ? (retryAfter ?? 0) : 0;
    this.isFinal = problem !== null && status < 500 && !retryableStatuses.has(status);
    this.isDecommissioned = problem?.type === decommissionedType;
    this.isConflict = problem?.type === conflictType;
    this.detail = problem?.detail ?? message;
  }

  /** Whether the content of the request was rejected and would be rejected again. A 413 counts also from a proxy. */
  get isRejection(): boolean {
    return this.status === 413 || (this.isFinal && rejectionStatuses.has(this.status));
  }
}

const decommissionedType = 'urn:patchbay:problem:decommissioned';
const conflictType = 'urn:patchbay:problem:host-conflict';
const busyStatuses = new Set([429, 503]);
/** Client errors of requests that may succeed later: timeout and rate limit. */
const retryableStatuses = new Set([408, 429]);
const rejectionStatuses = new Set([400, 413, 415, 422]);

/** The part of problem details (RFC 9457) that a host reads. */
const ProblemText = z.object({ type: z.string().optional(), detail: z.string().optional() });
type ProblemText = z.infer<typeof ProblemText>;

/** Returns a string that the service accepts in reports: without control characters and unpaired surrogates, truncated to the limit. */
export function sanitizeText(text: string, limit: number): string {
  return text
    .replaceAll(/\p{Cc}+/gu, ' ')
    .slice(0, limit)
    .toWellFormed();
}

/** Callbacks for received orders. */
type OrderListener = {
  /** Awaited, so that the host can delay further orders. */
  readonly onOrder: (order: Order) => Promise<void>;
  /** Called for content that is not a valid order. */
  readonly onMalformed: (reason: string) => void;
  /** Called when the stream is silent and the host polls for orders instead. */
  readonly onPolling: (reason: string) => void;
};

const Orders = z.object({ orders: z.array(z.unknown()) });
/** The sequence of an order that may be malformed otherwise. */
const Sequenced = z.object({ sequence: z.int().nonnegative() });

/** The time limits of the order stream, and those of other requests. */
type ConnectionTimeouts = { readonly idleTimeouts: IdleTimeouts; readonly timeouts: TimeoutBounds };

export class ControlConnection {
  readonly #url: string;
  readonly #joinToken: string;
  readonly #signal: AbortSignal;
  readonly #idleTimeouts: IdleTimeouts;
  readonly #timeouts: ReadonlyMap<RequestKind, AdaptiveTimeout>;
  /** The token of the last registration. */
  #token: string | null = null;
  #orders: AbortController | null = null;

  /** @param controlUrl The service's address, like `http://127.0.0.1:7070`. */
  constructor(
    controlUrl: string,
    joinToken: string,
    signal: AbortSignal,
    { idleTimeouts = defaultIdleTimeouts, timeouts = defaultTimeouts }: Partial<ConnectionTimeouts> = {},
  ) {
    this.#url = controlUrl.replace(/\/+$/, '');
    this.#joinToken = joinToken;
    this.#signal = signal;
    this.#idleTimeouts = idleTimeouts;
    this.#timeouts = new Map(requestKinds.map((kind) => [kind, new AdaptiveTimeout(timeouts)]));
  }

  /** Registers the host. @throws {ControlError} or a TypeError of fetch. */
  async register(registration: HostRegistrationInput): Promise<RegisteredHost> {
    const init = { method: 'POST', body: JSON.stringify(registration) };
    const response = await this.#request('registration', '/agent/v1/hosts', init, this.#joinToken);
    const registered = RegisteredHost.parse(await response.json());
    this.#token = registered.token;
    return registered;
  }

  /**
   * Passes each order to the listener until the order stream ends. If a proxy buffers the stream, polls for orders until a poll fails.
   * @throws {ControlError} or a TypeError of fetch.
   */
  async receiveOrders(host: string, bootId: string, listener: OrderListener): Promise<void> {
    const ending = new AbortController();
    this.#orders = ending;
    const ended = AbortSignal.any([this.#signal, ending.signal]);
    let last = 0;
    const take = async (sequence: number, order: ReadOrder) => {
      last = Math.max(last, sequence);
      if (order.ok) await listener.onOrder(order.order);
      else listener.onMalformed(order.reason);
    };
    try {
      await this.#streamOrders(host, bootId, ended, take);
    } catch (error) {
      if (!(error instanceof IdleTimeoutError)) throw error;
      listener.onPolling(error.message);
      while (!ended.aborted) await this.#pollOrders(host, bootId, last, ended, take);
      ending.signal.throwIfAborted();
    }
  }

  async #streamOrders(host: string, bootId: string, ended: AbortSignal, take: TakeOrder): Promise<void> {
    const silence = watchIdle(this.#idleTimeouts);
    try {
      const response = await this.#fetch(`/agent/v1/hosts/${host}/orders?bootId=${encodeURIComponent(bootId)}`, {
        headers: { accept: 'text/event-stream' },
        signal: AbortSignal.any([ended, silence.signal]),
      });
      if (response.body === null) return;
      const events = response.body
        .pipeThrough(silence.text)
        .pipeThrough(new EventSourceParserStream({ maxBufferSize: maxOrderCharacters }));
      for await (const { event, id, data } of events) if (event === 'order') await take(Number(id ?? 0), parseOrder(data));
    } finally {
      silence.end();
    }
  }

  /** Polls for orders after a sequence, and passes them on. */
  async #pollOrders(host: string, bootId: string, after: number, ended: AbortSignal, take: TakeOrder): Promise<void> {
    const query = new URLSearchParams({ bootId, after: String(after), waitSeconds: String(pollSeconds) });
    const startedAt = performance.now();
    const signal = AbortSignal.any([ended, AbortSignal.timeout(requestMilliseconds)]);
    const response = await this.#fetch(`/agent/v1/hosts/${host}/orders/next?${query}`, { signal });
    const { orders } = Orders.parse(await response.json());
    let hasNew = false;
    for (const content of orders) {
      const sequence = Sequenced.safeParse(content).data?.sequence ?? 0;
      hasNew ||= sequence > after;
      await take(sequence, readOrder(content));
    }
    if (!hasNew) await delay(Math.max(0, pollPauseMilliseconds - (performance.now() - startedAt)), ended);
  }

  /** Sends a heartbeat. If the service no longer accepts the host, ends the order stream, so that the host registers again. */
  async heartbeat(host: string, bootId: string): Promise<void> {
    const token = this.#token;
    try {
      await this.#request('heartbeat', `/agent/v1/hosts/${host}/heartbeats`, { method: 'POST', body: JSON.stringify({ bootId }) });
    } catch (error) {
      const isNotAccepted = error instanceof ControlError && (error.status === 401 || error.status === 409);
      // A heartbeat that was sent before the host registered again had the old token.
      if (isNotAccepted && token === this.#token) this.#orders?.abort(error);
      throw error;
    }
  }

  /** Downloads an image. */
  async image(digest: string): Promise<Uint8Array<ArrayBuffer>> {
    const response = await this.#request('download', `/agent/v1/images/${encodeURIComponent(digest)}`, {});
    const bytes = await response.arrayBuffer();
    if (bytes.byteLength > agentLimits.imageBytes)
      throw new Error(`the image ${digest} has ${bytes.byteLength} bytes; the limit is ${agentLimits.imageBytes} bytes`);
    return new Uint8Array(bytes);
  }

  /** Downloads the envelope of the statement about an image, as JSON. */
  async provenance(digest: string): Promise<string> {
    return (await this.#request('download', `/agent/v1/images/${encodeURIComponent(digest)}/provenance`, {})).text();
  }

  /** Downloads the service's current and earlier signing keys. */
  async signingKeys(): Promise<ServiceKey[]> {
    const response = await this.#request('download', '/agent/v1/signing-keys', {});
    return ServiceKeys.parse(await response.json()).signingKeys;
  }

  /** Sends reports, a JSON array. Resolves when the service has stored them. */
  async report(host: string, bootId: string, reports: string): Promise<void> {
    const body = `{"bootId":${JSON.stringify(bootId)},"reports":${reports}}`;
    await this.#request('reports', `/agent/v1/hosts/${host}/reports`, { method: 'POST', body });
  }

  /** Sends a request of this kind within its time limit. @throws {ControlError}, an AbortError, or a TypeError of fetch. */
  async #request(kind: RequestKind, path: string, init: RequestInit, token = this.#token): Promise<Response> {
    const timeout = this.#timeouts.get(kind) ?? new AdaptiveTimeout(defaultTimeouts);
    const startedAt = performance.now();
    const ending = new AbortController();
    const limit = timeout.milliseconds;
    const timer = setTimeout(() => {
      timeout.recordTimeout();
      ending.abort(new DOMException(`no response in ${limit / 1_000} s`, 'TimeoutError'));
    }, limit);
    const headers = init.body === undefined ? {} : { 'content-type': 'application/json' };
    const signal = AbortSignal.any([this.#signal, ending.signal, AbortSignal.timeout(requestMilliseconds)]);
    try {
      const response = await this.#fetch(path, { ...init, headers, signal }, token);
      timeout.recordResponse(performance.now() - startedAt);
      return response;
    } finally {
      clearTimeout(timer);
    }
  }

  async #fetch(path: string, init: RequestInit, token = this.#token): Promise<Response> {
    const headers = new Headers(init.headers);
    if (token !== null) headers.set('authorization', `Bearer ${token}`);
    const response = await fetch(`${this.#url}${path}`, { ...init, headers });
    if (response.ok) return response;
    const isProblem = response.headers.get('content-type')?.startsWith('application/problem+json') ?? false;
    const text = await response.text();
    const message = `${init.method ?? 'GET'} ${path}: ${response.status} ${text.slice(0, 500)}`;
    throw new ControlError(response.status, message, isProblem ? problemIn(text) : null, parseRetryAfter(response.headers));
  }
}

/** Parses problem details; returns empty ones if the body is unreadable. */
function problemIn(text: string): ProblemText {
  try {
    return ProblemText.safeParse(JSON.parse(text)).data ?? {};
  } catch {
    return {};
  }
}

type ReadOrder = { readonly ok: true; readonly order: Order } | { readonly ok: false; readonly reason: string };
type TakeOrder = (sequence: number, order: ReadOrder) => Promise<void>;

function parseOrder(data: string): ReadOrder {
  try {
    return readOrder(JSON.parse(data));
  } catch {
    return { ok: false, reason: 'the order is not valid JSON' };
  }
}

function readOrder(content: unknown): ReadOrder {
  const order = Order.safeParse(content);
  return order.success ? { ok: true, order: order.data } : { ok: false, reason: order.error.message.slice(0, 1_000) };
}
