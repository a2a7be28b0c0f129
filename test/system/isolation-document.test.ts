// The commands of docs/how-to/test-binary-isolation.md, run as they are written.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { Child } from '../../src/cli/child.ts';
import { until } from '../api/fixture.ts';
import { runBlocks, shellBlocks } from './document.ts';

const clone = fileURLToPath(new URL('../..', import.meta.url));

test('the commands find out who holds on to old code, and what they say is what the page tells', { timeout: 300_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-isolation-'));
  const service = new Child('the service', ['serve', '--port', '0', '--database', join(folder, 'patchbay.db')]);
  try {
    const [, url = ''] = await service.says(/API +(http:\S+)\/v1$/);
    const settings = { PATCHBAY_SERVICE: url, PATCHBAY_KEY_FILE: join(folder, 'admin-key') };
    const listed = () => runBlocks(['npx patchbay device list --status connected'], clone, settings);
    await until('the devices have come up', async () => (await listed()).includes('embedded-1 '));
    const blocks = shellBlocks('how-to/test-binary-isolation.md');
    expect(blocks.length).toBeGreaterThan(5);
    const said = await runBlocks(blocks, clone, settings);
    const started = [...said.matchAll(/(prg_\w+) is starting: old-driver on embedded-(\d)/g)].map(([, id]) => id);
    expect(started).toHaveLength(2);
    expect(said).toMatch(new RegExp(`\\n275 +invalidated .* invalidation=none address=0x1000 pages=1 heldBy=\\["${started[0]}"\\]`));
    expect(said).toMatch(/\nrouter +running +\d+ +0 +0 +\d+ +\d+ +1\.0\.0 [\d.]+%, 1\.1\.0 [\d.]+%\n/);
    expect(said).toMatch(/\nold-driver +running +\d+ +0 +0 +0 +0 +1\.0\.0 100\.0%\n/);
    expect(said).toMatch(new RegExp(`\\n${started[1]} +old-driver +net@1\\.0\\.0 +0x1000 +1 +nx +20`));
    expect(said).toMatch(
      /\nold-driver +running +\d+ +[1-9]\d* +[1-9]\d* .* segmentation fault: fetch from net@1\.0\.0 at 0x1000 \(page 1\), which is marked NX\n/,
    );
    expect(said).toMatch(/ device\.abi-violation +dev_/);
    expect(said).toMatch(/\nnew-driver +finished +5 +0 +0 +0 +0 +1\.1\.0 100\.0%\n/);
    expect(said).not.toMatch(/\nrouter +running +\d+ +[1-9]/);
  } finally {
    await service.end('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
});
