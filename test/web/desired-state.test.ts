// The pages of channels and assignments in a real browser on a live service.

import type { Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { until } from '../service/test-service.ts';
import { Dashboard, failAndComeBack, lookForBarriers } from './dashboard.ts';

let dashboard: Dashboard;
beforeAll(async () => {
  dashboard = await Dashboard.start();
  expect((await dashboard.service.post('/v1/groups', { name: 'north', selector: 'zone=north' })).status).toBe(201);
});
afterEach(() => dashboard.closePages());
afterAll(() => dashboard?.stop());

const heading = (page: Page, name: string) => page.getByRole('heading', { level: 1, name, exact: true });
const button = (page: Page | Locator, name: string) => page.getByRole('button', { name, exact: true });
const rollouts = /^Rollouts of promoted versions: /;

test('a channel is created, a version is promoted, and an assignment with waves and a window is created', async () => {
  const page = await dashboard.open('/desired-state');
  await page.getByText('No channels yet.').waitFor();
  await button(page, 'New channel…').click();
  const channel = page.getByRole('dialog', { name: 'New channel' });
  await channel.getByLabel('Name').fill('stable');
  await button(channel, 'Save').click();
  await page.getByRole('link', { name: 'stable' }).click();
  await heading(page, 'Channel stable').waitFor();
  await button(page, 'Promote a version…').click();
  const promotion = page.getByRole('dialog');
  await promotion.getByLabel('Name', { exact: true }).fill('tcp');
  await promotion.getByLabel('Version').fill('1.0.0');
  await button(promotion, 'Promote').click();
  await promotion.getByText('Close', { exact: true }).click();
  await page.getByRole('row', { name: /tcp.*1\.0\.0/ }).waitFor();

  await page.goto('/desired-state');
  await button(page, 'New assignment…').click();
  const dialog = page.getByRole('dialog', { name: 'New assignment' });
  for (const [label, value] of [
    ['Name', 'north-tcp'],
    ['Group', 'north'],
    ['Channel', 'stable'],
    ['Module or patch set', 'tcp'],
    ['Range', '^1'],
  ] as const)
    await dialog.getByLabel(label, { exact: true }).fill(value);
  await dialog.getByLabel('Mode').selectOption('enforce');
  await dialog.getByText('waves 1, 10%, 100%; on failure pause').click();
  await button(dialog, 'Remove wave 2').click();
  const [first, last] = [dialog.getByRole('group', { name: 'Wave 1' }), dialog.getByRole('group', { name: 'Wave 2' })];
  await first.getByLabel('Additional devices').fill('2');
  for (const wave of [first, last]) await wave.getByLabel('Soak time').fill('0');
  await last.getByLabel('requires approval').check();
  await last.getByLabel('own thresholds').check();
  await last.getByLabel('Failed loads, percent').fill('5');
  await dialog.getByLabel('If a wave fails').selectOption('rollback');
  await dialog.getByLabel('only in a weekly window').check();
  // The error of the service appears at its field, which is inside the closed part of the form.
  await dialog.getByLabel('Time zone').fill('Mars');
  await dialog.getByText(rollouts).click();
  await button(dialog, 'Save').click();
  await dialog.getByText('unknown time zone "Mars"').first().waitFor();
  await dialog.getByLabel('Time zone').fill('UTC');
  await button(dialog, 'Save').click();
  await page.getByRole('link', { name: 'north-tcp' }).click();
  await heading(page, 'Assignment north-tcp').waitFor();
  await page.getByText('waves 2, 100%; on failure rollback; only monday, tuesday, wednesday, thursday, friday 22:00–04:00 UTC').waitFor();
  const { body } = await dashboard.service.get('/v1/assignments/north-tcp');
  expect(body).toMatchObject({
    mode: 'enforce',
    waves: [
      { devices: 2, soakSeconds: 0, approval: false, thresholds: { failedLoadsPercent: 0 } },
      { upToPercent: 100, soakSeconds: 0, approval: true, thresholds: { failedLoadsPercent: 5 } },
    ],
    onFailure: 'rollback',
    window: { from: '22:00', until: '04:00', timeZone: 'UTC' },
  });

  // The devices have the version already, and their pages show which assignment decides.
  await page.getByText('2 satisfied, 0 pending, 0 unsatisfied').waitFor();
  await page.goto(`/devices/${await dashboard.deviceOf('rack-a-1')}`);
  const versions = page.getByRole('table', { name: 'Desired versions' });
  await versions.getByRole('row', { name: /^tcp 1\.0\.0 1\.0\.0 satisfied .*north-tcp enforce$/ }).waitFor();
  await page.goto(`/devices/${await dashboard.deviceOf('rack-b-1')}`);
  await page.getByText('No assignment decides for this device.').waitFor();
});

test('an edit keeps what it does not change, and is rejected if the assignment has changed meanwhile', async () => {
  const { body, headers } = await dashboard.service.get('/v1/assignments/north-tcp');
  const page = await dashboard.open(`/assignments/${body.id}`);
  await button(page, 'Edit…').click();
  const dialog = page.getByRole('dialog', { name: 'Edit north-tcp' });
  await dialog.getByLabel('Priority').fill('7');
  await dialog.getByText(rollouts).click();
  await dialog.getByRole('group', { name: 'Wave 1' }).getByLabel('Additional devices').fill('1');
  await button(dialog, 'Save').click();
  await page.getByText('priority 7').waitFor();
  const { body: edited } = await dashboard.service.get('/v1/assignments/north-tcp');
  expect(edited).toMatchObject({
    priority: 7,
    onFailure: body.onFailure,
    window: body.window,
    waves: [{ ...body.waves?.[0], devices: 1 }, body.waves?.[1]],
  });

  await button(page, 'Edit…').click();
  await dialog.getByLabel('Devices per minute').fill('30');
  const { headers: current } = await dashboard.service.get('/v1/assignments/north-tcp');
  expect(current.get('etag')).not.toBe(headers.get('etag'));
  const other = { name: 'north-tcp', group: 'north', channel: 'stable', module: 'tcp', range: '1.0.x', mode: 'enforce' } as const;
  const replaced = await dashboard.service.put('/v1/assignments/north-tcp', other, { 'if-match': current.get('etag') ?? '' });
  expect(replaced.status).toBe(200);
  // The page behind the dialog reads the change, which the user has not seen in the form.
  await page.getByText('tcp 1.0.x').first().waitFor();
  await button(dialog, 'Save').click();
  await dialog.getByText('has changed since it was read').waitFor();
  expect((await dashboard.service.get('/v1/assignments/north-tcp')).body).toMatchObject({ range: '1.0.x', devicesPerMinute: 60 });
});

test('a promotion of a version outside the range of the assignment starts no rollout', async () => {
  const page = await dashboard.open('/desired-state');
  await page
    .getByRole('row', { name: /^stable/ })
    .getByRole('link', { name: 'stable' })
    .click();
  await button(page, 'Promote a version…').click();
  const promotion = page.getByRole('dialog');
  await promotion.getByLabel('Name', { exact: true }).fill('tcp');
  await promotion.getByLabel('Version').fill('1.1.0');
  await button(promotion, 'Promote').click();
  await promotion.getByText('No assignment follows the channel with this version in its range.').waitFor();
  await promotion.getByText('Close', { exact: true }).click();
  await page.getByRole('row', { name: /tcp.*1\.1\.0/ }).waitFor();
  const { body } = await dashboard.service.get('/v1/assignments/north-tcp');
  expect(body).toMatchObject({ desiredVersion: '1.0.0', held: [] });
});

test('pages pass the axe accessibility checks and fit a narrow window, and recover from failures', { timeout: 300_000 }, async () => {
  const { body } = await dashboard.service.get('/v1/assignments/north-tcp');
  const page = await dashboard.open('/desired-state', { role: 'admin' });
  await button(page, 'New assignment…').click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText(rollouts).click();
  await dialog.getByRole('group', { name: 'Wave 1' }).getByLabel('own thresholds').check();
  await dialog.getByLabel('only in a weekly window').check();
  await lookForBarriers(page, 'new assignment', { isWideAnother: true });
  const device = `/devices/${await dashboard.deviceOf('rack-a-1')}`;
  for (const path of ['/desired-state', `/assignments/${body.id}`, `/channels/${body.channel}`, device]) {
    await page.goto(path);
    await page.getByRole('main').getByRole('link').first().waitFor();
    await lookForBarriers(page, path, { isWideAnother: true });
  }
  await failAndComeBack(page, [
    {
      path: `/assignments/${body.id}`,
      api: `/v1/assignments/${body.id}`,
      shown: (one) => one.getByText('0 pending'),
    },
  ]);
  await until('nothing went wrong', async () => dashboard.watched.wrongs.length === 0);
  expect(dashboard.watched.wrongs).toEqual([]);
});
