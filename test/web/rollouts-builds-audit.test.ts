// The pages of rollouts, builds and the audit trail in a real browser on a live service: what is decided, pushed and verified there, and what they say
// when somebody has been at the database.

import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Schemas } from '../../src/client/client.ts';
import { itemsOf, prebuiltModule, until } from '../service/test-service.ts';
import { Dashboard, failAndComeBack, go, lookForBarriers, shown } from './dashboard.ts';

let dashboard: Dashboard;
let database: Database.Database;
/** A rollout whose first wave has failed. */
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
/** What an operator may decide about the rollout of the page, in its order, and what is offered first. */
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
  test('one is written down, looked at, begun, approved, seen through, and rolled back', async () => {
    const page = await dashboard.open('/rollouts');
    await page.getByText('Nothing has been rolled out yet').waitFor();
    await button(page, 'Roll a build out…').click();
    await heading(page, 'Roll a build out').waitFor();
    await page.getByRole('combobox', { name: 'Version', exact: true }).selectOption('1.1.0');
    await page.getByLabel('What to call it').fill('tcp-1.1');
    await page.getByLabel('Devices with these labels').fill('zone');
    await page.getByText('Write labels as key=value').waitFor();
    await page.getByLabel('Devices with these labels').fill('zone=north');
    await button(page, 'Remove wave 2').click();
    const [first, last] = [page.getByRole('group', { name: 'Wave 1' }), page.getByRole('group', { name: 'Wave 2' })];
    for (const wave of [first, last]) await wave.getByLabel('Watched for').fill('0');
    await last.getByLabel('begins when approved').check();
    expect(await button(page, 'Roll tcp@1.1.0 out').isDisabled()).toBe(true);
    await button(page, 'See what it would come to').click();
    await page.getByText('It would go to 2 devices: 1 in wave 1, 1 in wave 2').waitFor();
    await first.getByLabel('Watched for').fill('1');
    await page.getByText('The form has changed since').waitFor();
    expect(await button(page, 'Roll tcp@1.1.0 out').isDisabled()).toBe(true);
    await button(page, 'See what it would come to').click();
    await button(page, 'Roll tcp@1.1.0 out').click();

    await heading(page, 'tcp-1.1').waitFor();
    await page.getByText('It waits for the approval of wave 2.').waitFor();
    await page.getByRole('listitem').filter({ hasText: 'Wave 1' }).getByText('passed').waitFor();
    await page
      .getByRole('table', { name: 'Thresholds of wave 1' })
      .getByRole('row', { name: 'Loads without success 0% 0% good' })
      .waitFor();
    await page.getByRole('row', { name: /^rack-a-\d 1 loaded 1\.0\.0 to 1\.1\.0 replaced/ }).waitFor();
    await page.getByRole('row', { name: /^rack-a-\d 2 waiting/ }).waitFor();
    await page.getByLabel('State').selectOption('waiting');
    await page.getByText('1 device shown.').waitFor();
    expect(new URL(page.url()).search).toBe('?state=waiting');
    await page.getByLabel('State').selectOption('');
    await button(page, 'Approve wave 2…').click();
    await page.getByRole('dialog').getByText('Wave 2 begins: the build goes to 1 device.').waitFor();
    await button(page.getByRole('dialog'), 'Approve wave 2').click();
    await page.getByText('completed', { exact: true }).waitFor();
    await page.getByText('2 loaded').first().waitFor();
    expect(await versionsOf('zone=north')).toEqual([{ tcp: '1.1.0' }, { tcp: '1.1.0' }]);

    await button(page, 'Roll back…').click();
    const question = page.getByRole('dialog', { name: 'Roll back: tcp-1.1' });
    await question.getByText('2 devices now, goes back to the version that it had').waitFor();
    await question.getByLabel('Reason').fill('1.1.0 drops packets');
    await button(question, 'Roll back').click();
    await heading(page, 'Rollback of tcp-1.1').waitFor();
    await page.getByText('completed', { exact: true }).waitFor();
    expect(await versionsOf('zone=north')).toEqual([{ tcp: '1.0.0' }, { tcp: '1.0.0' }]);
    await page.getByRole('link', { name: 'another rollout' }).click();
    await heading(page, 'tcp-1.1').waitFor();
    await page.getByText('rolled-back: 1.1.0 drops packets').waitFor();
    await page.getByRole('navigation').getByRole('link', { name: 'Rollouts' }).click();
    await page.getByRole('row', { name: /^tcp-1\.1 tcp@1\.1\.0 rolled-back/ }).waitFor();
  });

  test('a wave that fails says by what, and what an operator may decide is done', async () => {
    const waves = [{ devices: 1, soakSeconds: 0 }, { upToPercent: 100 }];
    failed = await rollOut({ name: 'dissimilar', module: 'tcp', version: '2.0.0', labels: { zone: 'south' }, waves });
    const page = await dashboard.open(`/rollouts/${failed}`);
    await page.getByText('paused: wave 1 failed').waitFor();
    // The fleet is not well until somebody has decided, and says what about.
    await page.goto('/');
    await page.getByRole('list', { name: 'Why the fleet is degraded' }).getByRole('link', { name: failed }).click();
    await page.getByRole('row', { name: 'Loads without success 100% 0% too much' }).waitFor();
    await page.getByRole('row', { name: /failed .*refused-dissimilar .*is not substantially similar/ }).waitFor();
    // Nothing has the build, so that nothing can go back.
    expect(await decisions(page)).toEqual(['Retry failed loads… (main)', 'Abort…', 'Resume…']);
    await button(page, 'Retry failed loads…').click();
    await page.getByRole('dialog').getByText('The loads of 1 device are tried again').waitFor();
    await button(page.getByRole('dialog'), 'Retry failed loads').click();
    await page.getByText('refused-dissimilar, attempt 2').waitFor();
    await page.getByText('paused: wave 1 failed').waitFor();
    await button(page, 'Resume…').click();
    await page.getByRole('dialog').getByText('is not judged any more').waitFor();
    await button(page.getByRole('dialog'), 'Cancel').click();
    expect(await page.getByRole('dialog').count()).toBe(0);
  });

  test('all that a rollout may be told is written down, and what is wrong with it is told where it is', async () => {
    const page = await dashboard.open('/rollouts/new?module=tcp&version=1.1.0');
    await page.getByLabel('What to call it').fill('all-of-it');
    await page.getByLabel('Devices by').selectOption('name');
    await page.getByLabel('Name begins with').fill('rack-a');
    await page.getByText('rack-b-1').waitFor({ state: 'detached' });
    await button(page, 'Take all 2').click();
    await page.getByLabel('Name begins with').fill('rack-b');
    await page.getByRole('checkbox', { name: 'rack-b-1' }).check();
    await button(page, 'Without rack-a-1').click();
    await page.getByText('2 devices, in this order:').waitFor();
    await page.getByText('refused where another rollout').click();
    await page.getByLabel('If another rollout has some of the devices').selectOption('queue');
    const first = page.getByRole('group', { name: 'Wave 1' });
    await first.getByLabel('has limits of its own').check();
    await first.getByLabel('Loads without success').fill('50');
    await first.getByLabel('Longer p99 latency').fill('30');
    await page.getByText('More: from how many calls on').click();
    await page.getByLabel('a wave with fewer calls fails').last().check();
    await page.getByText('Loads: 100 at once').click();
    await page.getByLabel('Not before').fill('2099-01-01T00:00');
    await page.getByLabel('Loads in a minute').fill('30');
    await page.getByLabel('only at some times of the week').check();
    await page.getByLabel('friday').uncheck();
    await page.getByLabel('By the clock of').fill('Europe/Nowhere');
    await page.getByText('Loads: 100 at once').click();
    await page.getByText('Each: inject').click();
    await page.getByLabel('A load may take').fill('90');
    await button(page, 'See what it would come to').click();

    const zone = page.getByLabel('By the clock of');
    await zone.and(page.locator(':focus')).waitFor();
    await page.getByText('unknown time zone "Europe/Nowhere"').first().waitFor();
    expect(await zone.getAttribute('aria-invalid')).toBe('true');
    await zone.fill('Europe/Berlin');
    expect(await zone.getAttribute('aria-invalid')).toBe('false');
    await button(page, 'See what it would come to').click();
    await page.getByText('It would go to 2 devices: 1 in wave 1, 0 in wave 2, 1 in wave 3').waitFor();
    await button(page, 'Roll tcp@1.1.0 out').click();
    await heading(page, 'all-of-it').waitFor();
    await page.getByText(/It waits for its start at/).waitFor();
    const id = new URL(page.url()).pathname.split('/')[2] ?? '';
    const usual = { failedLoadsPercent: 0, failedCallsPercent: 1, abiViolations: 0, minimumCalls: 20 };
    expect((await dashboard.service.get(`/v1/rollouts/${id}`)).body).toMatchObject({
      selector: { devices: 2, labels: null },
      onConflict: 'queue',
      loadsPerMinute: 30,
      deadlineSeconds: 90,
      window: { days: ['monday', 'tuesday', 'wednesday', 'thursday'], from: '22:00', until: '04:00', timeZone: 'Europe/Berlin' },
      waves: [
        { thresholds: { ...usual, failedLoadsPercent: 50, latencyIncreasePercent: 30, requireCalls: false } },
        { thresholds: { ...usual, latencyIncreasePercent: null, requireCalls: true } },
        { thresholds: { ...usual, latencyIncreasePercent: null, requireCalls: true } },
      ],
    });
    const devices = itemsOf(await dashboard.service.get(`/v1/rollouts/${id}/devices?order=asc`));
    expect(devices.map(({ deviceName }) => deviceName)).toEqual(['rack-a-2', 'rack-b-1']);

    const saved = page.waitForEvent('download');
    await button(page, 'Save the report').click();
    expect((await saved).suggestedFilename()).toBe('all-of-it.csv');
    expect(readFileSync(await (await saved).path(), 'utf8')).toMatch(/^[^\r]*device[^\r]*\r\n(.*rack-a-2.*\r\n)(.*rack-b-1.*\r\n)$/);
    await dashboard.service.post(`/v1/rollouts/${id}/abort`, {});
  });

  test('one whose wave has interrupted too much goes on when an operator resumes it, takes devices that join, and is closed to them', async () => {
    // Within an access for ten minutes; the next version is not.
    const waiting = '(import "kernel" "sleep" (func $sleep (param i32)))';
    const hold = (content: string) => `(module ${waiting} (func (export "hold") (param i32) (result i32) ${content} (i32.const 0)))`;
    await dashboard.push('hold', '1.0.0', hold('(call $sleep (local.get 0))'));
    await dashboard.push('hold', '1.1.0', hold(''));
    const [one = '', another = ''] = await Promise.all(['rack-a-1', 'rack-a-2'].map((name) => dashboard.deviceOf(name)));
    await dashboard.service.load('hold', '1.0.0', [one, another]);
    const program = { name: 'held', module: 'hold', export: 'hold', arguments: [600_000], threads: 1 };
    const stops = [await dashboard.run(one, program), await dashboard.run(another, program)];
    const page = await dashboard.open('/rollouts/new?module=hold&version=1.1.0');
    await page.getByLabel('Devices with these labels').fill('zone=north');
    await page.getByText('More: no devices join it later').click();
    await page.getByLabel('devices that match later join the last wave').check();
    await page.getByLabel('Accesses interrupted on a device').fill('0');
    await button(page, 'Remove wave 2').click();
    for (const wave of ['Wave 1', 'Wave 2']) await page.getByRole('group', { name: wave }).getByLabel('Watched for').fill('0');
    await page.getByRole('group', { name: 'Wave 2' }).getByLabel('has limits of its own').check();
    await page.getByRole('group', { name: 'Wave 2' }).getByLabel('Accesses interrupted on a device').fill('');
    await button(page, 'See what it would come to').click();
    await button(page, 'Roll hold@1.1.0 out').click();
    await page.getByText('paused: wave 1 failed').waitFor();
    await page.getByRole('row', { name: 'Accesses interrupted on a device 1 0 too much' }).waitFor();
    // To resume would give the build to more devices.
    const [first, ...others] = await decisions(page);
    expect([first, others.at(-1)]).toEqual(['Roll back… (main)', 'Resume…']);
    await button(page, 'Resume…').click();
    await button(page.getByRole('dialog'), 'Resume').click();
    await page.getByText('It waits for devices that join it.').waitFor();
    await page.getByText('2 loaded').first().waitFor();
    await page.getByText('zone=north, also those that match later').waitFor();
    await button(page, 'Close to devices…').click();
    await page.getByRole('dialog').getByText('No more devices join it.').waitFor();
    await button(page.getByRole('dialog'), 'Close to devices').click();
    await page.getByText('completed', { exact: true }).waitFor();
    expect(await button(page, 'Close to devices…').count()).toBe(0);
    for (const stop of stops) await stop();
  });

  test('one that goes on is paused with a reason, resumed, and aborted, in the sight of others', async () => {
    const startAt = new Date(Date.now() + 3_600_000).toISOString();
    const id = await rollOut({ module: 'tcp', version: '1.1.0', labels: { zone: 'north' }, startAt });
    const [page, other] = [await dashboard.open(`/rollouts/${id}`), await dashboard.open('/rollouts?state=paused', { role: 'viewer' })];
    await page.getByText(/It waits for its start at/).waitFor();
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

  test('a source that does not compile has its errors where they are; when they are mended, it is a build', async () => {
    const page = await dashboard.open('/builds', { role: 'publisher' });
    await page.getByLabel('Module', { exact: true }).fill('udp');
    await page.getByLabel('Version', { exact: true }).fill('1.0.0');
    await source(page).fill('export function send(size: i32): i32 {\n\n\treturn sise * 2;\n}\n');
    await button(page, 'Push').click();
    await page.getByText('It does not compile: 1 error').waitFor();
    const [message, numbers] = [page.locator('.source-message'), page.locator('.source-numbers')];
    expect(await message.innerText()).toBe("Cannot find name 'sise'.");
    const [at, first] = [await message.boundingBox(), await numbers.boundingBox()];
    // The third line of 20 pixels each, after a rim of 6.
    expect(Math.round((at?.y ?? 0) - (first?.y ?? 0))).toBe(6 + 2 * 20);
    await button(page, 'line 3, column 9').click();
    expect(await page.evaluate<number>('document.activeElement.selectionStart')).toBe(
      'export function send(size: i32): i32 {\n\n\treturn '.length,
    );
    await source(page).fill('export function send(size: i32): i32 {\n\n\treturn size * 2;\n}\n');
    await message.waitFor({ state: 'detached' });
    await button(page, 'Push').click();
    await page.getByText('udp@1.0.0 is pushed').waitFor();
    await page.getByRole('row', { name: /^udp 1/ }).waitFor();
    await page.getByRole('link', { name: 'udp@1.0.0' }).click();
    await heading(page, 'udp@1.0.0').waitFor();
    await page.getByText('send(i32): i32').waitFor();
    await page.getByText('It is the only build of udp').waitFor();
    await page.getByText('No device has it in memory.').waitFor();
    expect(await button(page, 'Roll it out…').count()).toBe(0);
  });

  test('files are dropped and chosen: a text is to be seen before it is pushed, a prebuilt module is its bytes', async () => {
    const page = await dashboard.open('/builds', { role: 'publisher' });
    await heading(page, 'Builds').waitFor();
    await drop(page, 'arp.wat', '(module (func (export "ask") (result i32) (i32.const 1)))');
    await until('it is to be seen', async () => (await source(page).inputValue()).includes('(export "ask")'));
    expect(await page.getByLabel('Language').inputValue()).toBe('wat');
    expect(await page.getByLabel('Module', { exact: true }).inputValue()).toBe('arp');
    await page.getByLabel('Version', { exact: true }).fill('next-minor');
    await button(page, 'Push').click();
    await page.getByText('arp@1.0.0 is pushed').waitFor();
    const choose = (name: string, content: Uint8Array) =>
      page
        .getByLabel('From a file, or drop it here')
        .setInputFiles({ name, mimeType: 'application/octet-stream', buffer: Buffer.from(content) });
    await choose('arp.zip', prebuiltModule);
    await page.getByText('What arp.zip is cannot be told').waitFor();
    await choose('arp.wasm', new Uint8Array(4 * 1024 * 1024 + 1));
    await page.getByText('at most 4,194,304 bytes are taken').waitFor();
    await choose('arp.wasm', prebuiltModule);
    await page.getByText('arp.wasm, 36 bytes of WebAssembly').waitFor();
    await button(page, 'Push').click();
    await page.getByText('arp@1.1.0 is pushed').waitFor();
    await choose('arp.wasm', new Uint8Array([0, 97, 115]));
    await button(page, 'Push').click();
    await page.getByText('The body is not a WebAssembly module').waitFor();
  });

  /** Drops a file of that text on the form. */
  async function drop(page: Page, name: string, content: string): Promise<void> {
    const file = JSON.stringify([name, content]);
    await page.evaluate(`{
      const [name, content] = ${file};
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([content], name));
      document.querySelector('.drop').dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
    }`);
  }

  test('two versions are compared export by export, in the address', async () => {
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

  test('who has signed a build is checked in the browser, and a statement that somebody has changed is told', async () => {
    const page = await dashboard.open('/builds/tcp/1.0.0', { role: 'viewer' });
    await page.getByRole('row', { name: /^the service sha256:/ }).waitFor();
    await page
      .getByRole('table', { name: 'Devices that run it' })
      .getByRole('row', { name: /rack-a-1/ })
      .waitFor();
    await button(page, 'Check the signatures').click();
    await page.getByText('What was signed is this build').waitFor();
    await page.getByRole('row', { name: /^the service sha256:\w+ good/ }).waitFor();
    const read = database.prepare("SELECT envelope FROM Build WHERE module = 'tcp' AND version = '1.0.0'").pluck();
    const kept = String(read.get());
    const envelope = JSON.parse(kept);
    const payload = Buffer.from(envelope.payload, 'base64').toString().replace('1.0.0', '1.0.1');
    const write = database.prepare("UPDATE Build SET envelope = ? WHERE module = 'tcp' AND version = '1.0.0'");
    write.run(JSON.stringify({ ...envelope, payload: Buffer.from(payload).toString('base64') }));
    try {
      await button(page, 'Check the signatures').click();
      await page.getByText('Nothing is proven of this build').waitFor();
      await shown(page.getByRole('row', { name: /not good/ }));
    } finally {
      write.run(kept);
    }
  });
});

describe('the audit trail', () => {
  test('is filtered in the address, follows what happens, and stands still where it is told to', async () => {
    const page = await dashboard.open('/audit');
    await page.getByText('it follows what happens').waitFor();
    await page.getByLabel('Action').fill('key.created');
    await page.getByText('5 events shown.').waitFor();
    expect(new URL(page.url()).search).toBe('?action=key.created');
    await dashboard.service.post('/v1/keys', { name: 'seen-live', role: 'viewer' });
    await page.getByText('name seen-live').waitFor();
    await button(page, 'Hold still').click();
    await page.getByText('it ends at a time, and stands still').waitFor();
    await dashboard.service.post('/v1/keys', { name: 'not-seen', role: 'viewer' });
    await page.getByLabel('Outcome').selectOption('succeeded');
    await page.getByText('6 events shown.').waitFor();
    await button(page, 'Follow').click();
    await page.getByText('name not-seen').waitFor();
    await page.getByLabel('From').fill('2001-01-01T00:00');
    await page.waitForURL(/from=200[01]-/);
    await page.getByLabel('Until').fill('2001-01-02T00:00');
    await page.getByText('No event is like that.').waitFor();
    await page.reload();
    await page.getByText('No event is like that.').waitFor();
    await button(page, 'Show all events').click();
    const event = page.getByRole('row', { name: /load\.completed/ }).first();
    await event.locator('summary').click();
    await event.getByText('hash before').waitFor();
    await event.getByRole('link', { name: /^req_/ }).click();
    await page.waitForURL(/\/audit\?request=req_/);
  });

  test('is verified in the browser, by the keys of the service or by what somebody has kept', async () => {
    const page = await dashboard.open('/audit');
    await button(page, 'Have a checkpoint signed, and verify').click();
    await page.getByText('The trail is whole').waitFor();
    const proven = page.getByRole('region', { name: 'Proven here' });
    expect(await proven.innerText()).toMatch(/Events 1 to \d+: each has the content that its hash says/);
    expect(await proven.innerText()).toContain('which the service says is its own');
    await page.getByText('That this key is its own').waitFor();
    const saved = page.waitForEvent('download');
    await button(page, 'Save the trail').click();
    expect((await saved).suggestedFilename()).toBe('audit-trail.ndjson');
    const lines = readFileSync(await (await saved).path(), 'utf8')
      .trimEnd()
      .split('\n');
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ number: lines.length - 1, hash: expect.any(String) });
    const note = String(itemsOf(await dashboard.service.get('/v1/audit/checkpoints?limit=1'))[0]?.note);
    const key = String(itemsOf(await dashboard.service.get('/v1/signing-keys'))[0]?.publicKey);
    await page.getByText('Against what you have kept').click();
    await page.getByLabel('Public keys, in PEM').fill(key);
    await page.getByLabel('A checkpoint of before').fill(note);
    await button(page, 'Verify').click();
    await proven.getByText('which is a key of yours or one that it vouches for').waitFor();
    expect(await page.getByText('That this key is its own').count()).toBe(0);
    await page.getByLabel('Public keys, in PEM').fill(strangeKey);
    await button(page, 'Verify').click();
    await page.getByText('is not signed by a key that is trusted').waitFor();
    await page.getByLabel('Public keys, in PEM').fill('a key');
    await button(page, 'Verify').click();
    await page.getByText('what is given as a public key is none to trust').waitFor();
    await page.getByLabel('Public keys, in PEM').fill(key);
    await page.getByLabel('A checkpoint of before').fill(note.replace(/\n\d+\n/, '\n3\n'));
    await button(page, 'Verify').click();
    await page.getByText('Nothing is proven').or(page.getByText('The trail is not as it was written')).waitFor();
  });

  test('is saved where it is as large as may be, and where it is larger the page says how else to get it', async () => {
    const page = await dashboard.open('/audit', { role: 'viewer' });
    const most = 64 * 1024 * 1024;
    const saved = page.waitForEvent('download');
    await answerWithBytes(page, most);
    await button(page, 'Save the trail').click();
    expect(statSync(await (await saved).path()).size).toBe(most);
    let downloads = 0;
    page.on('download', () => downloads++);
    await answerWithBytes(page, most + 1);
    await button(page, 'Save the trail').click();
    const told = page.getByRole('alert').filter({ hasText: 'It is larger than 64 MiB, as much as is saved from here' });
    await told.waitFor();
    expect(await told.innerText()).toContain('patchbay audit export --output trail.ndjson');
    // No part of it is handed over as if it were the whole, and the rest is not asked for.
    expect([downloads, await page.evaluate<boolean>('isGivenUp')]).toEqual([0, true]);
    await answerWithBytes(page, 10);
    const after = page.waitForEvent('download');
    await button(page, 'Save the trail').click();
    expect(statSync(await (await after).path()).size).toBe(10);
    await told.waitFor({ state: 'detached' });
  });

  /** Has the export be so many bytes: made in the page, for no trail of a test is so large. */
  async function answerWithBytes(page: Page, bytes: number): Promise<void> {
    await page.evaluate(`{
      let left = ${bytes};
      globalThis.isGivenUp = false;
      const pull = (controller) => {
        const part = Math.min(left, 1_000_000);
        left -= part;
        // One that is too large does not end by itself.
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
    ['changed', "UPDATE AuditEvent SET actor = 'nobody' WHERE number = 4", 'event 4 is bad', 'its content is not what its hash says'],
    ['taken out', 'DELETE FROM AuditEvent WHERE number = 4', 'event 4 is bad', 'it is missing'],
  ])('tells of an event that was %s behind the back of the service', async (_what, tamper, which, why) => {
    const page = await dashboard.open('/audit', { role: 'viewer' });
    await heading(page, 'Audit trail').waitFor();
    expect(await button(page, 'Have a checkpoint signed, and verify').count()).toBe(0);
    const event = database.prepare('SELECT * FROM AuditEvent WHERE number = 4').get();
    database.exec(tamper);
    try {
      await button(page, 'Verify').click();
      await page.getByText(`The trail is not as it was written: ${which}`).waitFor();
      await page.getByText(why).waitFor();
      await page.getByText('The 3 before are good.').waitFor();
    } finally {
      const columns = Object.keys(Object(event));
      const values = columns.map((name) => `@${name}`).join(', ');
      database.prepare(`INSERT OR REPLACE INTO AuditEvent (${columns.join(', ')}) VALUES (${values})`).run(event);
    }
    await button(page, 'Verify').click();
    await page.getByText('The trail is whole').waitFor();
  });
});

test('who may not do a thing is not offered it', async () => {
  for (const role of ['viewer', 'publisher'] as const) {
    const page = await dashboard.open(`/rollouts/${failed}`, { role });
    const mayPush = role === 'publisher';
    for (const [path, shown, offered] of [
      [`/rollouts/${failed}`, page.getByRole('table', { name: 'Devices of the rollout' }), ['Save the report']],
      ['/rollouts', page.getByRole('table', { name: 'Rollouts' }), []],
      ['/rollouts/new', page.getByText('it needs the role operator'), []],
      ['/builds', page.getByRole('table', { name: 'Modules' }), mayPush ? ['Push'] : []],
      ['/builds/tcp', page.getByRole('table', { name: 'Builds of tcp' }), mayPush ? ['Push'] : []],
      ['/builds/tcp/1.0.0', page.getByRole('table', { name: 'Signatures' }), ['Check the signatures']],
      ['/audit', page.getByRole('table', { name: 'Events' }), ['Verify', 'Save the trail', 'Hold still']],
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

/** Every page, the part of the API that it is made of, and something that is on it when all is well. */
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

test('each page says that it is loading, and what went wrong, and comes back by itself', async () => {
  const page = await dashboard.open('/');
  await failAndComeBack(page, pages());
  for (const [path, text] of [
    ['/rollouts?module=none', 'No rollout is like that.'],
    ['/rollouts/rol_none', 'The object does not exist'],
    ['/rollouts/new?module=none', 'There is no build of none.'],
    [`/rollouts/${failed}?state=skipped`, 'No device of the rollout is like that.'],
    ['/builds/none', 'There is no build of none.'],
    ['/builds/tcp/9.9.9', 'The object does not exist'],
    ['/audit?object=none', 'No event is like that.'],
  ] as const) {
    await go(page, path);
    await page.getByText(text).waitFor();
  }
});

test('what an export lacks because it was cut short is no proof', async () => {
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
  await page.getByText('the export ends before its end').waitFor();
  await page.unroute('**/v1/audit/export');
  await page.route('**/v1/audit/export', (route) => route.abort());
  await button(page, 'Verify').click();
  await shown(page.getByText('The trail was not read to its end.'));
});

test('nobody is kept out of a page by what axe finds, nor by a narrow window', { timeout: 300_000 }, async () => {
  const page = await dashboard.open('/', { role: 'admin' });
  /** What is there only after something was done. */
  const acts: Readonly<Record<string, () => Promise<void>>> = {
    rollout: async () => {
      await button(page, 'Abort…').click();
      await page.getByRole('dialog').waitFor();
    },
    'new rollout': async () => {
      for (const summary of await page.locator('summary').all()) await summary.click();
      await page.getByRole('group', { name: 'Wave 1' }).getByLabel('has limits of its own').check();
      await page.getByLabel('only at some times of the week').check();
      await page.getByLabel('Devices by').selectOption('name');
      await button(page, 'Take all 4').click();
      await page.getByLabel('That run these versions').fill('x.y');
      await button(page, 'See what it would come to').click();
      await page.getByText('"x.y" is no range').first().waitFor();
      await page.getByLabel('That run these versions').fill('');
      await button(page, 'See what it would come to').click();
      await page.getByText('It would go to').waitFor();
    },
    builds: async () => {
      await page.getByLabel('Version', { exact: true }).fill('3.0.0');
      await page.getByRole('textbox', { name: 'Source' }).fill('export function send(size: i32): i32 {\n  return sise;\n}');
      await button(page, 'Push').click();
      await page.getByText('It does not compile').waitFor();
    },
    build: async () => {
      await button(page, 'Check the signatures').click();
      await page.getByText('What was signed is this build').waitFor();
    },
    audit: async () => {
      await page.getByText('Against what you have kept').click();
      await button(page, 'Verify').click();
      await page.getByText('The trail is whole').waitFor();
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

test('by keyboard alone: a source is pushed, and a rollout is decided about', async () => {
  const page = await dashboard.open('/builds/tcp', { role: 'admin' });
  await page.getByLabel('Version', { exact: true }).focus();
  await page.keyboard.type('2.1.0');
  for (const text of ['Language', 'From a file', 'Source']) {
    await page.keyboard.press('Tab');
    expect(await page.getByLabel(text).first().and(page.locator(':focus')).count(), text).toBe(1);
  }
  await page.keyboard.type('export function total(length: i32): i32 { return length + 1; }');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.getByText('tcp@2.1.0 is pushed').waitFor();
  await page.goto(`/rollouts/${failed}`);
  await button(page, 'Abort…').focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  expect(await button(page, 'Abort…').and(page.locator(':focus')).count()).toBe(1);
});

test('no page did anything that it may not, and asked nobody but the service', () => {
  const { addresses, wrongs } = dashboard.watched;
  expect(wrongs).toEqual([]);
  expect(addresses.filter((address) => new URL(address).hostname !== '127.0.0.1')).toEqual([]);
});
