// A client that asks for loads and programs all the while: it repeats each request under its key until it is answered, and remembers what was accepted.

import { randomUUID } from 'node:crypto';
import type { Client, Schemas } from '../../../src/client/client.ts';
import { pause } from './async.ts';
import type { Random } from './random.ts';

/** How long one attempt may take, in milliseconds. */
const attemptMilliseconds = 10_000;
/** A request that is not answered for this long never will be, in milliseconds. */
const patience = 120_000;
const backOffMilliseconds = { least: 20, most: 200 } as const;

/** Loads of which one is cancelled. */
const cancelledAmong = 50;

/** A load that the service has accepted. */
export type AcceptedLoad = { readonly id: string; readonly device: string; readonly batch: string };

type NewLoads = Schemas['NewLoads'];
type NewProgram = Schemas['NewProgram'];
type Outcome<Data> = { readonly data?: Data; readonly error?: unknown; readonly response: Response };

export class Requester {
  readonly accepted: AcceptedLoad[] = [];
  /** Batches that the service has accepted. */
  readonly batches = new Set<string>();
  /** Answers that no request should have had. */
  readonly surprises: string[] = [];
  requests = 0;
  repeats = 0;
  programs = 0;
  readonly #client: Client;
  readonly #random: Random;

  constructor(client: Client, random: Random) {
    this.#client = client;
    this.#random = random;
  }

  /** Asks for loads. */
  async load(body: NewLoads): Promise<void> {
    const answer = await this.#untilAnswered((options) => this.#client.POST('/v1/loads', { body, ...options }));
    if (answer.data === undefined) {
      this.surprises.push(`a request for loads was answered ${answer.response.status}: ${JSON.stringify(answer.error)}`);
      return;
    }
    const { batch, loads } = answer.data;
    this.batches.add(batch);
    this.accepted.push(...loads.map(({ id, device }) => ({ id, device, batch })));
  }

  /** Asks that one of the last loads be cancelled; most have been sent, or have ended. */
  async cancelOne(): Promise<void> {
    const load = this.#random.pick(this.accepted.slice(-cancelledAmong));
    const { response } = await this.#untilAnswered<unknown>((options) =>
      this.#client.POST('/v1/loads/{load}/cancel', { params: { path: { load: load.id } }, ...options }),
    );
    if (response.status !== 200 && response.status !== 409)
      this.surprises.push(`a request to cancel the load ${load.id} was answered ${response.status}`);
  }

  /** Asks for a program; a device that has just lost its host may have none. */
  async startProgram(device: string, body: NewProgram): Promise<void> {
    const answer = await this.#untilAnswered((options) =>
      this.#client.POST('/v1/devices/{device}/programs', { params: { path: { device } }, body, ...options }),
    );
    if (answer.data !== undefined) this.programs += 1;
    else if (answer.response.status !== 409)
      this.surprises.push(`a request for a program was answered ${answer.response.status}: ${JSON.stringify(answer.error)}`);
  }

  /** Repeats a request with one key until an answer says what became of it. @throws {Error} when none ever does. */
  async #untilAnswered<Data>(
    attempt: (options: { headers: Record<string, string>; signal: AbortSignal }) => Promise<Outcome<Data>>,
  ): Promise<Outcome<Data>> {
    const key = randomUUID();
    const deadline = Date.now() + patience;
    this.requests += 1;
    while (Date.now() < deadline) {
      try {
        const answer = await attempt({ headers: { 'idempotency-key': key }, signal: AbortSignal.timeout(attemptMilliseconds) });
        if (answer.response.status < 500 && answer.response.status !== 429) return answer;
        if (answer.response.status === 500) this.surprises.push(`the service failed: ${JSON.stringify(answer.error)}`);
      } catch {
        // The connection was refused, cut or held for too long.
      }
      this.repeats += 1;
      await pause(this.#random.integer(backOffMilliseconds.least, backOffMilliseconds.most));
    }
    throw new Error(`a request was not answered in ${patience / 1_000} s`);
  }
}
