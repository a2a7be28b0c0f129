// A service on its own database, used over real HTTP, with real device hosts in this process or an agent simulated by the test.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type EventSourceMessage, EventSourceParserStream } from 'eventsource-parser/stream';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { expect } from 'vitest';
import type { Schemas } from '../../src/client/client.ts';
import { runHost } from '../../src/host/host.ts';
import type { PublicKey } from '../../src/proof/ed25519.ts';
import { createService, type ServiceOptions } from '../../src/service/app.ts';
import { systemTime, type TimeSource } from '../../src/service/clock/service-clock.ts';
import type { KeyPolicy } from '../../src/service/http/access.ts';
import { defaultLimits, type Limits } from '../../src/service/http/request-limits.ts';
import { type RetentionSettings, retainEverything } from '../../src/service/retention/retention.ts';
import { newDatabase } from '../databases.ts';
import { sharedCompiler } from '../default-settings.ts';
import { PrivateKeysInMemory } from '../private-keys-in-memory.ts';
import type { RequestBody, RequestSchema, ResponseBody } from './typed-paths.ts';

export type TestResponse<Body = Record<string, unknown>> = { readonly status: number; readonly headers: Headers; readonly body: Body };

/** Options of a load request, besides the build and the devices. */
export type LoadPolicy = Partial<Omit<RequestSchema<'NewLoads'>, 'module' | 'version' | 'devices' | 'labels'>>;

/** The token that hosts register with. */
export const joinToken = 'join-token-of-the-tests';

export const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

export class TestService {
  /** Milliseconds without contact after which a host is unreachable; set it before the start. */
  unreachableAfter = 60_000;
  /** Milliseconds; null: never. */
  decommissionUnreachableAfter: number | null = null;
  /** Set it before the start. */
  keys: KeyPolicy = 'required';
  /** Set it before the start. High by default: tests send many requests, and block the event loop themselves. */
  limits: Limits = { ...defaultLimits, requestsPerMinute: 1_000_000, unauthenticatedPerMinute: 1_000_000, eventLoopDelay: 0 };
  /** The token that hosts register with; set it before the start. */
  joinToken = joinToken;
  /** Set it before the start. */
  trustedProxies: readonly string[] = [];
  /** Set it before the start. */
  logger: ServiceOptions['logger'] = false;
  /** Extends the service before it listens; set it before the start. */
  prepare: (app: FastifyInstance) => void = () => {};
  /** Set it before the start; by default nothing is deleted. */
  retention: RetentionSettings = retainEverything;
  /** The identity provider; set it before the start. */
  provider: ServiceOptions['provider'] = null;
  /** Set it before the start. Receivers of webhooks are in this process. */
  webhooks: NonNullable<ServiceOptions['webhooks']> = { allowPrivate: true, publicUrl: null };
  /** Set it before the start; by default the clocks of the machine. */
  time: TimeSource = systemTime;
  /** The key of an administrator, the default credential of requests. */
  key = '';
  /** Set it before the start to share the signing keys. */
  privateKeys = new PrivateKeysInMemory();
  /** Whether to replace a lost signing key; set it before the start. */
  isSigningKeyLost = false;
  /** Created on first use: a file whose tests are all skipped closes nothing. */
  #folder: string | null = null;
  #app: FastifyInstance | null = null;
  #port = 0;
  readonly #hosts: { readonly stop: AbortController; readonly ended: Promise<void> }[] = [];

  get folder(): string {
    this.#folder ??= mkdtempSync(join(tmpdir(), 'patchbay-api-'));
    return this.#folder;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** The database, once the service was started. */
  database = '';

  /** Starts the service; a restart uses the same database and port. */
  async start(): Promise<this> {
    if (this.database === '') this.database = await newDatabase(this.folder);
    const app = await createService({
      database: this.database,
      logger: this.logger,
      joinToken: this.joinToken,
      unreachableAfter: this.unreachableAfter,
      decommissionUnreachableAfter: this.decommissionUnreachableAfter,
      keys: this.keys,
      limits: this.limits,
      trustedProxies: this.trustedProxies,
      retention: this.retention,
      provider: this.provider ?? null,
      webhooks: this.webhooks,
      time: this.time,
      sharedCompiler,
      signingKeys: { privateKeys: this.privateKeys, isLost: this.isSigningKeyLost },
      adminKey: this.keys === 'off' ? null : { when: 'first start', keep: (secret) => this.#keepKey(secret) },
    });
    this.prepare(app);
    this.#port = Number(new URL(await app.listen({ port: this.#port, host: '127.0.0.1' })).port);
    this.#app = app;
    return this;
  }

  #keepKey(secret: string): void {
    this.key = secret;
  }

  async stop(): Promise<void> {
    await this.#app?.close();
    this.#app = null;
    // Lets clients notice that their connections are closed before they send the next request.
    await setImmediate();
    await setImmediate();
  }

  /** Runs a device host, and returns a function that stops it. */
  startHost(
    name: string,
    devices: number,
    labels: Record<string, string> = {},
    capacity = 100,
    trustedKeys: readonly PublicKey[] | null = null,
  ): () => Promise<void> {
    const stop = new AbortController();
    const ended = runHost({
      controlUrl: this.url,
      joinToken: this.joinToken,
      name,
      capacity,
      trustedKeys,
      devices: Array.from({ length: devices }, (_, index) => ({ name: `${name}-${index + 1}`, labels, ramPages: 64 })),
      signal: stop.signal,
      logger: pino({ enabled: false }),
    });
    this.#hosts.push({ stop, ended });
    return async () => {
      stop.abort();
      await ended;
    };
  }

  async close(): Promise<void> {
    for (const { stop, ended } of this.#hosts) {
      stop.abort();
      await ended;
    }
    await this.stop();
    if (this.#folder !== null) rmSync(this.#folder, { recursive: true, force: true });
  }

  get<Path extends string>(path: Path, headers: Record<string, string> = {}): Promise<TestResponse<ResponseBody<Path, 'get'>>> {
    return this.#ask('GET', path, undefined, headers);
  }

  post<Path extends string>(
    path: Path,
    body: RequestBody<Path, 'post'>,
    headers: Record<string, string> = {},
  ): Promise<TestResponse<ResponseBody<Path, 'post'>>> {
    return this.#ask('POST', path, body, headers);
  }

  put<Path extends string>(
    path: Path,
    body: RequestBody<Path, 'put'>,
    headers: Record<string, string> = {},
  ): Promise<TestResponse<ResponseBody<Path, 'put'>>> {
    return this.#ask('PUT', path, body, headers);
  }

  /** Posts an untyped body, such as an invalid one. */
  postRaw(path: string, body: unknown, headers: Record<string, string> = {}): Promise<TestResponse> {
    return this.request('POST', path, body, headers);
  }

  /** Sends an untyped body: bytes and strings unchanged, anything else as JSON. */
  request(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<TestResponse> {
    return this.#ask(method, path, body, headers);
  }

  /** As in the generated client, the response body has the type in the API document. */
  async #ask<Body>(method: string, path: string, body: unknown, headers: Record<string, string>): Promise<TestResponse<Body>> {
    const isRaw = typeof body === 'string' || body instanceof Uint8Array;
    const payload = isRaw ? new Uint8Array(typeof body === 'string' ? Buffer.from(body) : body) : JSON.stringify(body);
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        ...(this.key === '' ? {} : bearer(this.key)),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: payload }),
    });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') ?? false;
    return { status: response.status, headers: response.headers, body: isJson && text !== '' ? JSON.parse(text) : { text } };
  }

  /** Pushes the source of a module. */
  push(module: string, version: string, source: string, language: Schemas['NewBuild']['language'] = 'wat') {
    return this.post(`/v1/modules/${module}/builds`, { version, language, source });
  }

  /** Waits until all devices are connected, and returns their identifiers sorted by name. */
  async connectedDevices(count: number): Promise<string[]> {
    const devices = await until(`${count} devices are connected`, async () => {
      const items = itemsOf(await this.get('/v1/devices?limit=200'));
      const connected = items.filter(({ status }) => status === 'connected');
      return connected.length === count ? connected : null;
    });
    return devices.toSorted((left, right) => (left.name < right.name ? -1 : 1)).map(({ id }) => id);
  }

  /** Requests loads, waits until all have ended, and returns them in the order of their devices. */
  async load(module: string, version: string, devices: readonly string[], policy: LoadPolicy = {}): Promise<Schemas['Load'][]> {
    const accepted = await this.post('/v1/loads', { module, version, devices, ...policy });
    if (accepted.status !== 202) throw new Error(JSON.stringify(accepted.body));
    const loads = await until('all loads have an outcome', async () => {
      const items = itemsOf(await this.get(`/v1/loads?limit=200&batch=${accepted.body.batch}`));
      return items.length === devices.length && items.every(({ state }) => state === 'completed') ? items : null;
    });
    return devices.map((device) => {
      const load = loads.find((each) => each.device === device);
      if (load === undefined) throw new Error(`no load of ${device}`);
      return load;
    });
  }
}

/** Returns the items of a page. @throws {Error} if the response is not a page. */
export function itemsOf<Item = Record<string, unknown>>({ body }: TestResponse<{ readonly items?: readonly Item[] }>): readonly Item[] {
  if (!Array.isArray(body.items)) throw new Error(`not a page: ${JSON.stringify(body)}`);
  return body.items;
}

/** Returns the first item of a page. @throws {Error} if the page is empty. */
export function firstOf<Item = Record<string, unknown>>(response: TestResponse<{ readonly items?: readonly Item[] }>): Item {
  const [first] = itemsOf(response);
  if (first === undefined) throw new Error('a page without items');
  return first;
}

/** Returns the server-sent events of a response. */
export function eventsOf(response: Response): AsyncIterable<EventSourceMessage> {
  if (response.body === null) throw new Error('the response has no body');
  const decoder = new TextDecoder();
  const text = new TransformStream<Uint8Array, string>({
    transform: (chunk, controller) => controller.enqueue(decoder.decode(chunk, { stream: true })),
  });
  return response.body.pipeThrough(text).pipeThrough(new EventSourceParserStream());
}

/** Timeout of conditions in milliseconds: for hanging runs, generous enough for slow machines. */
const conditionTimeout = 120_000;

/** Polls until the condition returns a value, with increasing intervals. @throws {Error} after `conditionTimeout`. */
export async function until<Value>(what: string, ask: () => Promise<Value | null | false>): Promise<Value> {
  const deadline = performance.now() + conditionTimeout;
  for (let pause = 10; ; pause = Math.min(pause * 1.5, 100)) {
    const value = await ask();
    if (value !== null && value !== false) {
      // Counts as an assertion, for tests that only wait for a condition.
      expect(value, what).not.toBe(false);
      return value;
    }
    if (performance.now() > deadline) throw new Error(`timeout after ${conditionTimeout / 1_000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

/** `work(n)`: loops n times and returns n plus the given number. */
export const workModule = (plus: number) => `
  (module
    (func (export "work") (param $n i32) (result i32)
      (local $i i32)
      (loop $next
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
      (i32.add (local.get $n) (i32.const ${plus}))))`;

/** (module (func (export "one") (result i32) (i32.const 1))) */
export const prebuiltModule = new Uint8Array(
  Buffer.from('0061736d010000000105016000017f03020100070701036f6e6500000a0601040041010b', 'hex'),
);
