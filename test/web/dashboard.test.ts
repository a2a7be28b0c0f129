// The dashboard in a real browser on a live service: the main job from end to end, and what each page says when things are not as they should be.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../api/fixture.ts';
import { barriersOf, Dashboard, isWiderThanItsWindow, type Page } from './dashboard.ts';

let dashboard: Dashboard;
let device: string;
beforeAll(async () => {
  dashboard = await Dashboard.start();
  device = await dashboard.deviceOf('rack-a-1');
});
afterAll(() => dashboard?.stop());

const heading = (page: Page, name: string | RegExp) => page.getByRole('heading', { level: 1, name });
const closing = async (page: Page) => page.context().close();

test('the main job: see the fleet, load a build while threads are inside the old version, watch what came of it, go back', async () => {
  await dashboard.keepInside(device, 5);
  const page = await dashboard.open('/');
  await heading(page, 'Fleet').waitFor();
  await page.getByRole('row', { name: /rack-b-2 connected rack-b tcp@1\.0\.0/ }).waitFor();
  await page.getByRole('link', { name: 'rack-a-1' }).click();
  await heading(page, 'rack-a-1').waitFor();
  expect(new URL(page.url()).pathname).toBe(`/devices/${device}`);
  expect(await page.getByRole('table', { name: 'Module table' }).getByRole('row').nth(1).innerText()).toMatch(/tcp\s+1\.0\.0\s+0x1000\s+5/);
  await page.getByRole('img', { name: /Memory of 256 pages, 1 in use: tcp 1\.0\.0 at 0x1000, may be run/ }).waitFor();
  await page.getByRole('article', { name: 'Program long-access' }).waitFor();

  await page.getByRole('button', { name: 'Load a build…' }).click();
  const question = page.getByRole('dialog', { name: 'Load a build on rack-a-1' });
  await question.getByText('substantially similar', { exact: true }).waitFor();
  await question.getByText('1.1.0 would take the place of 1.0.0, with 5 accesses inside now.').waitFor();
  await question.getByRole('button', { name: 'Load tcp@1.1.0' }).click();

  await heading(page, 'tcp@1.1.0 on rack-a-1').waitFor();
  await page
    .getByRole('figure', {
      name: /^The isolation workflow, FIG\. 2\. This load went through 200 received, 210 looked-up, 220 compared, 230 loaded, 240 table-updated, 250 checked-references, 260 interrupted, 270 references-reset, 275 invalidated, 280 completed$/,
    })
    .waitFor();
  await page.getByText('replaced-interrupting', { exact: true }).first().waitFor();
  const interrupted = page.getByRole('table', { name: 'Programs that were interrupted' });
  expect(await interrupted.getByRole('row').nth(1).innerText()).toMatch(/long-access\s+prg_\w+\s+5/);
  await page
    .getByRole('heading', { name: 'Interrupted' })
    .locator('..')
    .getByText('5 accesses: 5 retried in the new version, 0 did not')
    .waitFor();
  const load = page.url();
  await page.reload();
  await heading(page, 'tcp@1.1.0 on rack-a-1').waitFor();
  expect(page.url()).toBe(load);

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
  await closing(page);
});
