// The browser of the tests: it comes in an npm package, and is the same everywhere.

import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sparticuz, { inflate } from '@sparticuz/chromium';
import { type Browser, chromium } from 'playwright-core';
import { browserFolderName } from './browser-folder.ts';

const packageFolder = join(dirname(fileURLToPath(import.meta.resolve('@sparticuz/chromium'))), '..');
/** Starts it. A machine that has not the libraries it needs gets those of the package. */
export async function startBrowser(): Promise<Browser> {
  const folder = await unpacked();
  // What Chromium leaves when it is closed in the middle of a write goes with the browser's folder.
  const temporary = join(folder, 'temporary');
  mkdirSync(temporary, { recursive: true });
  const env = { ...process.env, FONTCONFIG_PATH: join(folder, 'fonts'), TMPDIR: temporary };
  const options = {
    executablePath: join(folder, 'chromium'),
    // Nothing is drawn for anybody, and pages of the service need no processes of their own.
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--process-per-site', '--disable-gpu', '--disable-software-rasterizer'],
    headless: true,
    env,
  };
  try {
    return await chromium.launch(options);
  } catch (error) {
    if (!String(error).includes('error while loading shared libraries')) throw error;
    return chromium.launch({ ...options, env: { ...env, LD_LIBRARY_PATH: join(folder, 'al2023', 'lib') } });
  }
}

/** Where it is unpacked: whole, or not there yet, for other files of tests begin at the same time. */
async function unpacked(): Promise<string> {
  const folder = join(tmpdir(), browserFolderName);
  if (existsSync(folder)) return folder;
  const own = mkdtempSync(`${folder}-`);
  const before = process.env['TMPDIR'];
  // The package unpacks to where temporary files are, and nowhere else.
  process.env['TMPDIR'] = own;
  try {
    await Promise.all([sparticuz.executablePath(), inflate(join(packageFolder, 'bin', 'al2023.tar.br'))]);
  } finally {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
  }
  writeFileSync(join(own, 'fonts', 'fonts.conf'), fontsConfiguration(join(folder, 'fonts')));
  try {
    renameSync(own, folder);
  } catch (error) {
    // Another was first.
    rmSync(own, { recursive: true });
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

/** The package's own configuration names a fixed folder, where the fonts are not: Chromium ends on the first page when it finds no font. */
function fontsConfiguration(fonts: string): string {
  return `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>${fonts}</dir>
  <cachedir>${join(fonts, 'cache')}</cachedir>
</fontconfig>
`;
}
