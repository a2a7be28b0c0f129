// The browser of the tests: it comes in an npm package, and is the same everywhere.

import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sparticuz, { inflate } from '@sparticuz/chromium';
import { type Browser, chromium } from 'playwright-core';

/** Starts it. A machine that has not the libraries it needs gets those of the package. */
export async function startBrowser(): Promise<Browser> {
  const options = { executablePath: await sparticuz.executablePath(), args: ['--no-sandbox', '--disable-dev-shm-usage'], headless: true };
  try {
    return await chromium.launch(options);
  } catch (error) {
    if (!String(error).includes('error while loading shared libraries')) throw error;
    await inflate(join(dirname(fileURLToPath(import.meta.resolve('@sparticuz/chromium'))), '..', 'bin', 'al2023.tar.br'));
    return chromium.launch({ ...options, env: { ...process.env, LD_LIBRARY_PATH: join(tmpdir(), 'al2023', 'lib') } });
  }
}
