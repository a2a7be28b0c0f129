// The setting of trusted proxies.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readTrustedProxies } from '../../src/cli/running/trusted-proxies.ts';
import { runPatchbay } from './command.ts';

test('addresses and ranges are read, of both families', () => {
  expect(readTrustedProxies('')).toEqual([]);
  expect(readTrustedProxies(' 10.0.0.7, 10.0.0.0/8,::1,2001:db8::/32,')).toEqual(['10.0.0.7', '10.0.0.0/8', '::1', '2001:db8::/32']);
});

test.each(['nginx', '10.0.0.0/33', '::1/129', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0', '10.0.0.1;10.0.0.2', 'fe80::1%eth0', '10.0.0.0/-1'])(
  '%s is no proxy',
  (text) => {
    expect(() => readTrustedProxies(`127.0.0.1,${text}`)).toThrow(`--trusted-proxies has "${text}": give IP addresses and CIDR ranges`);
  },
);

test('more than 100 are refused', () => {
  expect(() => readTrustedProxies(Array.from({ length: 101 }, (_, index) => `10.0.0.${index}`).join(','))).toThrow('the limit is 100');
});

test('a service with a proxy that is none does not start', async () => {
  const home = mkdtempSync(join(tmpdir(), 'patchbay-proxies-'));
  try {
    const said = await runPatchbay(home, ['serve', '--port', '0', '--no-embedded-host'], { PATCHBAY_TRUSTED_PROXIES: 'nginx' });
    expect(said).toMatchObject({ code: 2, stderr: expect.stringContaining('--trusted-proxies has "nginx"') });
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});
