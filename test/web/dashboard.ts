// The dashboard under test: a live service with two device hosts of their own processes, and pages in a real browser that are watched for what
// must never happen.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import axe from 'axe-core';
import type { Browser, Locator, Page } from 'playwright-core';
import { expect } from 'vitest';
import { Child } from '../../src/cli/running/child.ts';
import { Bench, itemsOf, joinToken, until } from '../api/fixture.ts';
import { Lines } from '../lines.ts';
import { startBrowser } from './browser.ts';

const hosts = ['rack-a', 'rack-b'] as const;
const devicesPerHost = 2;
/** Rounds that keep a thread inside the module for hours. */
const endlessRounds = 2_000_000_000;

const roles = ['viewer', 'operator', 'publisher', 'admin'] as const;
type Role = (typeof roles)[number];
type Look = { readonly width?: number; readonly scheme?: 'light' | 'dark'; readonly role?: Role | null };

/** What pages have done that none of them may. */
type Watched = { readonly addresses: string[]; readonly wrongs: string[] };

export class Dashboard {
  readonly bench = new Bench();
  readonly log = new Lines();
  readonly #browser: Browser;
  readonly #hosts: Child[] = [];
  readonly #watched: Watched = { addresses: [], wrongs: [] };
  readonly #keys = new Map<Role, string>();

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  /** Starts all of it, with two versions of `tcp` pushed, the first of them loaded on every device. */
  static async start(): Promise<Dashboard> {
    const dashboard = new Dashboard(await startBrowser());
    const { bench } = dashboard;
    bench.logger = { level: 'info', stream: dashboard.log };
    await bench.start();
    dashboard.#startHosts();
    await dashboard.#makeKeys();
    for (const version of ['1.0.0', '1.1.0']) {
      const source = readFileSync(new URL(`../../examples/tcp/${version}/tcp.ts`, import.meta.url), 'utf8');
      const pushed = await bench.push('tcp', version, source, 'assemblyscript');
      if (pushed.status !== 201) throw new Error(JSON.stringify(pushed.body));
    }
    await bench.load('tcp', '1.0.0', await bench.connectedDevices(hosts.length * devicesPerHost));
    return dashboard;
  }

  #startHosts(): void {
    const tokenFile = join(this.bench.folder, 'join-token');
    writeFileSync(tokenFile, joinToken);
    for (const [index, name] of hosts.entries()) {
      const labels = ['--labels', 'fleet=tests', '--labels', `zone=${index === 0 ? 'north' : 'south'}`];
      const args = ['host', '--control', this.bench.url, '--name', name, '--devices', String(devicesPerHost), '--token-file', tokenFile];
      this.#hosts.push(new Child(name, [...args, ...labels]));
    }
  }

  async #makeKeys(): Promise<void> {
    for (const role of roles) {
      const made = await this.bench.post('/v1/keys', { name: `test-${role}`, role });
      if (made.status !== 201) throw new Error(JSON.stringify(made.body));
      this.#keys.set(role, String(made.body['secret']));
    }
  }

  keyOf(role: Role): string {
    return this.#keys.get(role) ?? '';
  }

  /** Identifier of the device of that name. */
  async deviceOf(name: string): Promise<string> {
    return String(itemsOf(await this.bench.get(`/v1/devices?name=${name}`))[0]?.['id']);
  }

  /** Threads that are inside `tcp` until somebody interrupts them, once they are. */
  async keepInside(device: string, threads: number): Promise<void> {
    const body = { name: 'long-access', module: 'tcp', export: 'checksum', arguments: [1480, endlessRounds], threads };
    await this.bench.post(`/v1/devices/${device}/programs`, body);
    await until('they are inside', async () =>
      JSON.stringify((await this.bench.get(`/v1/devices/${device}`)).body).includes(`"referenceCount":${threads}`),
    );
  }

  /** A page in a browser context of its own, at the path; signed in, unless the role is null. */
  async open(path: string, { width = 1280, scheme = 'light', role = 'operator' }: Look = {}): Promise<Page> {
    const context = await this.#browser.newContext({
      viewport: { width, height: 800 },
      colorScheme: scheme,
      reducedMotion: 'reduce',
      baseURL: this.bench.url,
    });
    context.setDefaultTimeout(15_000);
    await context.addInitScript(
      `addEventListener('securitypolicyviolation', (event) => console.error('refused by the policy: ' + event.violatedDirective + ' ' + event.blockedURI));`,
    );
    const page = await context.newPage();
    page.on('request', (request) => this.#watched.addresses.push(request.url()));
    page.on('framenavigated', (frame) => this.#watched.addresses.push(frame.url()));
    page.on('pageerror', (error) => this.#watched.wrongs.push(`${error.stack}`));
    page.on('console', (message) => {
      // The browser tells of every answer that is an error; which those are is for the tests to say.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) this.#watched.wrongs.push(message.text());
    });
    await page.goto(path);
    if (role !== null) await this.signIn(page, this.keyOf(role));
    return page;
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
    await Promise.all(this.#hosts.map((host) => host.end('SIGKILL')));
    await this.bench.close();
  }
}

type Violation = {
  readonly id: string;
  readonly help: string;
  readonly nodes: readonly { readonly target: string[]; readonly failureSummary: string }[];
};

/** What a page has that keeps some people out, as axe finds it: a line each. @param rules By itself, all that axe knows. */
export async function barriersOf(page: Page, rules: readonly string[] | null = null): Promise<string[]> {
  // The debugger's way, for which the Content-Security-Policy does not count.
  await page.evaluate(axe.source);
  const options = JSON.stringify({ resultTypes: ['violations'], ...(rules === null ? {} : { runOnly: rules }) });
  const violations = await page.evaluate<readonly Violation[]>(`axe.run(document, ${options}).then(({ violations }) => violations)`);
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${help}: ${target.join(' ')}: ${failureSummary}`),
  );
}

/** Whether a page is wider than its window. */
export function isWiderThanItsWindow(page: Page): Promise<boolean> {
  return page.evaluate<boolean>('document.documentElement.scrollWidth > innerWidth');
}

/** Has requests of the API under that path answered as the function says, until it is undone. */
async function answering(
  page: Page,
  path: string,
  answer: () => Promise<{ readonly status: number; readonly body: object }>,
): Promise<() => Promise<void>> {
  const pattern = (url: URL) => url.pathname.startsWith(path);
  await page.route(pattern, async (route) => {
    const { status, body } = await answer();
    await route.fulfill({ status, contentType: 'application/problem+json', body: JSON.stringify(body) });
  });
  return () => page.unroute(pattern);
}

/** A page, the part of the API that it is made of, and something that is on it when all is well. */
type Shown = { readonly path: string; readonly api: string; readonly shown: (page: Page) => Locator };

const failing = {
  status: 500,
  body: {
    type: 'urn:patchbay:problem:internal',
    title: 'The service failed',
    status: 500,
    detail: 'the service failed; its log has more under the request req_1',
    instance: 'req_1',
  },
};

/** Each page says that it is loading while the service does not answer, and what went wrong when that fails, and comes back by itself. */
export async function failAndComeBack(page: Page, pages: readonly Shown[]): Promise<void> {
  for (const { path, api, shown } of pages) {
    const held = Promise.withResolvers<void>();
    const released = await answering(page, api, async () => {
      await held.promise;
      return failing;
    });
    await page.goto(path);
    await page
      .getByText(/^Loading the \w+…$|^Loading \w+…$/)
      .first()
      .waitFor();
    held.resolve();
    const alert = page.getByRole('alert').filter({ hasText: 'The service failed' }).first();
    await alert.waitFor();
    expect(await alert.innerText()).toContain('req_1');
    expect(await shown(page).count()).toBe(0);
    await released();
    await shown(page).waitFor();
    await alert.waitFor({ state: 'detached' });
  }
}
