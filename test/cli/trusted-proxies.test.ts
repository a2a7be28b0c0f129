// The setting of trusted proxies.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readTrustedProxies } from '../../src/cli/running/trusted-proxies.ts';
import { runPatchbay } from './command.ts';

test('addresses and ranges of both families are parsed', () => {
  expect(readTrustedProxies('')).toEqual([]);
  expect(readTrustedProxies(' 10.0.0.7, 10.0.0.0/8,::1,2001:db8::/32,')).toEqual(['10.0.0.7', '10.0.0.0/8', '::1', '2001:db8::/32']);
});

test.each(['nginx', '10.0.0.0/33', '::1/129', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0', '10.0.0.1;10.0.0.2', 'fe80::1%eth0', '10.0.0.0/-1'])(
  '%s is rejected',
  (text) => {
    expect(() => readTrustedProxies(`127.0.0.1,${text}`)).toThrow(`received "${text}"`);
  },
);

test('more than 100 proxies are rejected', () => {
  expect(() => readTrustedProxies(Array.from({ length: 101 }, (_, index) => `10.0.0.${index}`).join(','))).toThrow(
    'limit exceeded (101 of 100 proxies)',
  );
});

test('a service with an invalid trusted proxy does not start', async () => {
  const home = mkdtempSync(join(tmpdir(), 'patchbay-proxies-'));
  try {
    const result = await runPatchbay(home, ['serve', '--port', '0', '--no-embedded-host'], { PATCHBAY_TRUSTED_PROXIES: 'nginx' });
    expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining('received "nginx"') });
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});
