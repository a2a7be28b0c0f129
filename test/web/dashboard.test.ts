// The dashboard in a real browser on a live service: the main job from end to end, and what each page says when things are not as they should be.

import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import type { Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Bench, itemsOf } from '../api/fixture.ts';
import { barriersOf, Dashboard, failAndComeBack, isWiderThanItsWindow } from './dashboard.ts';

let dashboard: Dashboard;
let device: string;
/** A load that interrupted somebody. */
let load: string;
beforeAll(async () => {
  dashboard = await Dashboard.start();
  device = await dashboard.deviceOf('rack-a-1');
});
afterAll(() => dashboard?.stop());

const heading = (page: Page, name: string | RegExp) => page.getByRole('heading', { level: 1, name });
const leave = (page: Page) => page.context().close();

test('the main job: see the fleet, load a build while threads are inside the old version, watch what came of it, go back', async () => {
  await dashboard.keepInside(device, 5);
  const page = await dashboard.open('/');
  await heading(page, 'Fleet').waitFor();
  await page.getByRole('row', { name: /rack-b-2 connected rack-b tcp@1\.0\.0/ }).waitFor();
  await page.getByRole('link', { name: 'rack-a-1' }).click();
  await heading(page, 'rack-a-1').waitFor();
  expect(new URL(page.url()).pathname).toBe(`/devices/${device}`);
  await page.getByRole('row', { name: /tcp 1\.0\.0 0x1000 5/ }).waitFor();
  await page.getByRole('img', { name: /Memory of 256 pages, 1 in use: tcp 1\.0\.0 at 0x1000, may be run/ }).waitFor();
  await page.getByRole('article', { name: 'Program long-access' }).waitFor();

  await page.getByRole('button', { name: 'Load a build…' }).click();
  const question = page.getByRole('dialog', { name: 'Load a build on rack-a-1' });
  await question.getByText('substantially similar', { exact: true }).waitFor();
  await question.getByText('1.1.0 would take the place of 1.0.0, with 5 accesses inside now.').waitFor();
  await question.getByRole('button', { name: 'Load tcp@1.1.0' }).click();

  await heading(page, 'tcp@1.1.0 on rack-a-1').waitFor();
  const operations =
    '200 received, 210 looked-up, 220 compared, 230 loaded, 240 table-updated, 250 checked-references, 260 interrupted, 270 references-reset, 275 invalidated, 280 completed';
  await page.getByRole('figure', { name: `This load went through ${operations}` }).waitFor();
  expect(await page.locator('.edge.taken').count()).toBe(9);
  await page.getByText('replaced-interrupting', { exact: true }).first().waitFor();
  await page.getByRole('row', { name: /long-access prg_\w+ 5/ }).waitFor();
  await page.getByText('5 accesses: 5 retried in the new version, 0 did not').waitFor();
  load = new URL(page.url()).pathname;
  await page.reload();
  await heading(page, 'tcp@1.1.0 on rack-a-1').waitFor();
  expect(new URL(page.url()).pathname).toBe(load);

  await page.getByRole('link', { name: 'rack-a-1' }).click();
  await page.getByRole('img', { name: /tcp 1\.0\.0 at 0x1000, NX: a fetch faults; tcp 1\.1\.0 at 0x2000, may be run/ }).waitFor();
  await page.getByRole('button', { name: 'Roll tcp back' }).click();
  const back = page.getByRole('dialog', { name: 'Roll tcp back on rack-a-1' });
  await back.getByLabel('Reason').fill('1.1.0 drops packets');
  await back.getByText('1.0.0 would take the place of 1.1.0').waitFor();
  await back.getByRole('button', { name: 'Roll tcp back to 1.0.0' }).click();
  await heading(page, 'tcp@1.0.0 on rack-a-1').waitFor();
  await page.getByText('1.1.0 drops packets').waitFor();
  await page.getByText('a rollback', { exact: true }).waitFor();
  await leave(page);
});

test('by keyboard alone: sign in, open a device, load a build', async () => {
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
  await question.getByText('1.1.0 would take the place of 1.0.0').waitFor();
  await page.keyboard.press('Escape');
  await question.waitFor({ state: 'detached' });
  expect(await isFocused(page, opener)).toBe(true);
  await page.keyboard.press('Enter');
  await question.getByText('1.1.0 would take the place of 1.0.0').waitFor();
  await pressOn(page, question.getByRole('button', { name: 'Load tcp@1.1.0' }));
  await heading(page, 'tcp@1.1.0 on rack-a-2').waitFor();
  await page.getByText('replaced', { exact: true }).first().waitFor();
  await leave(page);
});

const isFocused = async (page: Page, locator: Locator) => (await locator.and(page.locator(':focus')).count()) === 1;

/** Tabs to what is meant, and presses Enter there. */
async function pressOn(page: Page, wanted: Locator): Promise<void> {
  await wanted.waitFor();
  for (let presses = 0; presses < 60; presses++) {
    if (await isFocused(page, wanted)) return page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
  }
  throw new Error('60 presses of Tab do not lead there');
}

test.each(['viewer', 'publisher'] as const)('who is a %s is offered nothing that changes devices', async (role) => {
  const page = await dashboard.open(`/devices/${device}`, { role });
  await page.getByRole('table', { name: 'Module table' }).waitFor();
  await page.getByRole('article', { name: 'Program long-access' }).waitFor();
  expect(await page.getByRole('button').allInnerTexts()).toEqual(['Sign out']);
  await leave(page);
});

test('the fleet is filtered in the address, which can be sent to somebody', async () => {
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
  await page.getByLabel('Label, then Enter').fill('zone=nowhere');
  await page.keyboard.press('Enter');
  await page.getByText('No device is like that.').waitFor();
  await page.getByRole('button', { name: 'Clear all filters' }).click();
  await page.getByText('4 devices shown.').waitFor();
  await page.getByLabel('Order').selectOption('createdAt');
  await page.waitForURL('**/?sort=createdAt');
  await leave(page);
});

test('what happens is shown as it happens', async () => {
  const id = await dashboard.deviceOf('rack-b-1');
  const [page, other] = [await dashboard.open('/'), await dashboard.open(`/devices/${id}`, { role: 'viewer' })];
  await page.getByText('live', { exact: true }).waitFor();
  await page.getByRole('row', { name: /rack-b-1 .* tcp@1\.0\.0/ }).waitFor();
  await other.getByText('No program runs here.').waitFor();
  await dashboard.bench.load('tcp', '1.1.0', [id]);
  await page.getByRole('row', { name: /rack-b-1 .* tcp@1\.1\.0/ }).waitFor();
  await other.getByRole('row', { name: /tcp 1\.1\.0 0x2000 0/ }).waitFor();
  await dashboard.keepInside(id, 3);
  await other.getByRole('row', { name: /tcp 1\.1\.0 0x2000 3/ }).waitFor();
  const body = { name: 'short-calls', module: 'tcp', export: 'checksum', arguments: [1480, 1], pauseMilliseconds: 5 };
  await dashboard.bench.post(`/v1/devices/${id}/programs`, body);
  await other.getByRole('img', { name: /^Calls per second, now: 1\.1\.0 [1-9]/ }).waitFor();
  await leave(page);
  await leave(other);
});

/** Every page, the part of the API that it is made of, and something that is on it when all is well. */
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

test('each page says that it is loading, and what went wrong, and comes back by itself', async () => {
  const page = await dashboard.open('/');
  await failAndComeBack(page, pages());
  await leave(page);
});

test('each page says that there is nothing', async () => {
  const made = await dashboard.bench.post('/v1/devices', { name: 'empty', host: 'rack-b' });
  const page = await dashboard.open(`/devices/${made.body['id']}`);
  for (const text of [
    'No module is in memory: load a build, and it is.',
    'Nothing is in memory.',
    'No program runs here.',
    'Nothing has ever been in its module table.',
    'Nothing has been loaded on it.',
  ])
    await page.getByText(text).waitFor();
  await page.goto('/loads?module=none');
  await page.getByText('No load is like that.').waitFor();
  await page.goto('/devices/dev_none');
  await page.getByText('There is no such object').waitFor();
  await page.goto('/loads/lod_none');
  await page.getByText('There is no such object').waitFor();
  await leave(page);
});

describe('the key', () => {
  test('is asked for again when it is not good any more, and leads back to where one was', async () => {
    const made = await dashboard.bench.post('/v1/keys', { name: 'short-lived', role: 'operator' });
    const page = await dashboard.open('/?name=rack-a', { role: null });
    await dashboard.signIn(page, String(made.body['secret']));
    await page.getByText('2 devices shown.').waitFor();
    await dashboard.bench.post(`/v1/keys/${made.body['id']}/revoke`, undefined);
    await heading(page, 'Sign in to Patchbay').waitFor();
    await page.getByText('The key is not good any more').waitFor();
    await page.getByLabel('API key').fill('patchbay_wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('the service does not know this key').waitFor();
    await dashboard.signIn(page, dashboard.keyOf('viewer'));
    await page.getByText('2 devices shown.').waitFor();
    expect(new URL(page.url()).search).toBe('?name=rack-a');
    await leave(page);
  });

  test('is remembered by the tab where its user likes, and forgotten when they sign out', async () => {
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
    await leave(page);
  });
});

test('a service that asks nobody for a key is opened without one', async () => {
  const open = new Bench();
  open.keys = 'off';
  await open.start();
  try {
    const page = await dashboard.open(`${open.url}/`, { role: null });
    await page.getByText('There is no device yet.').waitFor();
    await page.getByText('no device host has ever registered').waitFor();
    expect(await page.getByRole('button', { name: 'Sign out' }).count()).toBe(0);
    await page.goto(`${open.url}/loads`);
    await page.getByText('Nothing has been loaded yet').waitFor();
    await leave(page);
  } finally {
    await open.close();
  }
});

test.each(['light', 'dark'] as const)('nobody is kept out of a page by what axe finds, nor by a narrow window: %s', async (scheme) => {
  const page = await dashboard.open('/', { scheme, width: 360, role: null });
  const look = async (what: string) => {
    expect(await isWiderThanItsWindow(page), `${what} at 360 pixels`).toBe(false);
    expect(await barriersOf(page), what).toEqual([]);
  };
  await heading(page, 'Sign in to Patchbay').waitFor();
  await look('sign in');
  await dashboard.signIn(page, dashboard.keyOf('operator'));
  for (const { name, path, shown } of pages()) {
    await page.setViewportSize({ width: 360, height: 740 });
    await page.goto(path);
    await shown(page).waitFor();
    await look(name);
    if (name === 'device') {
      await page.getByRole('button', { name: 'Load a build…' }).click();
      await page.getByText('substantially similar', { exact: true }).waitFor();
      await page.getByText('How it is loaded').click();
      await look('the dialog to load');
      await page.keyboard.press('Escape');
    }
    await page.setViewportSize({ width: 1280, height: 800 });
    expect(await barriersOf(page, ['color-contrast']), `${name} on a wide screen`).toEqual([]);
  }
  await page.goto('/?label=zone%3Dnowhere');
  await page.getByText('No device is like that.').waitFor();
  await look('an empty list');
  await leave(page);
});

test('while the service is away pages say so, keep what they know, and come back by themselves', async () => {
  const page = await dashboard.open('/');
  await page.getByText('live', { exact: true }).waitFor();
  await page.getByRole('link', { name: 'rack-a-1' }).waitFor();
  await dashboard.bench.stop();
  await page.getByText('connection lost, looking for it…').waitFor();
  await page.getByText('The service cannot be reached').first().waitFor();
  await page.getByText('What is below is what was last answered.').first().waitFor();
  expect(await page.getByRole('link', { name: 'rack-a-1' }).count()).toBe(1);
  await dashboard.bench.start();
  await page.getByText('live', { exact: true }).waitFor();
  await page.getByText('The service cannot be reached').first().waitFor({ state: 'detached' });
  await dashboard.bench.stop();
  await page.getByText('connection lost, looking for it…').waitFor();
  await dashboard.bench.start();
  await page.getByText('live', { exact: true }).waitFor();
  expect(itemsOf(await dashboard.bench.get('/v1/devices')).length).toBeGreaterThan(0);
  await leave(page);
});

test('no page did anything that it may not, and no key is in an address or in the log', () => {
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

test('it is small: at most 150 kB, compressed', () => {
  const folder = new URL('../../web/built/assets/', import.meta.url);
  const bytes = readdirSync(folder).map((name) => gzipSync(readFileSync(new URL(name, folder))).length);
  expect(bytes.reduce((sum, size) => sum + size, 0)).toBeLessThan(150_000);
});
