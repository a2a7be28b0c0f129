// Reads the addresses of trusted proxies.

import { isIP } from 'node:net';
import { UsageError } from '../errors.ts';

/** Maximum number of addresses and ranges. */
const maxProxies = 100;

/** Reads addresses and CIDR ranges, separated by commas, like `10.0.0.0/8,::1`. @throws {UsageError} */
export function readTrustedProxies(text: string): string[] {
  const proxies = text
    .split(',')
    .map((proxy) => proxy.trim())
    .filter((proxy) => proxy !== '');
  const unknown = proxies.find((proxy) => !isAddressOrRange(proxy));
  if (unknown !== undefined)
    throw new UsageError(
      `--trusted-proxies: expected IP addresses and CIDR ranges like 10.0.0.7 or 10.0.0.0/8, separated by commas; received "${unknown}"`,
    );
  if (proxies.length > maxProxies)
    throw new UsageError(`--trusted-proxies: limit exceeded (${proxies.length} of ${maxProxies} proxies): give ranges like 10.0.0.0/8`);
  return proxies;
}

function isAddressOrRange(proxy: string): boolean {
  const [address = '', prefix, ...more] = proxy.split('/');
  const family = isIP(address);
  if (family === 0 || address.includes('%') || more.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128));
}
