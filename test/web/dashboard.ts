// The dashboard under test: a live service with two device hosts of their own processes, and pages in a real browser that are watched for what
// must never happen.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser, BrowserContext, Locator, Page } from 'playwright-core';
import { expect } from 'vitest';
import { z } from 'zod';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';
import type { Schemas } from '../../src/client/client.ts';
import { LogLines } from '../log-lines.ts';
import { itemsOf, joinToken, TestService, until } from '../service/test-service.ts';
import { startBrowser } from './browser.ts';

const hosts = ['rack-a', 'rack-b'] as const;
const devicesPerHost = 2;
/** Rounds that keep a thread inside the module for hours. */
const endlessRounds = 2_000_000_000;

/** `checksum(length, rounds)`: as many steps as the one times the other. */
const tcp = (plus: number) => `
  (module
    (func (export "checksum") (param $length i32) (param $rounds i32) (result i32)
      (local $round i32) (local $place i32) (local $sum i32)
      (loop $rounds
        (local.set $place (i32.const 0))
        (loop $length
          (local.set $sum (i32.add (i32.rotl (local.get $sum) (i32.const 1)) (local.get $place)))
          (local.set $place (i32.add (local.get $place) (i32.const 1)))
          (br_if $length (i32.lt_u (local.get $place) (local.get $length))))
        (local.set $round (i32.add (local.get $round) (i32.const 1)))
        (br_if $rounds (i32.lt_u (local.get $round) (local.get $rounds))))
      (i32.add (local.get $sum) (i32.const ${plus}))))`;

const roles = ['viewer', 'operator', 'publisher', 'admin'] as const;
type Role = (typeof roles)[number];
type Look = { readonly width?: number; readonly scheme?: 'light' | 'dark'; readonly role?: Role | null };

/** What is asked for to have a program. */
type Program = {
  readonly name: string;
  readonly module: string;
  readonly export: string;
  readonly arguments: readonly number[];
  readonly pauseMilliseconds?: number;
  readonly threads: number;
};

/** What pages have done that none of them may. */
type Watched = { readonly addresses: string[]; readonly wrongs: string[] };

export class Dashboard {
  readonly service = new TestService();
  readonly log = new LogLines();
  readonly #browser: Browser;
  readonly #hosts: PatchbayProcess[] = [];
  readonly #watched: Watched = { addresses: [], wrongs: [] };
  readonly #keys = new Map<Role, string>();
  #context: Promise<BrowserContext> | null = null;

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  /** Starts all of it, with two versions of `tcp` pushed, the first of them loaded on every device. */
  static async start(): Promise<Dashboard> {
    const dashboard = new Dashboard(await startBrowser());
    const { service } = dashboard;
    service.logger = { level: 'info', stream: dashboard.log };
    await service.start();
    dashboard.#startHosts();
    await dashboard.#makeKeys();
    await dashboard.push('tcp', '1.0.0', tcp(0));
    await dashboard.push('tcp', '1.1.0', tcp(1));
    await service.load('tcp', '1.0.0', await service.connectedDevices(hosts.length * devicesPerHost));
    return dashboard;
  }

  #startHosts(): void {
    const tokenFile = join(this.service.folder, 'join-token');
    writeFileSync(tokenFile, joinToken);
    for (const [index, name] of hosts.entries()) {
      const labels = ['--labels', 'fleet=tests', '--labels', `zone=${index === 0 ? 'north' : 'south'}`];
      const args = ['host', '--control', this.service.url, '--name', name, '--devices', String(devicesPerHost), '--token-file', tokenFile];
      this.#hosts.push(new PatchbayProcess(name, [...args, ...labels]));
    }
  }

  async #makeKeys(): Promise<void> {
    for (const role of roles) {
      const made = await this.service.post('/v1/keys', { name: `test-${role}`, role });
      if (made.status !== 201) throw new Error(JSON.stringify(made.body));
      this.#keys.set(role, String(made.body.secret));
    }
  }

  keyOf(role: Role): string {
    return this.#keys.get(role) ?? '';
  }

  /** Identifier of the device of that name. */
  async deviceOf(name: string): Promise<string> {
    return String(itemsOf(await this.service.get(`/v1/devices?name=${name}`))[0]?.id);
  }

  /** @throws {Error} where it is not taken. */
  async push(module: string, version: string, source: string, language: Schemas['NewBuild']['language'] = 'wat'): Promise<void> {
    const pushed = await this.service.push(module, version, source, language);
    if (pushed.status !== 201) throw new Error(JSON.stringify(pushed.body));
  }

  /**
   * Starts threads that stay inside `tcp` until they are interrupted, and waits until they are inside.
   * Returns a function that stops them: they leave little processor time to other tests.
   */
  keepInside(device: string, threads: number): Promise<() => Promise<void>> {
    return this.run(device, { name: 'long-access', module: 'tcp', export: 'checksum', arguments: [1480, endlessRounds], threads });
  }

  /** Starts a program whose threads stay inside its module, waits until they are inside, and returns a function that stops it. */
  async run(device: string, program: Program): Promise<() => Promise<void>> {
    const programs = `/v1/devices/${device}/programs` as const;
    const started = await this.service.post(programs, program);
    if (started.status !== 202) throw new Error(JSON.stringify(started.body));
    await until('they are inside', async () => {
      const { moduleTable } = Table.parse((await this.service.get(`/v1/devices/${device}`)).body);
      return moduleTable.some(({ module, referenceCount }) => module === program.module && referenceCount >= program.threads);
    });
    const own = `${programs}/${started.body.id}`;
    return async () => {
      await this.service.post(`${own}/stop`, undefined);
      await until('it has stopped', async () => (await this.service.get(own)).body['state'] === 'stopped');
    };
  }

  /** Pages share what the browser has read of the dashboard, as the tabs of a user do; what is of one of them alone they do not. */
  async #newContext(): Promise<BrowserContext> {
    const context = await this.#browser.newContext({ reducedMotion: 'reduce', baseURL: this.service.url });
    context.setDefaultTimeout(15_000);
    await context.addInitScript(
      `addEventListener('securitypolicyviolation', (event) => console.error('refused by the policy: ' + event.violatedDirective + ' ' + event.blockedURI));`,
    );
    return context;
  }

  /** A page at the path; signed in, unless the role is null. */
  async open(path: string, { width = 1280, scheme = 'light', role = 'operator' }: Look = {}): Promise<Page> {
    this.#context ??= this.#newContext();
    const page = await (await this.#context).newPage();
    await page.setViewportSize({ width, height: 800 });
    await page.emulateMedia({ colorScheme: scheme });
    page.on('request', (request) => this.#watched.addresses.push(request.url()));
    page.on('framenavigated', (frame) => this.#watched.addresses.push(frame.url()));
    page.on('pageerror', (error) => this.#watched.wrongs.push(`${error.stack}`));
    page.on('console', (message) => {
      // The browser logs every error response; the tests check which ones are expected.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) this.#watched.wrongs.push(message.text());
    });
    await page.goto(path);
    if (role !== null) await this.signIn(page, this.keyOf(role));
    return page;
  }

  /** Closes every page: each follows the events, and a browser has few connections for one service. */
  async closePages(): Promise<void> {
    for (const page of (await this.#context)?.pages() ?? []) await page.close();
  }

  async signIn(page: Page, key: string): Promise<void> {
    await page.getByLabel('API key').fill(key);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('navigation', { name: 'Pages' }).waitFor();
  }

  /** Addresses that pages have been at or asked for, and what went wrong in them. */
  get watched(): Watched {
    return this.#watched;
  }

  async stop(): Promise<void> {
    await this.#browser.close();
    await Promise.all(this.#hosts.map((host) => host.stop('SIGKILL')));
    await this.service.close();
  }
}

/** Navigates inside the page, as its links do: a reload costs more than most pages. */
export async function go(page: Page, path: string): Promise<void> {
  await page.evaluate(`history.pushState(null, '', ${JSON.stringify(path)}); dispatchEvent(new PopStateEvent('popstate'));`);
}

const Table = z.object({ moduleTable: z.array(z.object({ module: z.string(), referenceCount: z.number() })) });

const axe = readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8');

type Violation = {
  readonly id: string;
  readonly help: string;
  readonly nodes: readonly { readonly target: string[]; readonly failureSummary: string }[];
};

/** Returns the accessibility violations that axe finds, one per line. @param rules Default: all rules. */
async function barriersOf(page: Page, rules: readonly string[] | null = null): Promise<string[]> {
  // The debugger's way, for which the Content-Security-Policy does not count.
  if (await page.evaluate<boolean>(`typeof axe === 'undefined'`)) await page.evaluate(axe);
  // No enabled rule needs axe to load style sheets or media again.
  const options = JSON.stringify({ resultTypes: ['violations'], preload: false, ...(rules === null ? {} : { runOnly: rules }) });
  const violations = await page.evaluate<readonly Violation[]>(`axe.run(document, ${options}).then(({ violations }) => violations)`);
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${help}: ${target.join(' ')}: ${failureSummary}`),
  );
}

const narrow = { width: 360, height: 740 };
const wide = { width: 1280, height: 800 };

/**
 * Checks the accessibility of a page on a phone and on a desktop, in light and dark, and that it fits a phone's window. Rules other than colours are
 * checked in the light scheme, in a narrow window and, if the wide layout has other elements, in a wide one.
 */
export async function lookForBarriers(page: Page, what: string, { isWideAnother = false } = {}): Promise<void> {
  for (const size of [narrow, wide]) {
    await page.setViewportSize(size);
    if (size === narrow)
      expect(await page.evaluate<boolean>('document.documentElement.scrollWidth > innerWidth'), `${what} is wider than 360 pixels`).toBe(
        false,
      );
    for (const scheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme: scheme });
      const isWhole = scheme === 'light' && (size === narrow || isWideAnother);
      expect(await barriersOf(page, isWhole ? null : ['color-contrast']), `${what}, ${scheme}, ${size.width} pixels wide`).toEqual([]);
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
}

/** Replaces responses of the API under a path until it is undone. */
async function answering(
  page: Page,
  path: string,
  response: () => Promise<{ readonly status: number; readonly body: object }>,
): Promise<() => Promise<void>> {
  const pattern = (url: URL) => url.pathname.startsWith(path);
  await page.route(pattern, async (route) => {
    const { status, body } = await response();
    await route.fulfill({ status, contentType: 'application/problem+json', body: JSON.stringify(body) });
  });
  return () => page.unroute(pattern);
}

/** A page, the API path that it requests, and an element that it shows after loading. */
type Shown = { readonly path: string; readonly api: string; readonly shown: (page: Page) => Locator };

const failing = {
  status: 500,
  body: {
    type: 'urn:patchbay:problem:internal',
    title: 'Internal error',
    status: 500,
    detail: 'internal error: see the log of the service for request req_1',
    instance: 'req_1',
  },
};

/** Checks that each page shows loading and failures, and recovers automatically. */
export async function failAndComeBack(page: Page, pages: readonly Shown[]): Promise<void> {
  for (const { path, api, shown } of pages) {
    const held = Promise.withResolvers<void>();
    const released = await answering(page, api, async () => {
      await held.promise;
      return failing;
    });
    await go(page, path);
    await page
      .getByText(/^Loading the \w+…$|^Loading \w+…$/)
      .first()
      .waitFor();
    held.resolve();
    const alert = page.getByRole('alert').filter({ hasText: 'Internal error' }).first();
    await alert.waitFor();
    expect(await alert.innerText()).toContain('req_1');
    expect(await shown(page).count()).toBe(0);
    await released();
    await shown(page).waitFor();
    await alert.waitFor({ state: 'detached' });
  }
}

/** Waits until an element is visible, and asserts that it is there. */
export async function shown(locator: Locator): Promise<void> {
  await locator.waitFor();
  expect(await locator.count()).toBeGreaterThan(0);
}
