import { chromium } from 'playwright-core';
import sparticuz from '@sparticuz/chromium';
import { readFileSync, mkdirSync } from 'node:fs';
const out = process.argv[2]!; const base = 'http://127.0.0.1:7171'; mkdirSync(out, { recursive: true });
const key = readFileSync('/tmp/dash-dev/admin-key', 'utf8').trim();
const browser = await chromium.launch({ executablePath: await sparticuz.executablePath(), args: ['--no-sandbox'], headless: true });
const api = async (path: string) => (await fetch(base + path, { headers: { authorization: `Bearer ${key}` } })).json() as any;
const dev = (await api('/v1/devices?name=rack-a-1')).items[0].id;
const loads = (await api(`/v1/loads?device=${dev}`)).items;
const pages: [string, string][] = [['fleet', '/'], ['device', `/devices/${dev}`], ['loads', '/loads'], ...loads.map((l: any, i: number) => [`load-${i}-${l.outcome}`, `/loads/${l.id}`] as [string, string])];
const only = process.argv[3];
for (const [w, h] of [[1280, 800], [390, 844]]) for (const scheme of ['light', 'dark'] as const) {
  const ctx = await browser.newContext({ viewport: { width: w!, height: h! }, colorScheme: scheme });
  const page = await ctx.newPage();
  page.on('console', (m) => { if (m.type() === 'error' || m.type() === 'warning') console.log(w, scheme, m.text()); });
  page.on('pageerror', (e) => console.log('PAGEERROR', e.message));
  await page.goto(base + '/');
  await page.getByLabel('API key').fill(key);
  if (!only || only === 'signin') await page.screenshot({ path: `${out}/signin-${w}-${scheme}.png` });
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Fleet' }).waitFor();
  for (const [name, path] of pages) {
    if (only && !name.startsWith(only)) continue;
    await page.goto(base + path);
    await page.waitForTimeout(name === 'device' ? 6000 : 1200);
    const sw = await page.evaluate('document.documentElement.scrollWidth') as number;
    if (sw > w!) console.log('SIDEWAYS', name, w, sw);
    await page.screenshot({ path: `${out}/${name}-${w}-${scheme}.png`, fullPage: true });
    if (name === 'device') {
      await page.getByRole('button', { name: 'Load a build…' }).click(); await page.waitForTimeout(900);
      await page.screenshot({ path: `${out}/dialog-load-${w}-${scheme}.png` });
      await page.keyboard.press('Escape');
      const rb = page.getByRole('button', { name: 'Roll tcp back' });
      if (await rb.count()) { await rb.click(); await page.waitForTimeout(900); await page.screenshot({ path: `${out}/dialog-rollback-${w}-${scheme}.png` }); await page.keyboard.press('Escape'); }
    }
  }
  await ctx.close();
}
await browser.close();
