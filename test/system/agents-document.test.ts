// The walk through in docs/how-to/write-an-agent.md, run as it is written.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Child } from '../../src/cli/child.ts';
import { runBlocks, shellBlocks } from './document.ts';

test('the commands of the walk through bring a device up and load a module on it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-agents-'));
  const database = join(folder, 'data', 'patchbay.db');
  const service = new Child('the service', ['serve', '--no-embedded-host', '--port', '0', '--database', database]);
  try {
    const [, url = ''] = await service.says(/API +(http:\S+)\/v1$/);
    const blocks = shellBlocks('how-to/write-an-agent.md');
    expect(blocks.length).toBeGreaterThan(5);
    const stdout = await runBlocks(blocks, folder, { SERVICE: url });
    expect(stdout).toMatch(/registered as hst_/);
    expect(stdout).toMatch(/"kind":"attach-device"/);
    expect(stdout).toMatch(/"status":"connected"/);
    expect(stdout).toMatch(/"state":"completed","outcome":"installed"/);
    expect(stdout).toMatch(/"items":\[\{"version":"1.0.0",.*"leftAt":null/);
    expect(stdout.trim()).toMatch(/:$/);
  } finally {
    await service.end('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
});
