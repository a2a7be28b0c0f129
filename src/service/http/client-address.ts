// The address of a client, behind proxies that forward it in X-Forwarded-For.

import { BlockList, isIP } from 'node:net';
import { normalizeIP } from '@fastify/rate-limit';
import type { FastifyRequest } from 'fastify';

/**
 * Returns a function that checks whether an address of `X-Forwarded-For`, or of a connection, belongs to a trusted proxy.
 * @param proxies IP addresses and CIDR ranges.
 */
export function createProxyTrust(proxies: readonly string[]): (forwarded: string) => boolean {
  const trusted = new BlockList();
  for (const proxy of proxies) {
    const [address = '', prefix] = proxy.split('/');
    if (prefix === undefined) trusted.addAddress(address, familyOf(address));
    else trusted.addSubnet(address, Number(prefix), familyOf(address));
  }
  return (forwarded) => {
    const address = withoutPort(forwarded);
    return isIP(address) !== 0 && trusted.check(address, familyOf(address));
  };
}

/** Returns the client's address: that of the connection, or the address that a trusted proxy forwards. If a proxy forwards no valid address, it counts as the client. */
export function clientAddress({ ip, socket }: Pick<FastifyRequest, 'ip' | 'socket'>): string {
  const { remoteAddress = 'disconnected' } = socket;
  const address = withoutPort(ip ?? '');
  // The zone of a link-local address is a name that the sender chooses.
  return normalizeIP(isIP(address) === 0 || address.includes('%') ? remoteAddress : address);
}

const familyOf = (address: string) => (isIP(address) === 4 ? 'ipv4' : 'ipv6');

/** Some proxies forward the port as well: `203.0.113.11:1000`, `[2001:db8::1]:443`. */
function withoutPort(forwarded: string): string {
  const [, bracketed, plain] = /^(?:\[([^\]]*)\](?::\d{1,5})?|([\d.]+):\d{1,5})$/.exec(forwarded) ?? [];
  return bracketed ?? plain ?? forwarded;
}
