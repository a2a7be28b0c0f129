// The pages of rollouts, builds and the audit trail in a real browser on a live service, also with a tampered database.

import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Schemas } from '../../src/client/client.ts';
import { Agent } from '../service/agents/agent.ts';
import { itemsOf, prebuiltModule, until } from '../service/test-service.ts';
import { Dashboard, failAndComeBack, go, lookForBarriers, shown } from './dashboard.ts';

let dashboard: Dashboard;
let database: Database.Database;
/** A rollout with a failed first wave. */
let failed: string;
beforeAll(async () => {
  dashboard = await Dashboard.start();
  database = new Database(join(dashboard.service.folder, 'patchbay.db'));
  await dashboard.push('tcp', '2.0.0', '(module (func (export "total") (param i32) (result i32) (local.get 0)))');
});
afterEach(() => dashboard.closePages());
afterAll(async () => {
  database?.close();
  await dashboard?.stop();
});

const heading = (page: Page, name: string | RegExp) => page.getByRole('heading', { level: 1, name });
const button = (page: Page | Locator, name: string | RegExp) => page.getByRole('button', { name, exact: true });
/** The actions of the rollout's page in order, with the primary action marked. */
const decisions = (page: Page) =>
  page.evaluate<string[]>(
    `[...document.querySelectorAll('.page-head .actions button')].map((one) => one.textContent + (one.classList.contains('main') ? ' (main)' : ''))`,
  );
const versionsOf = async (label: string) =>
  itemsOf(await dashboard.service.get(`/v1/devices?label=${encodeURIComponent(label)}`)).map(({ modules }) => modules);

async function rollOut(request: Schemas['NewRollout']): Promise<string> {
  const made = await dashboard.service.post('/v1/rollouts', request);
  expect(made.status, JSON.stringify(made.body)).toBe(202);
  return String(made.body.id);
}

describe('rollouts', () => {
  test('are created with a preview, approved, completed and rolled back', async () => {
    const page = await dashboard.open('/rollouts');
    await page.getByText('No rollouts yet.').waitFor();
    await button(page, 'New rollout…').click();
    await heading(page, 'New rollout').waitFor();
    await page.getByRole('combobox', { name: 'Version', exact: true }).selectOption('1.1.0');
    await page.getByLabel('Name', { exact: true }).fill('tcp-1.1');
    await page.getByLabel('Label selector', { exact: true }).fill('zone in north');
    await page.getByText('Invalid label selector: at character 9: expected "("').waitFor();
    await page.getByLabel('Label selector', { exact: true }).fill('zone in (north,west)');
    await button(page, 'Remove wave 2').click();
    const [first, last] = [page.getByRole('group', { name: 'Wave 1' }), page.getByRole('group', { name: 'Wave 2' })];
    for (const wave of [first, last]) await wave.getByLabel('Soak time').fill('0');
    await last.getByLabel('requires approval').check();
    expect(await button(page, 'Roll out tcp@1.1.0').isDisabled()).toBe(true);
    await button(page, 'Preview').click();
    await page.getByText('Would load on 2 devices: 1 in wave 1, 1 in wave 2').waitFor();
    await first.getByLabel('Soak time').fill('1');
    await page.getByText('The form has changed.').waitFor();
    expect(await button(page, 'Roll out tcp@1.1.0').isDisabled()).toBe(true);
    await button(page, 'Preview').click();
    await button(page, 'Roll out tcp@1.1.0').click();

    await heading(page, 'tcp-1.1').waitFor();
    await page.getByText('Waiting for approval of wave 2.').waitFor();
    await page.getByRole('listitem').filter({ hasText: 'Wave 1' }).getByText('passed').waitFor();
    await page.getByRole('table', { name: 'Thresholds of wave 1' }).getByRole('row', { name: 'Failed loads 0% 0% within limit' }).waitFor();
    await page.getByRole('row', { name: /^rack-a-\d 1 loaded 1\.0\.0 to 1\.1\.0 replaced/ }).waitFor();
    await page.getByRole('row', { name: /^rack-a-\d 2 waiting/ }).waitFor();
    await page.getByLabel('State').selectOption('waiting');
    await page.getByText('1 device shown.').waitFor();
    expect(new URL(page.url()).search).toBe('?state=waiting');
    await page.getByLabel('State').selectOption('');
    await button(page, 'Approve wave 2…').click();
    await page.getByRole('dialog').getByText('Wave 2 starts and loads the build on 1 device.').waitFor();
    await button(page.getByRole('dialog'), 'Approve wave 2').click();
    await page.getByText('completed', { exact: true }).waitFor();
    await page.getByText('2 loaded').first().waitFor();
    expect(await versionsOf('zone=north')).toEqual([{ tcp: '1.1.0' }, { tcp: '1.1.0' }]);

    await button(page, 'Roll back…').click();
    const question = page.getByRole('dialog', { name: 'Roll back: tcp-1.1' });
    await question.getByText('restores the previous version on every device that got the build (2 devices now)').waitFor();
    await question.getByLabel('Reason').fill('1.1.0 drops packets');
    await button(question, 'Roll back').click();
    await heading(page, 'Rollback of tcp-1.1').waitFor();
    await page.getByText('completed', { exact: true }).waitFor();
    expect(await versionsOf('zone=north')).toEqual([{ tcp: '1.0.0' }, { tcp: '1.0.0' }]);
    await page.getByText('Rolls back').getByRole('link', { name: 'tcp-1.1' }).click();
    await heading(page, 'tcp-1.1').waitFor();
    await page.getByText('rolled-back: 1.1.0 drops packets').waitFor();
    await page.getByRole('navigation').getByRole('link', { name: 'Rollouts' }).click();
    await page.getByRole('row', { name: /^tcp-1\.1 tcp@1\.1\.0 rolled-back/ }).waitFor();
  });

  test('a failed wave shows the exceeded threshold, and an operator retries or resumes', async () => {
    const waves = [{ devices: 1, soakSeconds: 0 }, { upToPercent: 100 }];
    failed = await rollOut({ name: 'dissimilar', module: 'tcp', version: '2.0.0', labels: { zone: 'south' }, waves });
    const page = await dashboard.open(`/rollouts/${failed}`);
    await page.getByText('paused: wave 1 failed').waitFor();
    // The fleet is degraded until an operator acts, and its reason links to the rollout.
    await page.goto('/');
    await page.getByRole('list', { name: 'Why the fleet is degraded' }).getByRole('link', { name: 'dissimilar' }).click();
    await page.getByRole('row', { name: 'Failed loads 100% 0% limit exceeded' }).waitFor();
    await page.getByRole('row', { name: /failed .*refused-dissimilar .*is not substantially similar/ }).waitFor();
    // No device has the build, so no device can be rolled back.
    expect(await decisions(page)).toEqual(['Retry failed loads… (main)', 'Abort…', 'Resume…']);
    await button(page, 'Retry failed loads…').click();
    await page.getByRole('dialog').getByText('Retries the loads of 1 device').waitFor();
    await button(page.getByRole('dialog'), 'Retry failed loads').click();
    await page.getByText('refused-dissimilar, attempt 2').waitFor();
    await page.getByText('paused: wave 1 failed').waitFor();
    await button(page, 'Resume…').click();
    await page.getByRole('dialog').getByText('ignores the failure').waitFor();
    await button(page.getByRole('dialog'), 'Cancel').click();
    expect(await page.getByRole('dialog').count()).toBe(0);
  });

  test('the form sends every option, and shows a validation error at its field', async () => {
    const page = await dashboard.open('/rollouts/new?module=tcp&version=1.1.0');
    await page.getByLabel('Name', { exact: true }).fill('all-of-it');
    await page.getByLabel('Select devices by').selectOption('name');
    await page.getByLabel('Name begins with').fill('rack-a');
    await page.getByText('rack-b-1').waitFor({ state: 'detached' });
    await button(page, 'Add all 2').click();
    await page.getByLabel('Name begins with').fill('rack-b');
    await page.getByRole('checkbox', { name: 'rack-b-1' }).check();
    await button(page, 'Remove rack-a-1').click();
    await page.getByText('2 devices, in this order:').waitFor();
    await page.getByText('rejected on conflict').click();
    await page.getByLabel('On conflict with another rollout').selectOption('queue');
    const first = page.getByRole('group', { name: 'Wave 1' });
    await first.getByLabel('own thresholds').check();
    await first.getByLabel('Failed loads').fill('50');
    await first.getByLabel('Increase in p99 latency').fill('30');
    await page.getByText('Options: minimum calls').click();
    await page.getByLabel('fail waves with fewer calls').last().check();
    await page.getByText('Schedule: 100 concurrent').click();
    await page.getByLabel('Not before').fill('2099-01-01T00:00');
    await page.getByLabel('Maximum loads per minute').fill('30');
    await page.getByLabel('only in a weekly window').check();
    await page.getByLabel('friday').uncheck();
    await page.getByLabel('Time zone').fill('Europe/Nowhere');
    await page.getByText('Schedule: 100 concurrent').click();
    await page.getByText('Load options: inject').click();
    await page.getByLabel('Load deadline').fill('90');
    await button(page, 'Preview').click();

    const zone = page.getByLabel('Time zone');
    await zone.and(page.locator(':focus')).waitFor();
    await page.getByText('unknown time zone "Europe/Nowhere"').first().waitFor();
    expect(await zone.getAttribute('aria-invalid')).toBe('true');
    await zone.fill('Europe/Berlin');
    expect(await zone.getAttribute('aria-invalid')).toBe('false');
    await button(page, 'Preview').click();
    await page.getByText('Would load on 2 devices: 1 in wave 1, 0 in wave 2, 1 in wave 3').waitFor();
    await button(page, 'Roll out tcp@1.1.0').click();
    await heading(page, 'all-of-it').waitFor();
    await page.getByText(/Waiting for the start time at/).waitFor();
    const id = new URL(page.url()).pathname.split('/')[2] ?? '';
    const defaults = { failedLoadsPercent: 0, failedCallsPercent: 1, abiViolations: 0, minimumCalls: 20 };
    expect((await dashboard.service.get(`/v1/rollouts/${id}`)).body).toMatchObject({
      selector: { devices: 2, labels: null },
      onConflict: 'queue',
      loadsPerMinute: 30,
      deadlineSeconds: 90,
      window: { days: ['monday', 'tuesday', 'wednesday', 'thursday'], from: '22:00', until: '04:00', timeZone: 'Europe/Berlin' },
      waves: [
        { thresholds: { ...defaults, failedLoadsPercent: 50, latencyIncreasePercent: 30, requireCalls: false } },
        { thresholds: { ...defaults, latencyIncreasePercent: null, requireCalls: true } },
        { thresholds: { ...defaults, latencyIncreasePercent: null, requireCalls: true } },
      ],
    });
    const devices = itemsOf(await dashboard.service.get(`/v1/rollouts/${id}/devices?order=asc`));
    expect(devices.map(({ deviceName }) => deviceName)).toEqual(['rack-a-2', 'rack-b-1']);

    const saved = page.waitForEvent('download');
    await button(page, 'Save report').click();
    expect((await saved).suggestedFilename()).toBe('all-of-it.csv');
    expect(readFileSync(await (await saved).path(), 'utf8')).toMatch(/^[^\r]*device[^\r]*\r\n(.*rack-a-2.*\r\n)(.*rack-b-1.*\r\n)$/);
    await dashboard.service.post(`/v1/rollouts/${id}/abort`, {});
  });

  test('a wave that interrupted too many accesses is resumed, accepts joining devices, and is closed', async () => {
    // Stays inside an access for ten minutes; the next version does not.
    const waiting = '(import "kernel" "sleep" (func $sleep (param i32)))';
    const hold = (content: string) => `(module ${waiting} (func (export "hold") (param i32) (result i32) ${content} (i32.const 0)))`;
    await dashboard.push('hold', '1.0.0', hold('(call $sleep (local.get 0))'));
    await dashboard.push('hold', '1.1.0', hold(''));
    const [one = '', another = ''] = await Promise.all(['rack-a-1', 'rack-a-2'].map((name) => dashboard.deviceOf(name)));
    await dashboard.service.load('hold', '1.0.0', [one, another]);
    const program = { name: 'held', module: 'hold', export: 'hold', arguments: [600_000], threads: 1 };
    const stops = [await dashboard.run(one, program), await dashboard.run(another, program)];
    const page = await dashboard.open('/rollouts/new?module=hold&version=1.1.0');
    await page.getByLabel('Label selector', { exact: true }).fill('zone=north');
    await page.getByText('Options: no devices join later').click();
    await page.getByLabel('devices that match later join the last wave').check();
    await page.getByLabel('Interrupted accesses per device').fill('0');
    await button(page, 'Remove wave 2').click();
    for (const wave of ['Wave 1', 'Wave 2']) await page.getByRole('group', { name: wave }).getByLabel('Soak time').fill('0');
    await page.getByRole('group', { name: 'Wave 2' }).getByLabel('own thresholds').check();
    await page.getByRole('group', { name: 'Wave 2' }).getByLabel('Interrupted accesses per device').fill('');
    await button(page, 'Preview').click();
    await button(page, 'Roll out hold@1.1.0').click();
    await page.getByText('paused: wave 1 failed').waitFor();
    await page.getByRole('row', { name: 'Interrupted accesses per device 1 0 limit exceeded' }).waitFor();
    // Resuming would load the build on more devices.
    const [first, ...others] = await decisions(page);
    expect([first, others.at(-1)]).toEqual(['Roll back… (main)', 'Resume…']);
    await button(page, 'Resume…').click();
    await button(page.getByRole('dialog'), 'Resume').click();
    await page.getByText('Waiting for more devices.').waitFor();
    await page.getByText('2 loaded').first().waitFor();
    await page.getByText('zone=north, devices that match later').waitFor();
    await button(page, 'Close to new devices…').click();
    await page.getByRole('dialog').getByText('No more devices join the rollout.').waitFor();
    await button(page.getByRole('dialog'), 'Close to new devices').click();
    await page.getByText('completed', { exact: true }).waitFor();
    expect(await button(page, 'Close to new devices…').count()).toBe(0);
    for (const stop of stops) await stop();
  });

  test('a running rollout is paused with a reason, resumed and aborted, and other windows show it live', async () => {
    const startAt = new Date(Date.now() + 3_600_000).toISOString();
    const id = await rollOut({ module: 'tcp', version: '1.1.0', labels: { zone: 'north' }, startAt });
    const [page, other] = [await dashboard.open(`/rollouts/${id}`), await dashboard.open('/rollouts?state=paused', { role: 'viewer' })];
    await page.getByText(/Waiting for the start time at/).waitFor();
    await button(page, 'Pause…').click();
    await page.getByRole('dialog').getByLabel('Reason').fill('looking at the logs');
    await button(page.getByRole('dialog'), 'Pause').click();
    await page.getByText('paused: looking at the logs').waitFor();
    expect((await decisions(page))[0]).toBe('Resume… (main)');
    await other.getByRole('row', { name: /^tcp@1\.1\.0 tcp@1\.1\.0 paused/ }).waitFor();
    await button(page, 'Resume…').click();
    await button(page.getByRole('dialog'), 'Resume').click();
    await page.getByText('pending', { exact: true }).waitFor();
    await button(page, 'Abort…').click();
    await page.getByRole('dialog').getByLabel('Reason').fill('1.1.1 follows');
    await button(page.getByRole('dialog'), 'Abort').click();
    await page.getByText('aborted: 1.1.1 follows').waitFor();
    await page.getByText('2 skipped').first().waitFor();
  });
});

describe('builds', () => {
  const source = (page: Page) => page.getByRole('textbox', { name: 'Source' });

  test('a source that does not compile shows errors at their lines, and is pushed after they are fixed', async () => {
    const page = await dashboard.open('/builds', { role: 'publisher' });
    await page.getByLabel('Module', { exact: true }).fill('udp');
    await page.getByLabel('Version', { exact: true }).fill('1.0.0');
    await source(page).fill('export function send(size: i32): i32 {\n\n\treturn sise * 2;\n}\n');
    await button(page, 'Push').click();
    await page.getByText('Compilation failed: 1 error').waitFor();
    const [message, numbers] = [page.locator('.source-message'), page.locator('.source-numbers')];
    expect(await message.innerText()).toBe("Cannot find name 'sise'.");
    const [at, first] = [await message.boundingBox(), await numbers.boundingBox()];
    // The third line, 20 pixels each, after a padding of 6.
    expect(Math.round((at?.y ?? 0) - (first?.y ?? 0))).toBe(6 + 2 * 20);
    await button(page, 'line 3, column 9').click();
    expect(await page.evaluate<number>('document.activeElement.selectionStart')).toBe(
      'export function send(size: i32): i32 {\n\n\treturn '.length,
    );
    await source(page).fill('export function send(size: i32): i32 {\n\n\treturn size * 2;\n}\n');
    await message.waitFor({ state: 'detached' });
    await button(page, 'Push').click();
    await page.getByText('udp@1.0.0 pushed').waitFor();
    await page.getByRole('row', { name: /^udp 1/ }).waitFor();
    await page.getByRole('link', { name: 'udp@1.0.0' }).click();
    await heading(page, 'udp@1.0.0').waitFor();
    await page.getByText('send(i32): i32').waitFor();
    await page.getByText('udp has no other build to compare with.').waitFor();
    await page.getByText('No device has this build in memory.').waitFor();
    expect(await button(page, 'Roll out…').count()).toBe(0);
  });

  test('patch sets are listed with links to their builds, also those of one module, and appear as they are created', async () => {
    const page = await dashboard.open('/builds', { role: 'viewer' });
    await page.getByText('No patch sets yet.').waitFor();
    await dashboard.push('dns', '1.0.0', '(module (func (export "resolve")))');
    const builds = ['dns@1.0.0', 'tcp@2.0.0'].map((build) => ({ module: build.slice(0, 3), version: build.slice(4) }));
    const created = await dashboard.service.post('/v1/patch-sets', { name: 'net-2026-11', version: '1.0.0', builds });
    expect(created.status).toBe(201);
    const row = page.getByRole('row', { name: /^net-2026-11@1\.0\.0 dns@1\.0\.0 ?, tcp@2\.0\.0 / });
    await row.waitFor();
    await go(page, '/builds/udp');
    await page.getByText('No patch set contains udp.').waitFor();
    await go(page, '/builds/tcp');
    await row.getByRole('link', { name: 'dns@1.0.0' }).click();
    await heading(page, 'dns@1.0.0').waitFor();
  });

  test('a patch set is rolled out from its row, and the page of the rollout names its builds', async () => {
    for (const [module, version] of [
      ['pair-a', '1.0.0'],
      ['pair-b', '1.0.0'],
    ] as const)
      await dashboard.push(module, version, '(module (func (export "ask")))');
    const builds = ['pair-a', 'pair-b'].map((module) => ({ module, version: '1.0.0' }));
    await dashboard.service.post('/v1/patch-sets', { name: 'pair', version: '1.0.0', builds });
    const page = await dashboard.open('/builds');
    await page
      .getByRole('row', { name: /^pair@1\.0\.0 / })
      .getByRole('link', { name: 'Roll out…' })
      .click();
    await heading(page, 'New rollout').waitFor();
    expect(await page.getByLabel('Installed version (range)').count()).toBe(0);
    await page.getByLabel('Label selector', { exact: true }).fill('zone=north');
    await button(page, 'Preview').click();
    await page.getByText('Would load on 2 devices').waitFor();
    await button(page, 'Roll out pair@1.0.0').click();
    await heading(page, 'pair@1.0.0').waitFor();
    await page.getByRole('link', { name: 'pair-b@1.0.0' }).waitFor();
    const [open] = itemsOf(await dashboard.service.get('/v1/rollouts?module=pair'));
    expect(open).toMatchObject({ patchSet: { name: 'pair', version: '1.0.0' } });
    await dashboard.service.post(`/v1/rollouts/${open?.id}/abort`, {});
  });

  test('files are dropped or chosen: a source appears in the editor, a prebuilt module shows its size', async () => {
    const page = await dashboard.open('/builds', { role: 'publisher' });
    await heading(page, 'Builds').waitFor();
    await drop(page, 'arp.wat', '(module (func (export "ask") (result i32) (i32.const 1)))');
    await until('the source appears in the editor', async () => (await source(page).inputValue()).includes('(export "ask")'));
    expect(await page.getByLabel('Language').inputValue()).toBe('wat');
    expect(await page.getByLabel('Module', { exact: true }).inputValue()).toBe('arp');
    await page.getByLabel('Version', { exact: true }).fill('next-minor');
    await button(page, 'Push').click();
    await page.getByText('arp@1.0.0 pushed').waitFor();
    const choose = (name: string, content: Uint8Array) =>
      page
        .getByLabel('Choose a file, or drop it here')
        .setInputFiles({ name, mimeType: 'application/octet-stream', buffer: Buffer.from(content) });
    await choose('arp.zip', prebuiltModule);
    await page.getByText('arp.zip: unknown file type').waitFor();
    await choose('arp.wasm', new Uint8Array(4 * 1024 * 1024 + 1));
    await page.getByText('(maximum 4,194,304 bytes)').waitFor();
    await choose('arp.wasm', prebuiltModule);
    await page.getByText('arp.wasm, 36 bytes of WebAssembly').waitFor();
    await button(page, 'Push').click();
    await page.getByText('arp@1.1.0 pushed').waitFor();
    await choose('arp.wasm', new Uint8Array([0, 97, 115]));
    await button(page, 'Push').click();
    await page.getByText('The body is not a WebAssembly module').waitFor();
  });

  /** Drops a file with the given content on the form. */
  async function drop(page: Page, name: string, content: string): Promise<void> {
    const file = JSON.stringify([name, content]);
    await page.evaluate(`{
      const [name, content] = ${file};
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([content], name));
      document.querySelector('.drop').dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
    }`);
  }

  test('two versions in the address are compared export by export', async () => {
    const page = await dashboard.open('/builds/tcp', { role: 'viewer' });
    await page.getByRole('table', { name: 'Builds of tcp' }).waitFor();
    const similarity = page.getByRole('region', { name: 'Similarity of 2.0.0 to 1.1.0' });
    await similarity.getByText('dissimilar', { exact: true }).waitFor();
    expect(await similarity.getByRole('listitem').allInnerTexts()).toEqual(['removed\nchecksum(i32, i32): i32', 'added\ntotal(i32): i32']);
    await page.getByRole('combobox', { name: 'From' }).selectOption('1.0.0');
    await page.getByRole('combobox', { name: 'To' }).selectOption('1.1.0');
    await page.getByText('substantially similar', { exact: true }).waitFor();
    expect(new URL(page.url()).search).toBe('?from=1.0.0&to=1.1.0');
    await page.reload();
    await page.getByRole('region', { name: 'Similarity of 1.1.0 to 1.0.0' }).waitFor();
  });

  test('signatures are verified in the browser, and a changed statement is reported', async () => {
    const page = await dashboard.open('/builds/tcp/1.0.0', { role: 'viewer' });
    await page.getByRole('row', { name: /^the service sha256:/ }).waitFor();
    await page
      .getByRole('table', { name: 'Devices with this build' })
      .getByRole('row', { name: /rack-a-1/ })
      .waitFor();
    await button(page, 'Verify signatures').click();
    await page.getByText('The signed statement matches this build').waitFor();
    await page.getByRole('row', { name: /^the service sha256:\w+ valid/ }).waitFor();
    const read = database.prepare("SELECT envelope FROM Build WHERE module = 'tcp' AND version = '1.0.0'").pluck();
    const kept = String(read.get());
    const envelope = JSON.parse(kept);
    const payload = Buffer.from(envelope.payload, 'base64').toString().replace('1.0.0', '1.0.1');
    const write = database.prepare("UPDATE Build SET envelope = ? WHERE module = 'tcp' AND version = '1.0.0'");
    write.run(JSON.stringify({ ...envelope, payload: Buffer.from(payload).toString('base64') }));
    try {
      await button(page, 'Verify signatures').click();
      await page.getByText('Provenance not verified').waitFor();
      await shown(page.getByRole('row', { name: /invalid/ }));
    } finally {
      write.run(kept);
    }
  });
});

describe('the audit trail', () => {
  test('is filtered in the address, updates live, and can be paused', async () => {
    const page = await dashboard.open('/audit');
    await page.getByText('updates live').waitFor();
    await page.getByLabel('Action').fill('key.created');
    await page.getByText('5 events shown.').waitFor();
    expect(new URL(page.url()).search).toBe('?action=key.created');
    await dashboard.service.post('/v1/keys', { name: 'seen-live', role: 'viewer' });
    await page.getByText('name seen-live').waitFor();
    await button(page, 'Pause').click();
    await page.getByText('paused at a fixed end time').waitFor();
    await dashboard.service.post('/v1/keys', { name: 'not-seen', role: 'viewer' });
    await page.getByLabel('Outcome').selectOption('succeeded');
    await page.getByText('6 events shown.').waitFor();
    await button(page, 'Resume').click();
    await page.getByText('name not-seen').waitFor();
    await page.getByLabel('From').fill('2001-01-01T00:00');
    await page.waitForURL(/from=200[01]-/);
    await page.getByLabel('Until').fill('2001-01-02T00:00');
    await page.getByText('No event matches the filters.').waitFor();
    await page.reload();
    await page.getByText('No event matches the filters.').waitFor();
    await button(page, 'Show all events').click();
    const event = page.getByRole('row', { name: /load\.completed/ }).first();
    await event.locator('summary').click();
    await event.getByText('previous hash').waitFor();
    await event.getByRole('link', { name: /^req_/ }).click();
    await page.waitForURL(/\/audit\?request=req_/);
  });

  test('is verified in the browser with the keys of the service or with stored keys and checkpoints', async () => {
    const page = await dashboard.open('/audit');
    await button(page, 'Create a checkpoint and verify').click();
    await page.getByText('The audit trail is intact').waitFor();
    const proven = page.getByRole('region', { name: 'Verified', exact: true });
    expect(await proven.innerText()).toMatch(/Events 1 to \d+: each event matches its hash/);
    expect(await proven.innerText()).toContain('which the service lists as its own');
    await page.getByText('The signing key belongs to the service.').waitFor();
    const saved = page.waitForEvent('download');
    await button(page, 'Save the audit trail').click();
    expect((await saved).suggestedFilename()).toBe('audit-trail.ndjson');
    const lines = readFileSync(await (await saved).path(), 'utf8')
      .trimEnd()
      .split('\n');
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ number: lines.length - 1, hash: expect.any(String) });
    const note = String(itemsOf(await dashboard.service.get('/v1/audit/checkpoints?limit=1'))[0]?.note);
    const key = String(itemsOf(await dashboard.service.get('/v1/signing-keys'))[0]?.publicKey);
    await page.getByText('Verify against your own public key or checkpoint').click();
    await page.getByLabel('Public keys (PEM)').fill(key);
    await page.getByLabel('Earlier checkpoint').fill(note);
    await button(page, 'Verify').click();
    await proven.getByText('which is your key, or is endorsed by your key').waitFor();
    expect(await page.getByText('The signing key belongs to the service.').count()).toBe(0);
    await page.getByLabel('Public keys (PEM)').fill(strangeKey);
    await button(page, 'Verify').click();
    await page.getByText('is not signed by a trusted key').waitFor();
    await page.getByLabel('Public keys (PEM)').fill('a key');
    await button(page, 'Verify').click();
    await page.getByText('the public key is not valid').waitFor();
    await page.getByLabel('Public keys (PEM)').fill(key);
    await page.getByLabel('Earlier checkpoint').fill(note.replace(/\n\d+\n/, '\n3\n'));
    await button(page, 'Verify').click();
    await page.getByText('Not verified', { exact: true }).first().or(page.getByText('The audit trail was changed')).waitFor();
  });

  test('is saved up to the size limit, and past it the page names the command to use', async () => {
    const page = await dashboard.open('/audit', { role: 'viewer' });
    const most = 64 * 1024 * 1024;
    const saved = page.waitForEvent('download');
    await respondWithBytes(page, most);
    await button(page, 'Save the audit trail').click();
    expect(statSync(await (await saved).path()).size).toBe(most);
    let downloads = 0;
    page.on('download', () => downloads++);
    await respondWithBytes(page, most + 1);
    await button(page, 'Save the audit trail').click();
    const failure = page.getByRole('alert').filter({ hasText: 'The file exceeds the limit of 64 MiB' });
    await failure.waitFor();
    expect(await failure.innerText()).toContain('patchbay audit export --output trail.ndjson');
    // The page saves no partial file and cancels the request.
    expect([downloads, await page.evaluate<boolean>('isGivenUp')]).toEqual([0, true]);
    await respondWithBytes(page, 10);
    const after = page.waitForEvent('download');
    await button(page, 'Save the audit trail').click();
    expect(statSync(await (await after).path()).size).toBe(10);
    await failure.waitFor({ state: 'detached' });
  });

  /** Replaces the export by the given number of bytes; no audit trail of a test is as large. */
  async function respondWithBytes(page: Page, bytes: number): Promise<void> {
    await page.evaluate(`{
      let left = ${bytes};
      globalThis.isGivenUp = false;
      const pull = (controller) => {
        const part = Math.min(left, 1_000_000);
        left -= part;
        // A stream that is too large does not end by itself.
        if (part > 0) controller.enqueue(new Uint8Array(part));
        else if (${bytes <= 64 * 1024 * 1024}) controller.close();
      };
      const cancel = () => (globalThis.isGivenUp = true);
      const ask = (globalThis.realFetch ??= fetch);
      globalThis.fetch = (request) =>
        request.url.endsWith('/v1/audit/export') ? Promise.resolve(new Response(new ReadableStream({ pull, cancel }))) : ask(request);
    }`);
  }

  const strangeKey = '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n';

  test.each([
    [
      'changed',
      "UPDATE AuditEvent SET actor = 'intruder' WHERE number = 4",
      'event 4 is invalid',
      'the content of the event does not match its hash',
    ],
    ['deleted', 'DELETE FROM AuditEvent WHERE number = 4', 'event 4 is invalid', 'the event is missing'],
  ])('reports an event that was %s in the database', async (_what, tamper, which, why) => {
    const page = await dashboard.open('/audit', { role: 'viewer' });
    await heading(page, 'Audit trail').waitFor();
    expect(await button(page, 'Create a checkpoint and verify').count()).toBe(0);
    const event = database.prepare('SELECT * FROM AuditEvent WHERE number = 4').get();
    database.exec(tamper);
    try {
      await button(page, 'Verify').click();
      await page.getByText(`The audit trail was changed: ${which}`).waitFor();
      await page.getByText(why).waitFor();
      await page.getByText('The 3 events before are valid.').waitFor();
    } finally {
      const columns = Object.keys(Object(event));
      const values = columns.map((name) => `@${name}`).join(', ');
      database.prepare(`INSERT OR REPLACE INTO AuditEvent (${columns.join(', ')}) VALUES (${values})`).run(event);
    }
    await button(page, 'Verify').click();
    await page.getByText('The audit trail is intact').waitFor();
  });
});

test('a role sees only the actions that it may perform', async () => {
  for (const role of ['viewer', 'publisher'] as const) {
    const page = await dashboard.open(`/rollouts/${failed}`, { role });
    const mayPush = role === 'publisher';
    for (const [path, shown, offered] of [
      [`/rollouts/${failed}`, page.getByRole('table', { name: 'Devices of the rollout' }), ['Save report']],
      ['/rollouts', page.getByRole('table', { name: 'Rollouts' }), []],
      ['/rollouts/new', page.getByText('A rollout requires the role operator'), []],
      ['/builds', page.getByRole('table', { name: 'Modules' }), mayPush ? ['Push'] : []],
      ['/builds/tcp', page.getByRole('table', { name: 'Builds of tcp' }), mayPush ? ['Push'] : []],
      ['/builds/tcp/1.0.0', page.getByRole('table', { name: 'Signatures' }), [...(mayPush ? ['Delete…'] : []), 'Verify signatures']],
      ['/audit', page.getByRole('table', { name: 'Events' }), ['Verify', 'Save the audit trail', 'Pause']],
    ] as const) {
      await go(page, path);
      await shown.waitFor();
      const buttons = await page.getByRole('button').allInnerTexts();
      expect(
        buttons.filter((text) => text !== '' && text !== 'Show more'),
        `${role} at ${path}`,
      ).toEqual(['Sign out', ...offered]);
    }
  }
});

/** Every page, the API path that it requests, and an element that it shows after loading. */
const pages = () => [
  { name: 'rollouts', path: '/rollouts', api: '/v1/rollouts', shown: (page: Page) => page.getByRole('table', { name: 'Rollouts' }) },
  {
    name: 'rollout',
    path: `/rollouts/${failed}`,
    api: `/v1/rollouts/${failed}`,
    shown: (page: Page) => page.getByRole('table', { name: 'Devices of the rollout' }),
  },
  {
    name: 'new rollout',
    path: '/rollouts/new?module=tcp&version=2.0.0',
    api: '/v1/modules',
    shown: (page: Page) => page.getByRole('group', { name: 'Wave 3' }),
  },
  { name: 'modules', path: '/builds', api: '/v1/modules', shown: (page: Page) => page.getByRole('table', { name: 'Modules' }) },
  {
    name: 'builds',
    path: '/builds/tcp',
    api: '/v1/modules/tcp/builds',
    shown: (page: Page) => page.getByRole('table', { name: 'Builds of tcp' }),
  },
  {
    name: 'build',
    path: '/builds/tcp/1.1.0',
    api: '/v1/modules/tcp/builds/1.1.0',
    shown: (page: Page) => page.getByRole('table', { name: 'Signatures' }),
  },
  { name: 'audit', path: '/audit', api: '/v1/audit', shown: (page: Page) => page.getByRole('table', { name: 'Events' }) },
];

test('each page shows loading and failures, and recovers automatically', async () => {
  const page = await dashboard.open('/');
  await failAndComeBack(page, pages());
  for (const [path, text] of [
    ['/rollouts?module=none', 'No rollout matches the filters.'],
    ['/rollouts/rol_none', 'The object does not exist'],
    ['/rollouts/new?module=none', 'none has no builds.'],
    [`/rollouts/${failed}?state=skipped`, 'No device matches the filters.'],
    ['/builds/none', 'none has no builds.'],
    ['/builds/tcp/9.9.9', 'The object does not exist'],
    ['/audit?object=none', 'No event matches the filters.'],
  ] as const) {
    await go(page, path);
    await page.getByText(text).waitFor();
  }
});

test('shows the names of keys instead of their IDs to a user who may read keys', async () => {
  const { pushedBy } = (await dashboard.service.get('/v1/modules/tcp/builds/1.0.0')).body;
  const key = itemsOf(await dashboard.service.get('/v1/keys')).find(({ id }) => id === pushedBy);
  expect(String(key?.name)).not.toBe('undefined');
  const page = await dashboard.open('/builds/tcp/1.0.0', { role: 'admin' });
  await page
    .getByText(`by ${String(key?.name)}`)
    .first()
    .waitFor();
  expect(await page.getByText(String(pushedBy)).count()).toBe(0);
  const other = await dashboard.open('/builds/tcp/1.0.0', { role: 'viewer' });
  await shown(other.getByTitle(String(pushedBy)));
});

test('a truncated export is not verified', async () => {
  const page = await dashboard.open('/audit', { role: 'viewer' });
  await page.route('**/v1/audit/export', async (route) => {
    const whole = await (await route.fetch()).text();
    await route.fulfill({
      status: 200,
      contentType: 'application/x-ndjson',
      body: whole.slice(0, whole.lastIndexOf('\n', whole.length - 2) + 1),
    });
  });
  await button(page, 'Verify').click();
  await page.getByText('the export is truncated').waitFor();
  await page.unroute('**/v1/audit/export');
  await page.route('**/v1/audit/export', (route) => route.abort());
  await button(page, 'Verify').click();
  await shown(page.getByText('The audit trail was not read completely.'));
});

test('pages pass the axe accessibility checks and fit a narrow window', { timeout: 300_000 }, async () => {
  const page = await dashboard.open('/', { role: 'admin' });
  /** Actions that show further elements of a page. */
  const acts: Readonly<Record<string, () => Promise<void>>> = {
    rollout: async () => {
      await button(page, 'Abort…').click();
      await page.getByRole('dialog').waitFor();
    },
    'new rollout': async () => {
      for (const summary of await page.locator('summary').all()) await summary.click();
      await page.getByRole('group', { name: 'Wave 1' }).getByLabel('own thresholds').check();
      await page.getByLabel('only in a weekly window').check();
      await page.getByLabel('Select devices by').selectOption('name');
      await button(page, 'Add all 4').click();
      await page.getByLabel('Installed version (range)').fill('x.y');
      await button(page, 'Preview').click();
      await page.getByText('"x.y" is not a semver range').first().waitFor();
      await page.getByLabel('Installed version (range)').fill('');
      await button(page, 'Preview').click();
      await page.getByText('Would load on').waitFor();
    },
    builds: async () => {
      await page.getByLabel('Version', { exact: true }).fill('3.0.0');
      await page.getByRole('textbox', { name: 'Source' }).fill('export function send(size: i32): i32 {\n  return sise;\n}');
      await button(page, 'Push').click();
      await page.getByText('Compilation failed').waitFor();
    },
    build: async () => {
      await button(page, 'Verify signatures').click();
      await page.getByText('The signed statement matches this build').waitFor();
    },
    audit: async () => {
      await page.getByText('Verify against your own public key or checkpoint').click();
      await button(page, 'Verify').click();
      await page.getByText('The audit trail is intact').waitFor();
      await page
        .locator('summary', { hasText: /^Event/ })
        .first()
        .click();
    },
  };
  for (const { name, path, shown } of pages()) {
    await go(page, path);
    await shown(page).waitFor();
    await acts[name]?.();
    await lookForBarriers(page, name, { isWideAnother: true });
  }
});

test('keyboard only: push a source, and open an action of a rollout', async () => {
  const page = await dashboard.open('/builds/tcp', { role: 'admin' });
  await page.getByLabel('Version', { exact: true }).focus();
  await page.keyboard.type('2.1.0');
  for (const text of ['Language', 'Choose a file', 'Source']) {
    await page.keyboard.press('Tab');
    expect(await page.getByLabel(text).first().and(page.locator(':focus')).count(), text).toBe(1);
  }
  await page.keyboard.type('export function total(length: i32): i32 { return length + 1; }');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.getByText('tcp@2.1.0 pushed').waitFor();
  await page.goto(`/rollouts/${failed}`);
  await button(page, 'Abort…').focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  expect(await button(page, 'Abort…').and(page.locator(':focus')).count()).toBe(1);
});

test('builds are yanked, unyanked and deleted', async () => {
  await dashboard.push('spare', '1.0.0', '(module (func (export "total") (param i32) (result i32) (local.get 0)))');
  const page = await dashboard.open('/builds/spare/1.0.0', { role: 'admin' });
  await button(page, 'Yank…').click();
  const dialog = page.getByRole('dialog', { name: 'Yank spare@1.0.0' });
  await dialog.getByLabel('Reason').fill('it drops packets');
  await button(dialog, 'Yank the build').click();
  await page.getByText(/^Yanked .*: it drops packets\. Nothing new can use this build/).waitFor();
  expect(await button(page, 'Roll out…').count()).toBe(0);
  await page.getByRole('link', { name: 'all builds of spare' }).click();
  await page.getByRole('row', { name: /spare@1\.0\.0 yanked/ }).waitFor();
  await page.getByRole('link', { name: 'spare@1.0.0' }).click();
  await button(page, 'Unyank').click();
  await button(page, 'Roll out…').waitFor();
  await button(page, 'Delete…').click();
  await button(page.getByRole('dialog', { name: 'Delete spare@1.0.0' }), 'Delete the build').click();
  await page.getByText('spare has no builds.').waitFor();
});

test('a request for several devices shows its loads by outcome, and is cancelled and retried', async () => {
  const { service } = dashboard;
  await new Agent(service).register('away', ['away-1', 'away-2']);
  const away = [await dashboard.deviceOf('away-1'), await dashboard.deviceOf('away-2')];
  const connected = await dashboard.deviceOf('rack-a-1');
  // The device has a newer version, or this one.
  const { body } = await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices: [...away, connected] });
  const page = await dashboard.open('/load-batches');
  await page.getByRole('link', { name: 'tcp@1.0.0' }).first().click();
  await heading(page, 'tcp@1.0.0').waitFor();
  await page.getByRole('row', { name: /queued 2/ }).waitFor();
  await button(page, 'Cancel 2 queued loads').click();
  await page.getByRole('row', { name: /cancelled 2/ }).waitFor();
  await page.getByRole('row', { name: /refused-not-newer 1/ }).waitFor();
  await button(page, 'Retry 1 failed load').click();
  await page.getByText('those whose loads failed before').waitFor();
  expect(itemsOf(await service.get('/v1/load-batches?limit=1'))).toMatchObject([{ retryOf: body.batch, loads: 1 }]);
});

test('the form of a rollout shows the unreachable devices, and skips them', async () => {
  await dashboard.push('lag', '1.0.0', '(module (func (export "ask")))');
  const dark = new Agent(dashboard.service);
  await dark.register('dark', ['dark-1']);
  database.prepare('UPDATE "Host" SET "unreachableSince" = ? WHERE "id" = ?').run(new Date().toISOString(), dark.host);
  const page = await dashboard.open('/rollouts/new?module=lag');
  await page.getByLabel('Label selector', { exact: true }).fill('zone notin (south)');
  await button(page, 'Preview').click();
  await page.getByText(/^\d devices? (is|are) unreachable\. Their loads would wait\./).waitFor();
  await page.getByLabel('Unreachable devices').selectOption('skip');
  await page.getByText('The form has changed.').waitFor();
  await button(page, 'Preview').click();
  await page.getByText(/unreachable\. The rollout would skip them\./).waitFor();
  await button(page, 'Roll out lag@1.0.0').click();
  await page.getByText(/^\d devices? at the request, skipped: .*dark-1/).waitFor();
  const [open] = itemsOf(await dashboard.service.get('/v1/rollouts?module=lag'));
  expect(open).toMatchObject({ unreachableDevices: { skipped: expect.any(Number) } });
  await dashboard.service.post(`/v1/rollouts/${open?.id}/abort`, {});

  const device = itemsOf(await dashboard.service.get('/v1/devices?name=dark-1'))[0];
  await go(page, `/devices/${device?.id}`);
  await button(page, 'Load a build…').click();
  await page
    .getByRole('dialog')
    .getByText('The host of dark-1 is unreachable. The load would wait until it connects, or expire.')
    .waitFor();
});

test('no page caused errors or contacted another host', () => {
  const { addresses, wrongs } = dashboard.watched;
  expect(wrongs).toEqual([]);
  expect(addresses.filter((address) => new URL(address).hostname !== '127.0.0.1')).toEqual([]);
});
