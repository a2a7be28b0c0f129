// The pages of groups, moves and webhooks in a real browser on a live service.

import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { assertSuccess, createPatchbayClient } from '../../src/client/client.ts';
import { itemsOf, until } from '../service/test-service.ts';
import { Receiver } from '../service/webhooks/receiver.ts';
import { Dashboard, failAndComeBack, lookForBarriers, shown } from './dashboard.ts';

let dashboard: Dashboard;
let receiver: Receiver;
let database: Database.Database;
beforeAll(async () => {
  dashboard = await Dashboard.start();
  receiver = await new Receiver().start();
  database = new Database(join(dashboard.service.folder, 'patchbay.db'));
});
afterEach(() => dashboard.closePages());
afterAll(async () => {
  database?.close();
  receiver?.close();
  await dashboard?.stop();
});

const heading = (page: Page, name: string | RegExp) => page.getByRole('heading', { level: 1, name });
const button = (page: Page | Locator, name: string | RegExp) => page.getByRole('button', { name, exact: true });
const days = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];

describe('maintenance windows of a group', () => {
  /** A day on which no test runs, so that its windows are closed. */
  const closedDay = days[(new Date().getUTCDay() + 3) % 7] ?? 'monday';
  const row = (page: Page) => page.getByRole('row', { name: /^shops zone=south/ });

  test('are added, edited and removed', async () => {
    const page = await dashboard.open('/groups');
    await page.getByText('No groups yet.').waitFor();
    await button(page, 'New group…').click();
    const creation = page.getByRole('dialog', { name: 'New group' });
    await creation.getByLabel('Name', { exact: true }).fill('shops');
    await creation.getByLabel('Label selector').fill('zone=south');
    for (const number of [1, 2]) {
      await button(creation, 'Add a maintenance window').click();
      const window = creation.getByRole('group', { name: `Maintenance window ${number}` });
      for (const day of days) await window.getByLabel(day).setChecked(day === closedDay);
      await window.getByLabel('From').fill('02:00');
      await window.getByLabel('Until').fill('04:00');
      await window.getByLabel('Time zone').fill(number === 1 ? 'UTC' : 'Europe/Nowhere');
    }
    await button(creation, 'Save').click();
    const zone = creation.getByRole('group', { name: 'Maintenance window 2' }).getByLabel('Time zone');
    await zone.and(page.locator(':focus')).waitFor();
    await creation.getByText('unknown time zone "Europe/Nowhere"').first().waitFor();
    await lookForBarriers(page, 'the dialog of a group');
    await zone.fill('Europe/Berlin');
    await button(creation, 'Save').click();
    await creation.waitFor({ state: 'detached' });
    await row(page).getByText(`${closedDay} 02:00–04:00 UTC; ${closedDay} 02:00–04:00 Europe/Berlin`).waitFor();

    await button(page, 'Edit shops').click();
    const edit = page.getByRole('dialog', { name: 'Edit shops' });
    const first = edit.getByRole('group', { name: 'Maintenance window 1' });
    await first.getByLabel(closedDay).uncheck();
    await first.getByText('Select one day or more.').waitFor();
    expect(await button(edit, 'Save').isDisabled()).toBe(true);
    await first.getByLabel(closedDay).check();
    await first.getByLabel('Until').fill('01:00');
    await first.getByLabel('Until (next day)').waitFor();
    await first.getByLabel('Until').fill('03:00');
    await button(edit, 'Remove window 2').click();
    await button(edit, 'Save').click();
    await row(page).getByText(`${closedDay} 02:00–03:00 UTC`, { exact: true }).waitFor();
    expect(itemsOf(await dashboard.service.get('/v1/groups'))).toMatchObject([
      { name: 'shops', maintenanceWindows: [{ days: [closedDay], from: '02:00', until: '03:00', timeZone: 'UTC' }] },
    ]);
  });

  test('hold a load, which says so until the windows are removed; another load overrides them with a reason', async () => {
    const page = await dashboard.open(`/devices/${await dashboard.deviceOf('rack-b-1')}`);
    await button(page, 'Load a build…').click();
    const question = page.getByRole('dialog', { name: 'Load a build on rack-b-1' });
    await question.getByText('1.1.0 would replace 1.0.0').waitFor();
    await question.getByText(/^Options: inject/).click();
    await question.getByLabel('Deadline').fill('604800');
    await button(question, 'Load tcp@1.1.0').click();
    await heading(page, 'tcp@1.1.0 on rack-b-1').waitFor();
    const notice = page.getByRole('status').filter({ hasText: 'The maintenance windows of the device are closed. They open' });
    await notice.waitFor();
    await page.getByText('Held until the maintenance windows of the device open.').waitFor();
    await lookForBarriers(page, 'a held load');
    const held = new URL(page.url()).pathname;

    await page.goto(`/devices/${await dashboard.deviceOf('rack-b-2')}`);
    await button(page, 'Load a build…').click();
    const urgent = page.getByRole('dialog', { name: 'Load a build on rack-b-2' });
    await urgent.getByText(/^Options: inject/).click();
    await urgent.getByLabel('Override maintenance windows because of').fill('CVE-2026-1234');
    await button(urgent, 'Load tcp@1.1.0').click();
    await page.getByText('replaced', { exact: true }).first().waitFor();
    await page.getByText('CVE-2026-1234').waitFor();
    expect(await notice.count()).toBe(0);

    const [admin, waiting] = [await dashboard.open('/groups'), await dashboard.open(held, { role: 'viewer' })];
    await waiting.getByText('Held until the maintenance windows of the device open.').waitFor();
    await button(admin, 'Edit shops').click();
    const edit = admin.getByRole('dialog', { name: 'Edit shops' });
    await button(edit, 'Remove window 1').click();
    await button(edit, 'Save').click();
    await edit.waitFor({ state: 'detached' });
    await row(admin).getByText('UTC').waitFor({ state: 'detached' });
    await waiting.getByText('replaced', { exact: true }).first().waitFor();
    await button(admin, 'Delete shops').click();
    await button(admin.getByRole('dialog', { name: 'Delete shops' }), 'Delete the group').click();
    await admin.getByText('No groups yet.').waitFor();
  });

  test('a group that was changed meanwhile is not overwritten', async () => {
    const { service } = dashboard;
    await service.post('/v1/groups', { name: 'north', selector: 'zone=north' });
    const page = await dashboard.open('/groups');
    await button(page, 'Edit north').click();
    const dialog = page.getByRole('dialog', { name: 'Edit north' });
    await dialog.getByLabel('Description').fill('mine');
    const [group] = itemsOf(await service.get('/v1/groups'));
    const body = { name: 'north', selector: 'zone=north', description: 'of another' };
    const params = { path: { group: String(group?.id) } };
    assertSuccess(await createPatchbayClient(service.url, service.key).PUT('/v1/groups/{group}', { params, body }));
    await button(dialog, 'Save').click();
    await dialog.getByRole('alert').waitFor();
    expect(itemsOf(await service.get('/v1/groups'))).toMatchObject([{ description: 'of another' }]);
  });
});

describe('moves', () => {
  const hostOf = async (device: string) => {
    const [found] = itemsOf(await dashboard.service.get(`/v1/devices?name=${device}`));
    return itemsOf(await dashboard.service.get('/v1/hosts')).find(({ id }) => id === found?.host)?.name;
  };

  test('a device moves to another host, with its modules', async () => {
    const page = await dashboard.open(`/devices/${await dashboard.deviceOf('rack-a-1')}`);
    await button(page, 'Move…').click();
    const dialog = page.getByRole('dialog', { name: 'Move rack-a-1' });
    await dialog.getByLabel('New host').fill('rack-z');
    await button(dialog, 'Move').click();
    await dialog.getByRole('alert').filter({ hasText: 'the host rack-z does not exist' }).waitFor();
    expect(await dialog.locator('datalist option').evaluateAll((options) => options.map((one) => one.getAttribute('value')))).toEqual([
      'rack-b',
    ]);
    await lookForBarriers(page, 'the dialog of a move');
    await dialog.getByLabel('New host').fill('rack-b');
    await dialog.getByLabel('Reason').fill('the board is replaced');
    await button(dialog, 'Move').click();
    await dialog.waitFor({ state: 'detached' });
    await page.getByRole('region', { name: 'Facts' }).getByRole('link', { name: 'rack-b' }).waitFor();
    await page.getByRole('row', { name: /^tcp 1\.\d\.0 0x1000/ }).waitFor();
    expect(await hostOf('rack-a-1')).toBe('rack-b');
    expect(itemsOf(await dashboard.service.get('/v1/audit?action=device.moved'))).toHaveLength(1);
  });

  test('all devices of a host move', async () => {
    const page = await dashboard.open('/');
    await button(page, 'Move devices of the host rack-b').click();
    const dialog = page.getByRole('dialog', { name: 'Move the devices of rack-b' });
    await dialog.getByLabel('New host').fill('rack-a');
    await dialog.getByLabel('Reason').fill('the rack is replaced');
    await button(dialog, 'Move').click();
    await dialog.waitFor({ state: 'detached' });
    await page.getByRole('list', { name: 'Hosts' }).getByRole('listitem').filter({ hasText: 'rack-a' }).getByText('4 of').waitFor();
    await button(page, 'Move devices of the host rack-b').waitFor({ state: 'detached' });
    for (const device of ['rack-a-1', 'rack-b-1', 'rack-b-2']) expect(await hostOf(device)).toBe('rack-a');
  });
});

describe('webhooks', () => {
  const opened = (page: Page) => page.getByRole('dialog', { name: 'fleet-events' });
  const webhookRow = (page: Page, status: string) => page.getByRole('row', { name: new RegExp(`^fleet-events ${status} `) });

  test('are visible to administrators only', async () => {
    const page = await dashboard.open('/webhooks');
    await page.getByText('Webhooks are visible to administrators.').waitFor();
    expect(await button(page, 'Create a webhook').count()).toBe(0);
  });

  test('one is created after its values are mended, and its secret is shown once', async () => {
    const page = await dashboard.open('/webhooks', { role: 'admin' });
    await page.getByText('No webhooks yet.').waitFor();
    await button(page, 'Create a webhook').click();
    const form = page.getByRole('dialog', { name: 'Create a webhook' });
    await form.getByLabel('Name').fill('fleet-events');
    await form.getByLabel('URL').fill('ftp://example.com/hook');
    await form.getByLabel('Event types').fill('device.*');
    await button(form, 'Create').click();
    await form.getByText('must begin with https:// or http://').first().waitFor();
    await form.getByLabel('URL').and(page.locator(':focus')).waitFor();
    expect(await form.getByLabel('URL').getAttribute('aria-invalid')).toBe('true');
    await lookForBarriers(page, 'the form of a webhook');
    await form.getByLabel('URL').fill(receiver.url);
    await button(form, 'Create').click();
    const secret = page.getByRole('dialog', { name: 'Secret of fleet-events' });
    await secret.getByText(/^whsec_[\w+/=]+$/).waitFor();
    await lookForBarriers(page, 'the secret of a webhook');
    await button(secret, 'Done').click();
    await webhookRow(page, 'delivering').waitFor();
    await page.reload();
    await webhookRow(page, 'delivering').waitFor();
    await button(page, 'fleet-events').click();
    await opened(page).getByText('No parked events.').waitFor();
    expect(await page.getByText('whsec_').count()).toBe(0);
  });

  test('a test event is delivered, or shows why not', async () => {
    const page = await dashboard.open('/webhooks', { role: 'admin' });
    await button(page, 'fleet-events').click();
    await button(opened(page), 'Send a test event').click();
    await opened(page)
      .getByText(/^The test event was delivered in \d+ ms\.$/)
      .waitFor();
    expect(receiver.events.map(({ type }) => type)).toEqual(['com.patchbay.webhook.test']);
    receiver.reply = () => ({ status: 500 });
    await button(opened(page), 'Send a test event').click();
    await opened(page).getByText('the receiver responded with 500').waitFor();
    receiver.reply = () => ({ status: 204 });
  });

  test('parked events are shown and sent again', async () => {
    const { service } = dashboard;
    await service.post('/v1/devices/labels', { devices: [await dashboard.deviceOf('rack-a-2')], set: { owner: 'network' } });
    const [webhook] = itemsOf(await service.get('/v1/webhooks'));
    const event = itemsOf(await service.get('/v1/audit?action=device.relabelled'))[0];
    await until('the event was delivered', async () => receiver.events.some(({ data }) => data.number === event?.number));
    const at = new Date().toISOString();
    database
      .prepare(
        'INSERT INTO ParkedEvent (webhookId, number, event, attempts, firstAttemptAt, parkedAt, lastError) VALUES (?, ?, ?, 40, ?, ?, ?)',
      )
      .run(
        webhook?.id,
        event?.number,
        JSON.stringify({ id: `evt_${event?.number}`, data: event }),
        at,
        at,
        'the receiver responded with 503',
      );
    const page = await dashboard.open('/webhooks', { role: 'admin' });
    await button(page, 'fleet-events').click();
    await opened(page)
      .getByRole('table', { name: 'Parked events' })
      .getByRole('row', { name: new RegExp(`^${event?.number} device\\.relabelled .*the receiver responded with 503$`) })
      .waitFor();
    await lookForBarriers(page, 'a webhook with parked events');
    const before = receiver.requests.length;
    await button(opened(page), 'Replay parked events').click();
    await opened(page).getByText('1 parked event will be sent again.').waitFor();
    await until('it was sent again', async () => receiver.events.slice(before).some(({ data }) => data.number === event?.number));
    await opened(page).getByText('No parked events.').waitFor();
  });

  test('one is disabled and enabled, gets another secret, and is deleted', async () => {
    const page = await dashboard.open('/webhooks', { role: 'admin' });
    await button(page, 'fleet-events').click();
    await button(opened(page), 'Disable').click();
    await opened(page).getByText('The webhook is disabled.').waitFor();
    await webhookRow(page, 'disabled').waitFor({ state: 'attached' });
    expect(itemsOf(await dashboard.service.get('/v1/webhooks'))).toMatchObject([{ enabled: false, eventTypes: ['device.*'] }]);
    await button(opened(page), 'Enable').click();
    await opened(page).getByText('The webhook is enabled.').waitFor();
    await button(opened(page), 'Rotate the secret').click();
    const secret = page.getByRole('dialog', { name: 'Secret of fleet-events' });
    await secret.getByText(/^whsec_/).waitFor();
    await button(secret, 'Done').click();
    await button(page, 'fleet-events').click();
    await button(opened(page), 'Delete').click();
    await page.getByText('No webhooks yet.').waitFor();
    expect(await page.getByRole('dialog').count()).toBe(0);
  });
});

test('the pages show loading and failures, recover automatically, and pass the axe accessibility checks', async () => {
  await dashboard.service.post('/v1/webhooks', { name: 'spare', url: receiver.url, eventTypes: ['*'], enabled: false });
  const page = await dashboard.open('/', { role: 'admin' });
  const pages = [
    { path: '/groups', api: '/v1/groups', shown: (one: Page) => one.getByRole('table', { name: 'Groups' }) },
    { path: '/webhooks', api: '/v1/webhooks', shown: (one: Page) => one.getByRole('table', { name: 'Webhooks' }) },
  ];
  await failAndComeBack(page, pages);
  for (const { path, shown: element } of pages) {
    await page.goto(path);
    await shown(element(page));
    await lookForBarriers(page, path, { isWideAnother: true });
  }
});

test('no page caused errors or contacted another host', () => {
  const { addresses, wrongs } = dashboard.watched;
  expect(wrongs).toEqual([]);
  expect(addresses.filter((address) => new URL(address).hostname !== '127.0.0.1')).toEqual([]);
});
