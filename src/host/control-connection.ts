// The host's side of /agent/v1: plain HTTP to the control service.

import { EventSourceParserStream } from 'eventsource-parser/stream';
import { z } from 'zod';
import { agentLimits, type HostRegistration, Order, RegisteredHost } from '../protocol/agent.ts';
import { delay } from '../protocol/back-off.ts';
import { defaultIdleTimeouts, IdleTimeoutError, type IdleTimeouts, watchIdle } from '../protocol/idle-timeout.ts';
import { parseRetryAfter } from '../protocol/retry-after.ts';
import { type ServiceKey, ServiceKeys } from '../protocol/signed-statement.ts';

/** Requests other than the stream of orders are given up after this. */
const requestMilliseconds = 30_000;
/** How long the service may wait for orders before it answers a poll; less than `requestMilliseconds`. */
const pollSeconds = 20;
/** Between two polls that brought no new order, should something on the way answer at once. */
const pollPauseMilliseconds = 1_000;
/** An order that is longer ends the stream; the longest, of a device with a thousand programs, is far shorter. */
const maxOrderCharacters = 16 * 1024 * 1024;

/** The service answered with an error. */
export class ControlError extends Error {
  override readonly name = 'ControlError';
  readonly status: number;
  /** Whether the service has read the request and will never take it. A request that was cut short on its way is answered 400, but with no problem. */
  readonly isFinal: boolean;
  /** What is wrong and what to change, in the service's words; the whole message where it is not the service that answers. */
  readonly detail: string;
  /** How long to wait before the next request, of a service that is busy; 0 where it does not say. */
  readonly retryAfterMilliseconds: number;

  constructor(status: number, message: string, problem: ProblemText | null, retryAfter: number | null) {
    super(message);
    this.status = status;
    this.retryAfterMilliseconds = busyStatuses.has(status) ? (retryAfter ?? 0) : 0;
    this.isFinal = problem !== null && status < 500 && !retryableStatuses.has(status);
    this.detail = problem?.detail ?? message;
  }

  /** Whether the service rejects what was sent to it, and would reject it again. Also a proxy says 413, and by its nature always. */
  get isRejection(): boolean {
    return this.status === 413 || (this.isFinal && rejectionStatuses.has(this.status));
  }
}

const busyStatuses = new Set([429, 503]);
/** Client errors of a request that may succeed when it is sent again: it did not arrive in time, or there were too many. */
const retryableStatuses = new Set([408, 429]);
const rejectionStatuses = new Set([400, 413, 415, 422]);

/** The part of problem details (RFC 9457) that a host repeats. */
const ProblemText = z.object({ detail: z.string().optional() });
type ProblemText = z.infer<typeof ProblemText>;

/** What is sent to the service in the service's own words is to be a text that it takes: without control characters and halves of characters. */
export function sanitizeText(text: string, limit: number): string {
  return text
    .replaceAll(/\p{Cc}+/gu, ' ')
    .slice(0, limit)
    .toWellFormed();
}

/** What becomes of orders. */
type OrderListener = {
  /** Awaited, so that the host takes no more orders than it has room for. */
  readonly onOrder: (order: Order) => Promise<void>;
  /** Told of what is not an order. */
  readonly onMalformed: (reason: string) => void;
  /** Called when the stream brings nothing and the host polls for its orders instead. */
  readonly onPolling: (reason: string) => void;
};

const Orders = z.object({ orders: z.array(z.unknown()) });
/** Of an order that may be malformed otherwise. */
const Sequenced = z.object({ sequence: z.int().nonnegative() });

export class ControlConnection {
  readonly #url: string;
  readonly #joinToken: string;
  readonly #signal: AbortSignal;
  readonly #silenceLimits: IdleTimeouts;
  /** What the host got when it last registered. */
  #token: string | null = null;
  #orders: AbortController | null = null;

  /** @param controlUrl The service's address, like `http://127.0.0.1:7070`. */
  constructor(controlUrl: string, joinToken: string, signal: AbortSignal, silenceLimits: IdleTimeouts = defaultIdleTimeouts) {
    this.#url = controlUrl.replace(/\/+$/, '');
    this.#joinToken = joinToken;
    this.#signal = signal;
    this.#silenceLimits = silenceLimits;
  }

  /** Says who the host is. @throws {ControlError} or a TypeError of fetch. */
  async register(registration: HostRegistration): Promise<RegisteredHost> {
    const response = await this.#request('/agent/v1/hosts', { method: 'POST', body: JSON.stringify(registration) }, this.#joinToken);
    const registered = RegisteredHost.parse(await response.json());
    this.#token = registered.token;
    return registered;
  }

  /**
   * Calls back with each order until the stream of orders ends. Where a proxy holds the stream back, polls for orders until a poll fails.
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
    const silence = watchIdle(this.#silenceLimits);
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

  /** Waits for the next orders after a sequence, and takes them. */
  async #pollOrders(host: string, bootId: string, after: number, ended: AbortSignal, take: TakeOrder): Promise<void> {
    const query = new URLSearchParams({ bootId, after: String(after), waitSeconds: String(pollSeconds) });
    const began = performance.now();
    const response = await this.#request(`/agent/v1/hosts/${host}/orders/next?${query}`, { signal: ended });
    const { orders } = Orders.parse(await response.json());
    let hasNew = false;
    for (const content of orders) {
      const sequence = Sequenced.safeParse(content).data?.sequence ?? 0;
      hasNew ||= sequence > after;
      await take(sequence, readOrder(content));
    }
    if (!hasNew) await delay(Math.max(0, pollPauseMilliseconds - (performance.now() - began)), ended);
  }

  /** Says that the host is there. Where the service does not know it any more, the stream of orders ends too, so that it registers again. */
  async heartbeat(host: string, bootId: string): Promise<void> {
    const token = this.#token;
    try {
      await this.#request(`/agent/v1/hosts/${host}/heartbeats`, { method: 'POST', body: JSON.stringify({ bootId }) });
    } catch (error) {
      const isUnknown = error instanceof ControlError && (error.status === 401 || error.status === 409);
      // One that was under way while the host registered again had the token from before.
      if (isUnknown && token === this.#token) this.#orders?.abort(error);
      throw error;
    }
  }

  /** The bytes of an image. */
  async image(digest: string): Promise<Uint8Array<ArrayBuffer>> {
    const response = await this.#request(`/agent/v1/images/${encodeURIComponent(digest)}`, {});
    const bytes = await response.arrayBuffer();
    if (bytes.byteLength > agentLimits.imageBytes)
      throw new Error(`the image ${digest} is of ${bytes.byteLength} bytes; the limit is ${agentLimits.imageBytes}`);
    return new Uint8Array(bytes);
  }

  /** The envelope of the statement about an image, JSON. */
  async provenance(digest: string): Promise<string> {
    return (await this.#request(`/agent/v1/images/${encodeURIComponent(digest)}/provenance`, {})).text();
  }

  /** The keys that the service signs or has signed with. */
  async signingKeys(): Promise<ServiceKey[]> {
    const response = await this.#request('/agent/v1/signing-keys', {});
    return ServiceKeys.parse(await response.json()).signingKeys;
  }

  /** Delivers reports, a JSON array; when it returns the service has them. */
  async report(host: string, bootId: string, reports: string): Promise<void> {
    const body = `{"bootId":${JSON.stringify(bootId)},"reports":${reports}}`;
    await this.#request(`/agent/v1/hosts/${host}/reports`, { method: 'POST', body });
  }

  async #request(path: string, init: RequestInit, token = this.#token): Promise<Response> {
    const signal = AbortSignal.any([init.signal ?? this.#signal, AbortSignal.timeout(requestMilliseconds)]);
    const headers = init.body === undefined ? {} : { 'content-type': 'application/json' };
    return this.#fetch(path, { ...init, headers, signal }, token);
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

/** A problem without a readable text is one all the same. */
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
    return { ok: false, reason: 'an order is not JSON' };
  }
}

function readOrder(content: unknown): ReadOrder {
  const order = Order.safeParse(content);
  return order.success ? { ok: true, order: order.data } : { ok: false, reason: order.error.message.slice(0, 1_000) };
}
