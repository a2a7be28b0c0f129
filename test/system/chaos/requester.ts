// A client that requests loads and programs: it retries each request with one key until it gets a response, and records what was accepted.

import { randomUUID } from 'node:crypto';
import { type Client, type Schemas, unwrapAccepted } from '../../../src/client/client.ts';
import { pause } from './async.ts';
import type { Random } from './random.ts';

/** Timeout of one attempt, in milliseconds. */
const attemptMilliseconds = 10_000;
/** Maximum time until a response, in milliseconds. */
const responseTimeout = 120_000;
const backOffMilliseconds = { min: 20, max: 200 } as const;

/** Newest loads among which a load to cancel is picked. */
const recentLoads = 50;

/** A load that the service has accepted. */
export type AcceptedLoad = { readonly id: string; readonly device: string; readonly batch: string };

type NewLoads = Schemas['NewLoads'];
type NewProgram = Schemas['NewProgram'];
type Outcome<Data> = { readonly data?: Data; readonly error?: unknown; readonly response: Response };

export class Requester {
  readonly accepted: AcceptedLoad[] = [];
  /** Batches that the service has accepted. */
  readonly batches = new Set<string>();
  /** Responses that violate the contract. */
  readonly unexpectedResponses: string[] = [];
  requests = 0;
  retries = 0;
  programs = 0;
  readonly #client: Client;
  readonly #random: Random;

  constructor(client: Client, random: Random) {
    this.#client = client;
    this.#random = random;
  }

  /** Requests loads. */
  async load(body: NewLoads): Promise<void> {
    const result = await this.#retryUntilResponse((options) => this.#client.POST('/v1/loads', { body, ...options }));
    if (result.data === undefined) {
      this.unexpectedResponses.push(`a request for loads returned ${result.response.status}: ${JSON.stringify(result.error)}`);
      return;
    }
    const { batch, loads } = unwrapAccepted(result);
    this.batches.add(batch);
    this.accepted.push(...loads.map(({ id, device }) => ({ id, device, batch })));
  }

  /** Requests the cancellation of a recent load; most recent loads are dispatched or completed. */
  async cancelRecentLoad(): Promise<void> {
    const load = this.#random.pick(this.accepted.slice(-recentLoads));
    const { response } = await this.#retryUntilResponse<unknown>((options) =>
      this.#client.POST('/v1/loads/{load}/cancel', { params: { path: { load: load.id } }, ...options }),
    );
    if (response.status !== 200 && response.status !== 409)
      this.unexpectedResponses.push(`a request to cancel the load ${load.id} returned ${response.status}`);
  }

  /** Requests a program; a device whose host was just killed may reject it. */
  async startProgram(device: string, body: NewProgram): Promise<void> {
    const result = await this.#retryUntilResponse((options) =>
      this.#client.POST('/v1/devices/{device}/programs', { params: { path: { device } }, body, ...options }),
    );
    if (result.data !== undefined) this.programs += 1;
    else if (result.response.status !== 409)
      this.unexpectedResponses.push(`a request for a program returned ${result.response.status}: ${JSON.stringify(result.error)}`);
  }

  /** Retries a request with one key until a final response. @throws {Error} after 120 s. */
  async #retryUntilResponse<Data>(
    attempt: (options: { headers: Record<string, string>; signal: AbortSignal }) => Promise<Outcome<Data>>,
  ): Promise<Outcome<Data>> {
    const key = randomUUID();
    const deadline = Date.now() + responseTimeout;
    this.requests += 1;
    while (Date.now() < deadline) {
      try {
        const result = await attempt({ headers: { 'idempotency-key': key }, signal: AbortSignal.timeout(attemptMilliseconds) });
        if (result.response.status < 500 && result.response.status !== 429) return result;
        if (result.response.status === 500) this.unexpectedResponses.push(`the service failed: ${JSON.stringify(result.error)}`);
      } catch {
        // The connection was refused, cut or held for too long.
      }
      this.retries += 1;
      await pause(this.#random.integer(backOffMilliseconds.min, backOffMilliseconds.max));
    }
    throw new Error(`a request got no response within ${responseTimeout / 1_000} s`);
  }
}
