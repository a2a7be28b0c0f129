// The dashboard in a real browser on a live service: the main job, and the states of each page.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import Database from 'better-sqlite3';
import type { Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Agent } from '../service/agents/agent.ts';
import { itemsOf, TestService, workModule } from '../service/test-service.ts';
import { Dashboard, failAndComeBack, go, lookForBarriers, shown } from './dashboard.ts';

let dashboard: Dashboard;
let device: string;
/** A load that interrupted accesses. */
let load: string;
beforeAll(async () => {
  dashboard = await Dashboard.start();
  device = await dashboard.deviceOf('rack-a-1');
});
afterEach(() => dashboard.closePages());
afterAll(() => dashboard?.stop());

const heading = (page: Page, name: string | RegExp) => page.getByRole('heading', { level: 1, name });

test('main job: open the fleet, load a build while threads are inside the old version, see the result, roll back', async () => {
  const stop = await dashboard.keepInside(device, 5);
  const page = await dashboard.open('/');
  await heading(page, 'Fleet').waitFor();
  await page.getByRole('row', { name: /rack-b-2 connected rack-b tcp@1\.0\.0/ }).waitFor();
  await page.getByRole('link', { name: 'rack-a-1' }).click();
  await heading(page, 'rack-a-1').waitFor();
  expect(new URL(page.url()).pathname).toBe(`/devices/${device}`);
  await page.getByRole('row', { name: /tcp 1\.0\.0 0x1000 5/ }).waitFor();
  await page.getByRole('img', { name: /Memory of 256 pages, 1 in use: tcp 1\.0\.0 at 0x1000, executable/ }).waitFor();
  await page.getByRole('article', { name: 'Program long-access' }).waitFor();

  await page.getByRole('button', { name: 'Load a build…' }).click();
  const question = page.getByRole('dialog', { name: 'Load a build on rack-a-1' });
  await question.getByText('substantially similar', { exact: true }).waitFor();
  await question.getByText('1.1.0 would replace 1.0.0. Accesses inside now: 5.').waitFor();
  await question.getByRole('button', { name: 'Load tcp@1.1.0' }).click();

  await heading(page, 'tcp@1.1.0 on rack-a-1').waitFor();
  const operations =
    '200 received, 210 looked-up, 220 compared, 220 linked, 230 loaded, 240 table-updated, 250 checked-references, 260 interrupted, 270 references-reset, 275 invalidated, 280 completed';
  await page.getByRole('figure', { name: `This load went through ${operations}` }).waitFor();
  expect(await page.locator('.edge.taken').count()).toBe(10);
  await page.getByText('replaced-interrupting', { exact: true }).first().waitFor();
  await page.getByRole('row', { name: /long-access prg_\w+ 5/ }).waitFor();
  await page.getByText('5 accesses: 5 retried, 0 ended without a retry').waitFor();
  load = new URL(page.url()).pathname;
  await page.reload();
  await heading(page, 'tcp@1.1.0 on rack-a-1').waitFor();
  expect(new URL(page.url()).pathname).toBe(load);

  await page.getByRole('link', { name: 'rack-a-1' }).click();
  await page.getByRole('img', { name: /tcp 1\.0\.0 at 0x1000, NX: a fetch faults; tcp 1\.1\.0 at 0x2000, executable/ }).waitFor();
  await page.getByRole('button', { name: 'Roll tcp back' }).click();
  const back = page.getByRole('dialog', { name: 'Roll tcp back on rack-a-1' });
  await back.getByLabel('Reason').fill('1.1.0 drops packets');
  await back.getByText('1.0.0 would replace 1.1.0').waitFor();
  await back.getByRole('button', { name: 'Roll tcp back to 1.0.0' }).click();
  await heading(page, 'tcp@1.0.0 on rack-a-1').waitFor();
  await page.getByText('1.1.0 drops packets').waitFor();
  await page.getByText('a rollback', { exact: true }).waitFor();
  await stop();
  await dashboard.service.post(`/v1/devices/${device}/programs`, shortCalls);
});

const shortCalls = { name: 'short-calls', module: 'tcp', export: 'checksum', arguments: [1480, 1], pauseMilliseconds: 5 };

test('keyboard only: sign in, open a device, load a build', async () => {
  const page = await dashboard.open('/', { role: null });
  await heading(page, 'Sign in to Patchbay').waitFor();
  await page.keyboard.type(dashboard.keyOf('operator'));
  await page.keyboard.press('Enter');
  await heading(page, 'Fleet').waitFor();
  await pressOn(page, page.getByRole('link', { name: 'rack-a-2' }));
  await heading(page, 'rack-a-2').waitFor();
  expect(await isFocused(page, heading(page, 'rack-a-2'))).toBe(true);
  const opener = page.getByRole('button', { name: 'Load a build…' });
  await pressOn(page, opener);
  const question = page.getByRole('dialog');
  await question.getByText('1.1.0 would replace 1.0.0').waitFor();
  await page.keyboard.press('Escape');
  await question.waitFor({ state: 'detached' });
  expect(await isFocused(page, opener)).toBe(true);
  await page.keyboard.press('Enter');
  await question.getByText('1.1.0 would replace 1.0.0').waitFor();
  await pressOn(page, question.getByRole('button', { name: 'Load tcp@1.1.0' }));
  await heading(page, 'tcp@1.1.0 on rack-a-2').waitFor();
  await page.getByText('replaced', { exact: true }).first().waitFor();
});

const isFocused = async (page: Page, locator: Locator) => (await locator.and(page.locator(':focus')).count()) === 1;

/** Tabs to an element and presses Enter. */
async function pressOn(page: Page, wanted: Locator): Promise<void> {
  await wanted.waitFor();
  for (let presses = 0; presses < 60; presses++) {
    if (await isFocused(page, wanted)) return page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
  }
  throw new Error('not reached by 60 presses of Tab');
}

test.each(['viewer', 'publisher'] as const)('shows a %s no action that changes devices', async (role) => {
  const page = await dashboard.open(`/devices/${device}`, { role });
  await page.getByRole('table', { name: 'Module table' }).waitFor();
  await page.getByRole('article', { name: 'Program long-access' }).waitFor();
  expect(await page.getByRole('button').allInnerTexts()).toEqual(['Sign out']);
});

test('keeps the filters of the fleet in the address, so that it can be shared', async () => {
  const page = await dashboard.open('/');
  await page.getByText('4 devices shown.').waitFor();
  await page.getByLabel('Name begins with').fill('rack-b');
  await page.getByText('2 devices shown.').waitFor();
  await page.getByLabel('State').selectOption('connected');
  await page.getByRole('link', { name: 'zone=south' }).first().click();
  await page.getByLabel('Version in memory').fill('1.0.0');
  await page.waitForURL('**/?name=rack-b&status=connected&label=zone%3Dsouth&version=1.0.0');
  const address = page.url();
  await page.reload();
  await page.getByText('2 devices shown.').waitFor();
  expect(page.url()).toBe(address);
  expect(await page.getByLabel('Name begins with').inputValue()).toBe('rack-b');
  const field = page.getByLabel('Label selector (press Enter)');
  await field.fill('zone in south');
  await page.keyboard.press('Enter');
  expect(await field.evaluate((input: { readonly validationMessage: string }) => input.validationMessage)).toContain(
    'at character 9: expected "("',
  );
  await field.fill('zone in (south,west), !beta');
  await page.keyboard.press('Enter');
  await page.waitForURL(({ searchParams }) => searchParams.get('selector') === 'zone in (south,west),!beta');
  await page.getByText('2 devices shown.').waitFor();
  await field.fill('fleet!=tests');
  await page.keyboard.press('Enter');
  await page.getByText('No device matches the filters.').waitFor();
  await page.getByRole('button', { name: 'Remove the requirement fleet!=tests' }).click();
  await page.getByText('2 devices shown.').waitFor();
  await field.fill('zone=nowhere');
  await page.keyboard.press('Enter');
  await page.getByText('No device matches the filters.').waitFor();
  await page.getByRole('button', { name: 'Clear all filters' }).click();
  await page.getByText('4 devices shown.').waitFor();
  await page.getByLabel('Order').selectOption('createdAt');
  await page.waitForURL('**/?sort=createdAt');
});

test('shows changes live', async () => {
  const id = await dashboard.deviceOf('rack-b-1');
  const [page, other] = [await dashboard.open('/'), await dashboard.open(`/devices/${id}`, { role: 'viewer' })];
  await page.getByText('live', { exact: true }).waitFor();
  await page.getByRole('row', { name: /rack-b-1 .* tcp@1\.0\.0/ }).waitFor();
  await other.getByText('No programs.').waitFor();
  // As in mobile browsers without SharedWorker.
  await other.addInitScript('delete globalThis.SharedWorker');
  await other.reload();
  await other.getByText('live', { exact: true }).waitFor();
  await dashboard.service.load('tcp', '1.1.0', [id]);
  await page.getByRole('row', { name: /rack-b-1 .* tcp@1\.1\.0/ }).waitFor();
  await other.getByRole('row', { name: /tcp 1\.1\.0 0x2000 0/ }).waitFor();
  const stop = await dashboard.keepInside(id, 3);
  await other.getByRole('row', { name: /tcp 1\.1\.0 0x2000 3/ }).waitFor();
  await stop();
  await dashboard.service.post(`/v1/devices/${id}/programs`, shortCalls);
  await shown(other.getByRole('img', { name: /^Calls per second, now: 1\.1\.0 [1-9]/ }));
});

test('eight windows are live at the same time, also after the first windows close', async () => {
  const id = await dashboard.deviceOf('rack-a-2');
  const windows: Page[] = [];
  for (let index = 0; index < 8; index++) {
    const window = await dashboard.open(`/devices/${id}`, { role: index === 5 ? 'viewer' : 'operator' });
    await window.getByText('live', { exact: true }).waitFor();
    windows.push(window);
  }
  const shows = async (what: string) => {
    for (const window of windows) await shown(window.getByRole('table', { name: 'Module table' }).getByRole('row', { name: what }));
  };
  await dashboard.push('seen', '1.0.0', '(module (func (export "seen")))');
  await dashboard.push('seen', '1.1.0', '(module (func (export "seen")))');
  await dashboard.service.load('seen', '1.0.0', [id]);
  await shows('seen 1.0.0');
  for (const window of windows.splice(0, 2)) await window.close();
  await dashboard.service.load('seen', '1.1.0', [id]);
  await shows('seen 1.1.0');
});

test('a window opens its own event stream when the shared worker script is missing after an upgrade', async () => {
  const page = await dashboard.open('/', { role: 'viewer' });
  await page.addInitScript(`{
    const make = trustedTypes.createPolicy.bind(trustedTypes);
    trustedTypes.createPolicy = (name) => make(name, { createScriptURL: () => '/assets/gone.js' });
  }`);
  await page.reload();
  await shown(page.getByText('live', { exact: true }));
});

test('with more keys than streams, the last window polls, and becomes live when another window closes', async () => {
  const first = await dashboard.open('/', { role: 'viewer' });
  for (const role of ['operator', 'publisher', 'admin'] as const)
    await (await dashboard.open('/', { role })).getByText('live', { exact: true }).waitFor();
  await first.getByText('live', { exact: true }).waitFor();
  const made = await dashboard.service.post('/v1/keys', { name: 'fifth', role: 'viewer' });
  const last = await dashboard.open('/', { role: null });
  await dashboard.signIn(last, String(made.body.secret));
  await last.getByText('refreshes every 5 s').waitFor();
  await last.getByRole('row', { name: /rack-a-1/ }).waitFor();
  await dashboard.service.post('/v1/devices', { name: 'late', host: 'rack-a' });
  await last.getByRole('row', { name: /late/ }).waitFor();
  await first.close();
  await shown(last.getByText('live', { exact: true }));
});

test('a window whose stream of events is held back by a proxy refreshes every 5 s, and is live when it comes through', async () => {
  const page = await dashboard.open('/', { role: 'viewer' });
  // Playwright cannot intercept requests of a shared worker.
  await page.addInitScript('delete globalThis.SharedWorker');
  await page.route('**/v1/events*', () => {});
  await page.reload();
  await page.getByText('refreshes every 5 s').waitFor();
  await dashboard.service.post('/v1/devices', { name: 'looked-for', host: 'rack-a' });
  const row = page.getByRole('row', { name: /looked-for/ });
  await row.waitFor();
  await page.unroute('**/v1/events*');
  await page.getByText('live', { exact: true }).waitFor();
  expect(await row.isVisible()).toBe(true);
});

test('shows programs with a stale address, and the state of each memory page', async () => {
  const id = await dashboard.deviceOf('rack-b-1');
  for (const version of ['1.0.0', '1.1.0', '1.2.0']) await dashboard.push('kept', version, '(module (func (export "go")))');
  await dashboard.service.load('kept', '1.0.0', [id]);
  const program = {
    name: 'keeps',
    module: 'kept',
    export: 'go',
    arguments: [],
    threads: 1,
    pauseMilliseconds: 5,
    addressing: 'hard-coded',
  } as const;
  const own = `/v1/devices/${id}/programs/${(await dashboard.service.post(`/v1/devices/${id}/programs`, program)).body.id}`;
  const page = await dashboard.open(`/devices/${id}`, { role: 'viewer' });
  // The program has called, so it has the address.
  await page
    .getByRole('article', { name: 'Program keeps' })
    .getByRole('img', { name: /^Calls per second, now: 1\.0\.0 [1-9]/ })
    .waitFor();
  const [deleting] = await dashboard.service.load('kept', '1.1.0', [id], { invalidation: 'delete' });
  await dashboard.service.load('kept', '1.2.0', [id], { invalidation: 'mark-invalid' });
  await page
    .getByRole('img', {
      name: /kept 1\.0\.0 at 0x\w+, deleted: .*kept 1\.1\.0 at 0x\w+, marked invalid: .*kept 1\.2\.0 at 0x\w+, executable/,
    })
    .waitFor();
  await page
    .getByRole('table', { name: 'ABI violations' })
    .getByRole('row', { name: /^keeps kept@1\.0\.0 0x\w+ not-present [1-9]/ })
    .waitFor();
  await page.getByText('last failure: segmentation fault').waitFor();
  await page.goto(`/loads/${deleting?.id}`);
  await shown(
    page
      .getByRole('table', { name: 'Programs that faulted on the stale address' })
      .getByRole('row', { name: /^keeps 0x\w+ \d+ not-present [1-9]/ }),
  );
  await dashboard.service.post(`${own}/stop`, undefined);
});

describe('a load', () => {
  /** Waits inside an access for the given milliseconds; the next version does not. */
  const waiting = '(func (export "hold") (param i32) (result i32) (call $sleep (local.get 0)) (i32.const 0))';
  const notWaiting = '(func (export "hold") (param i32) (result i32) (i32.const 0))';
  const module = (...content: readonly string[]) => `(module (import "kernel" "sleep" (func $sleep (param i32))) ${content.join(' ')})`;
  const hold = (milliseconds: number, threads: number) => {
    return { name: `hold-${milliseconds}`, module: 'hold', export: 'hold', arguments: [milliseconds], threads };
  };
  let on: string;
  beforeAll(async () => {
    on = await dashboard.deviceOf('rack-b-2');
    await dashboard.push('hold', '1.0.0', module(waiting));
    await dashboard.push('hold', '1.1.0', module(notWaiting));
    await dashboard.push('hold', '1.2.0', module(notWaiting, '(func (export "self_check") (result i32) (i32.const 7))'));
    await dashboard.push('hold', '1.3.0', module(notWaiting));
    await dashboard.service.load('hold', '1.0.0', [on]);
  });

  /** Loads a version and checks the highlighted path in FIG. 2: operations, edge labels and number of edges. */
  async function look(page: Page, version: string, terms: object, way: readonly string[], responses: readonly string[], edges: number) {
    const [made] = await dashboard.service.load('hold', version, [on], terms);
    await page.goto(`/loads/${made?.id}`);
    const name = await page.getByRole('figure', { name: 'This load went through' }).getAttribute('aria-label');
    expect(name?.split('went through ')[1]).toBe(way.join(', '));
    expect((await page.locator('.edge.taken text').allTextContents()).toSorted()).toEqual([...responses].toSorted());
    expect(await page.locator('.edge.taken').count()).toBe(edges);
  }

  test('that fails or is refused shows its path in FIG. 2', async () => {
    const page = await dashboard.open('/loads', { role: 'viewer' });
    const compared = ['200 received', '210 looked-up', '220 compared'];
    const linked = [...compared, '220 linked'];
    const swapped = [...linked, '230 loaded', '240 table-updated', '250 checked-references'];
    const stop = await dashboard.run(on, hold(600_000, 1));
    const drain = { strategy: 'drain', drainMilliseconds: 50 };
    await look(page, '1.1.0', drain, [...swapped, 'failed', '280 completed'], ['yes', 'yes', 'yes', 'drain timeout'], 8);
    await page
      .getByText(/accesses? (is|are) still inside|still inside|did not leave|not left/)
      .first()
      .waitFor();
    await stop();
    await look(page, '1.2.0', {}, [...linked, 'failed', '280 completed'], ['yes', 'yes', 'yes'], 6);
    await page.getByText('its self-check returned 7, expected 0').first().waitFor();
    await look(page, '1.0.0', {}, [...compared, 'refused', '280 completed'], ['yes', 'no'], 4);
    const database = new Database(join(dashboard.service.folder, 'patchbay.db'));
    database.exec(`UPDATE Build SET envelope = NULL WHERE module = 'hold' AND version = '1.3.0'`);
    database.close();
    await look(page, '1.3.0', {}, ['200 received', 'refused', '280 completed'], ['image not verified'], 2);
    await page.getByText('refused-image', { exact: true }).first().waitFor();
  });

  test('that drained shows its path in FIG. 2', async () => {
    const page = await dashboard.open('/loads', { role: 'viewer' });
    // Different durations, so that an access is always inside, but none for long.
    const stops = [];
    for (const time of [190, 310, 470]) stops.push(await dashboard.run(on, { ...hold(time, 1), pauseMilliseconds: 5 }));
    const way = [
      '200 received',
      '210 looked-up',
      '220 compared',
      '220 linked',
      '230 loaded',
      '240 table-updated',
      '250 checked-references',
    ];
    const drained = [...way, '270 references-reset', '275 invalidated', '280 completed'];
    await look(page, '1.1.0', { strategy: 'drain', drainMilliseconds: 30_000 }, drained, ['yes', 'yes', 'yes', 'drained'], 9);
    await page.getByText('replaced', { exact: true }).first().waitFor();
    for (const stop of stops) await stop();
  });

  test('shows the accesses that it waits for while it drains, and can be cancelled or injected', async () => {
    const waiting = await dashboard.deviceOf('rack-b-1');
    const { body } = await dashboard.service.get(`/v1/devices/${waiting}`);
    const before = (body.moduleTable ?? []).find(({ module }) => module === 'tcp')?.version ?? '';
    const version = before === '1.0.0' ? '1.1.0' : '1.0.0';
    const stop = await dashboard.keepInside(waiting, 2);
    const drain = async () => {
      const terms = { strategy: 'drain', drainMilliseconds: 600_000, versionPolicy: 'different' } as const;
      const { body: asked } = await dashboard.service.post('/v1/loads', { module: 'tcp', version, devices: [waiting], ...terms });
      const page = await dashboard.open(`/loads/${asked.loads?.[0]?.id}`);
      await page.getByText(`2 accesses inside tcp@${before}, since`).waitFor();
      await page.getByRole('row', { name: /long-access 2/ }).waitFor();
      return page;
    };
    const first = await drain();
    await first.getByRole('button', { name: 'Cancel load' }).click();
    await first.getByText('cancelled', { exact: true }).first().waitFor();
    await first
      .getByText(/^cancelled by key_\w+: 2 accesses were still inside/)
      .first()
      .waitFor();
    await first.getByRole('figure', { name: /250 checked-references, cancelled, 280 completed/ }).waitFor();
    expect(await first.getByRole('button', { name: 'Inject now' }).count()).toBe(0);
    const second = await drain();
    await second.getByRole('button', { name: 'Inject now' }).click();
    await second.getByText('replaced-interrupting', { exact: true }).first().waitFor();
    await second.getByText('2 accesses: 2 retried, 0 ended without a retry').waitFor();
    await dashboard.service.load('tcp', before, [waiting], { versionPolicy: 'different' });
    await stop();
  });

  test('can be cancelled while its host is disconnected', async () => {
    // Registered, but does not stream orders.
    await new Agent(dashboard.service).register('rack-c', ['rack-c-1']);
    const away = await dashboard.deviceOf('rack-c-1');
    const asked = await dashboard.service.post('/v1/loads', { module: 'tcp', version: '1.1.0', devices: [away] });
    const page = await dashboard.open('/audit');
    const named = page.waitForRequest((request) => new URL(request.url()).pathname === '/v1/devices');
    await page.goto(`/loads?batch=${asked.body.batch}`);
    // Requests the names of these devices only.
    expect(new URL((await named).url()).searchParams.getAll('id')).toEqual([away]);
    await page.getByRole('row', { name: /tcp@1\.1\.0 rack-c-1 queued/ }).waitFor();
    await page.getByRole('link', { name: 'tcp@1.1.0' }).click();
    await page.getByText('Queued until the host of rack-c-1 takes the load.').waitFor();
    await page.getByRole('figure', { name: 'the device has not reported yet' }).waitFor();
    await page.getByRole('button', { name: 'Cancel load' }).click();
    await page.getByText('It ended as cancelled, without the device.').waitFor();
    await page.getByRole('figure', { name: 'this load did not reach its device' }).waitFor();
    expect(await page.getByRole('button', { name: 'Cancel load' }).count()).toBe(0);
  });
});

/** Every page, the API path that it requests, and an element that it shows after loading. */
const pages = () => [
  { name: 'fleet', path: '/', api: '/v1/devices', shown: (page: Page) => page.getByRole('table', { name: 'Devices' }) },
  {
    name: 'device',
    path: `/devices/${device}`,
    api: `/v1/devices/${device}`,
    shown: (page: Page) => page.getByRole('table', { name: 'Module table' }),
  },
  { name: 'loads', path: '/loads', api: '/v1/loads', shown: (page: Page) => page.getByRole('table', { name: 'Loads' }) },
  { name: 'load', path: load, api: '/v1/loads/', shown: (page: Page) => page.getByRole('figure', { name: /went through/ }) },
];

test('each page shows loading and failures, and recovers automatically', async () => {
  const page = await dashboard.open('/audit');
  await failAndComeBack(page, pages());
});

test('each page has an empty state', async () => {
  const made = await dashboard.service.post('/v1/devices', { name: 'empty', host: 'rack-b' });
  const page = await dashboard.open(`/devices/${made.body.id}`);
  for (const text of [
    'No module is in memory. Load a build.',
    'The memory is empty.',
    'No programs.',
    'No module has been installed yet.',
    'No loads yet.',
  ])
    await page.getByText(text).waitFor();
  await go(page, '/loads?module=none');
  await page.getByText('No load matches the filters.').waitFor();
  await go(page, '/devices/dev_none');
  await page.getByText('The object does not exist').waitFor();
  await go(page, '/loads/lod_none');
  await shown(page.getByText('The object does not exist'));
});

describe('the key', () => {
  test('is requested again after it was revoked, and sign-in returns to the same page', async () => {
    const made = await dashboard.service.post('/v1/keys', { name: 'short-lived', role: 'operator' });
    const page = await dashboard.open('/?name=rack-a', { role: null });
    await dashboard.signIn(page, String(made.body.secret));
    await page.getByText('2 devices shown.').waitFor();
    const still = await dashboard.open('/rollouts/new', { role: null });
    await dashboard.signIn(still, String(made.body.secret));
    await still.getByText('live', { exact: true }).waitFor();
    // The page notices the revocation only through its event stream.
    await still.route('**/v1/modules**', (route) => route.abort());
    await dashboard.service.post(`/v1/keys/${made.body.id}/revoke`, undefined);
    for (const signedOut of [page, still]) await heading(signedOut, 'Sign in to Patchbay').waitFor();
    await page.getByText('The API key is no longer valid.').waitFor();
    await page.getByLabel('API key').fill('patchbay_wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('unknown API key').waitFor();
    await dashboard.signIn(page, dashboard.keyOf('viewer'));
    await page.getByText('2 devices shown.').waitFor();
    expect(new URL(page.url()).search).toBe('?name=rack-a');
  });

  test('is stored by the tab if the user agrees, and deleted on sign-out', async () => {
    const page = await dashboard.open('/');
    await page.reload();
    await heading(page, 'Fleet').waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.reload();
    await heading(page, 'Sign in to Patchbay').waitFor();
    expect(await page.evaluate<number>('sessionStorage.length + localStorage.length + document.cookie.length')).toBe(0);
    await page.getByLabel('Stay signed in').uncheck();
    await dashboard.signIn(page, dashboard.keyOf('viewer'));
    expect(await page.evaluate<number>('sessionStorage.length + localStorage.length + document.cookie.length')).toBe(0);
    await page.reload();
    await heading(page, 'Sign in to Patchbay').waitFor();
  });
});

test('opens without sign-in if authentication is disabled', async () => {
  const open = new TestService();
  open.keys = 'off';
  await open.start();
  try {
    const page = await dashboard.open(`${open.url}/`, { role: null });
    await page.getByText('No devices yet.').waitFor();
    await page.getByText('no device host is registered').waitFor();
    expect(await page.getByRole('button', { name: 'Sign out' }).count()).toBe(0);
    await page.goto(`${open.url}/loads`);
    await page.getByText('No loads yet.').waitFor();
  } finally {
    await open.close();
  }
});

test('pages pass the axe accessibility checks and fit a narrow window', { timeout: 300_000 }, async () => {
  const page = await dashboard.open('/', { role: null });
  const look = (what: string) => lookForBarriers(page, what);
  await heading(page, 'Sign in to Patchbay').waitFor();
  await look('sign in');
  await dashboard.signIn(page, dashboard.keyOf('operator'));
  for (const { name, path, shown } of pages()) {
    await go(page, path);
    await shown(page).waitFor();
    await look(name);
    if (name === 'device') {
      await page.getByRole('button', { name: 'Load a build…' }).click();
      await page.getByRole('dialog').getByRole('combobox', { name: 'Module' }).selectOption('tcp');
      await page.getByText('substantially similar', { exact: true }).waitFor();
      await page.getByText('Options: inject').click();
      await look('the dialog to load');
      await page.keyboard.press('Escape');
    }
  }
  await go(page, '/?label=zone%3Dnowhere');
  await page.getByText('No device matches the filters.').waitFor();
  await look('an empty list');
});

test('draws the modules of a device, what they import, and the links that nothing resolves', async () => {
  const importing = (...links: [module: string, name: string][]) => `(module
    ${links.map(([module, name]) => `(import "${module}" "${name}" (func $${name} (param i32 i32) (result i32)))`).join(' ')}
    (func (export "serve") (param i32 i32) (result i32)
      ${links.map(([, name]) => `(drop (call $${name} (local.get 0) (local.get 1)))`).join(' ')} (local.get 0)))`;
  await dashboard.push('http', '2.1.0', importing(['tcp', 'checksum'], ['tls', 'open'], ['cache', 'serve']));
  await dashboard.push('cache', '1.0.0', importing(['http', 'serve']));
  const drawn = await dashboard.deviceOf('rack-b-1');
  for (const [module, version] of [['http', '2.1.0'] as const, ['cache', '1.0.0'] as const])
    await dashboard.service.load(module, version, [drawn], { linkPolicy: 'off' });
  const page = await dashboard.open(`/devices/${drawn}`);
  const picture = page.getByRole('img', { name: /\d modules with 4 links, unresolved: http to tls\. The table below lists them\./ });
  await picture.waitFor();
  for (const label of ['http@2.1.0', 'cache@1.0.0', 'tls', 'not in memory', 'unresolved'])
    await picture.getByText(label, { exact: true }).waitFor();
  const table = page.getByRole('table', { name: 'Imports' });
  await table.getByRole('row', { name: /http@2\.1\.0 tcp@1\.\d\.0 checksum resolved/ }).waitFor();
  await table.getByRole('row', { name: /cache@1\.0\.0 http@2\.1\.0 serve resolved/ }).waitFor();
  await table.getByText('http@2.1.0 imports tls.open (i32, i32) → i32: tls is not in memory').waitFor();
  await lookForBarriers(page, 'the picture of modules');
});

test('pages report an unreachable service, keep their data, and reconnect automatically', async () => {
  const page = await dashboard.open('/');
  await page.getByText('live', { exact: true }).waitFor();
  await page.getByRole('link', { name: 'rack-a-1' }).waitFor();
  await dashboard.service.stop();
  await page.getByText('connection lost, reconnecting…').waitFor();
  await page.getByText('Cannot reach the service').first().waitFor();
  await page.getByText('Showing the last data received.').first().waitFor();
  expect(await page.getByRole('link', { name: 'rack-a-1' }).count()).toBe(1);
  await dashboard.service.start();
  await page.getByText('live', { exact: true }).waitFor();
  await page.getByText('Cannot reach the service').first().waitFor({ state: 'detached' });
  await dashboard.service.stop();
  await page.getByText('connection lost, reconnecting…').waitFor();
  await dashboard.service.start();
  await page.getByText('live', { exact: true }).waitFor();
  expect(itemsOf(await dashboard.service.get('/v1/devices')).length).toBeGreaterThan(0);
});

test('no page caused errors or contacted another host, and no key is in an address or in the log', () => {
  const { addresses, wrongs } = dashboard.watched;
  expect(wrongs).toEqual([]);
  expect(addresses.length).toBeGreaterThan(100);
  expect(addresses.filter((address) => new URL(address).hostname !== '127.0.0.1')).toEqual([]);
  for (const role of ['viewer', 'operator', 'publisher'] as const) {
    const [, secret = ''] = /^patchbay_[0-9a-f]{32}_(.{43})$/.exec(dashboard.keyOf(role)) ?? [];
    expect(secret).not.toBe('');
    expect(addresses.filter((address) => address.includes(secret))).toEqual([]);
    expect(dashboard.log.text).not.toContain(secret);
  }
});

test('the dashboard has 150 kB or less, compressed', () => {
  const folder = new URL('../../web/built/assets/', import.meta.url);
  const bytes = readdirSync(folder).map((name) => gzipSync(readFileSync(new URL(name, folder))).length);
  expect(bytes.reduce((sum, size) => sum + size, 0)).toBeLessThan(150_000);
});

test('unloads a module, with the path of the unload in the figure', async () => {
  const unloading = await dashboard.deviceOf('rack-b-1');
  const [installed] = itemsOf(await dashboard.service.get(`/v1/devices/${unloading}/modules/tcp/history`));
  const page = await dashboard.open(`/devices/${unloading}`);
  await page.getByRole('button', { name: 'Unload tcp' }).click();
  const dialog = page.getByRole('dialog', { name: 'Unload tcp from rack-b-1' });
  await dialog.getByText(`Removes tcp@${installed?.version} from the module table.`).waitFor();
  // An earlier test loads http, which imports tcp.
  await dialog
    .getByRole('status')
    .getByText(/would be unloaded|^http@2\.1\.0, which is in memory, imports tcp\.checksum/)
    .waitFor();
  await dialog.getByLabel('Unload it although').check();
  await dialog.getByRole('status').getByText(`tcp@${installed?.version} would be unloaded. Accesses inside now: `).waitFor();
  await dialog.getByLabel('Reason').fill('retired');
  await dialog.getByRole('button', { name: 'Unload tcp' }).click();
  await heading(page, `Unload tcp@${installed?.version} on rack-b-1`).waitFor();
  const operations = '210 looked-up, 220 linked, 240 table-updated, 250 checked-references, 275 invalidated, 280 completed';
  await page.getByRole('figure', { name: `This load went through ${operations}` }).waitFor();
  expect(await page.locator('.edge.taken').count()).toBe(6);
  await page.getByText('unloaded', { exact: true }).first().waitFor();
  await page.getByText(`${installed?.version} at ${installed?.address}, now nothing`).waitFor();
  await page.getByRole('link', { name: 'rack-b-1' }).click();
  await page.getByRole('row', { name: /tcp@1\.\d\.0 unload unloaded/ }).waitFor();
});

test('rolls a patch set back from one of its modules', async () => {
  const { service } = dashboard;
  const device = await dashboard.deviceOf('rack-b-2');
  await service.push('arp', '1.0.0', workModule(1));
  const builds = [
    { module: 'arp', version: '1.0.0' },
    { module: 'tcp', version: '1.1.0' },
  ];
  expect((await service.postRaw('/v1/patch-sets', { name: 'net', version: '1.0.0', builds })).status).toBe(201);
  expect((await service.postRaw('/v1/loads', { patchSet: { name: 'net', version: '1.0.0' }, devices: [device] })).status).toBe(202);
  const page = await dashboard.open(`/devices/${device}`);
  await page.getByRole('row', { name: /tcp 1\.1\.0/ }).waitFor();
  await page.getByRole('button', { name: 'Roll tcp back' }).click();
  const back = page.getByRole('dialog', { name: 'Roll tcp back on rack-b-2' });
  await back.getByLabel('What to roll back').selectOption('patch set net@1.0.0');
  await back.getByLabel('Reason').fill('arp floods the network');
  await back.getByRole('row', { name: /arp 1\.0\.0 unload/ }).waitFor();
  await back.getByRole('row', { name: /tcp 1\.1\.0 1\.0\.0/ }).waitFor();
  await back.getByRole('button', { name: 'Revert net@1.0.0' }).click();
  await heading(page, 'net@1.0.0 on rack-b-2').waitFor();
  await page.getByText('a rollback', { exact: true }).waitFor();
  await page.getByText('replaced', { exact: true }).first().waitFor();
});

test('creates a group, shows its devices, edits their labels, and deletes the group', async () => {
  const page = await dashboard.open('/groups');
  await page.getByText('No groups yet.').waitFor();
  await page.getByRole('button', { name: 'New group…' }).click();
  const creation = page.getByRole('dialog', { name: 'New group' });
  await creation.getByLabel('Name').fill('rack');
  await creation.getByLabel('Label selector').fill('zone in south');
  await creation.getByText('Invalid label selector: at character 9: expected "("').waitFor();
  await creation.getByLabel('Label selector').fill('zone=south');
  await creation.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('button', { name: 'Edit rack' }).click();
  const editing = page.getByRole('dialog', { name: 'Edit rack' });
  await editing.getByLabel('Name').fill('second-rack');
  await editing.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('link', { name: 'second-rack' }).click();
  await heading(page, 'Fleet').waitFor();
  await page.getByText('2 devices shown.').waitFor();
  await page.getByRole('button', { name: 'Edit labels of these devices…' }).click();
  const labels = page.getByRole('dialog', { name: 'Edit labels of 2 devices' });
  await labels.getByLabel('Labels, separated by spaces').fill('owner');
  await labels.getByText('Write each label as key=value').waitFor();
  await labels.getByLabel('Labels, separated by spaces').fill('owner=team fleet-');
  await labels.getByRole('button', { name: 'Edit labels of 2 devices' }).click();
  await page.getByRole('link', { name: 'owner=team' }).first().waitFor();
  expect(itemsOf(await dashboard.service.get('/v1/devices?selector=owner=team,!fleet'))).toHaveLength(2);
  await page.goto(`${dashboard.service.url}/loads?group=second-rack&selector=owner`);
  await page.getByText(/\d+ loads? shown\./).waitFor();
  await page.getByLabel('Label selector').fill('owner!=team');
  await page.getByText('No load matches the filters.').waitFor();
  await page.goto(`${dashboard.service.url}/groups`);
  await page.getByRole('button', { name: 'Delete second-rack' }).click();
  await page.getByRole('button', { name: 'Delete the group' }).click();
  await page.getByText('No groups yet.').waitFor();
});

test('renames and decommissions a device, and then its host', async () => {
  const page = await dashboard.open(`/devices/${await dashboard.deviceOf('rack-b-1')}`);
  await page.getByRole('button', { name: 'Rename…' }).click();
  await page.getByRole('dialog', { name: 'Rename rack-b-1' }).getByLabel('Name').fill('router-1');
  await page.getByRole('button', { name: 'Rename', exact: true }).click();
  await heading(page, 'router-1').waitFor();
  await page.getByRole('button', { name: 'Decommission…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Decommission router-1' });
  await dialog.getByLabel('Reason').fill('the board is broken');
  await dialog.getByRole('button', { name: 'Decommission the device' }).click();
  await page.getByText(/^Decommissioned .*: the board is broken\./).waitFor();
  expect(await page.getByRole('button', { name: 'Load a build…' }).count()).toBe(0);
  await page.goto(`${dashboard.service.url}/`);
  await page.getByRole('button', { name: 'Decommission the host rack-b' }).click();
  const ofHost = page.getByRole('dialog', { name: 'Decommission rack-b' });
  await ofHost.getByLabel('Reason').fill('the rack was scrapped');
  await ofHost.getByRole('button', { name: 'Decommission the host' }).click();
  await page.getByRole('button', { name: 'Decommission the host rack-b' }).waitFor({ state: 'detached' });
  const names = itemsOf(await dashboard.service.get('/v1/devices?status=decommissioned')).map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(['rack-b-2', 'router-1']));
});
