// Decides which addresses webhooks may connect to, so that a webhook cannot reach services behind the firewall (server-side request forgery).

import { BlockList, isIP } from 'node:net';

/** Networks of this machine and of the organization: permitted only if the service is started with `--allow-private-webhooks`. */
const privateNetworks = [
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '::1/128',
  'fc00::/7',
] as const;

/** IPv4 networks that are never an endpoint: link-local with the metadata service of clouds, multicast, and reserved by the IANA registry. */
const refusedNetworks = [
  '0.0.0.0/8',
  '169.254.0.0/16',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
] as const;

/** The metadata service of a cloud in a private IPv6 network. */
const metadataNetworks = ['fd00:ec2::254/128'] as const;

/** The unicast addresses of the public IPv6 internet. */
const publicNetworks = ['2000::/3'] as const;

/** Parts of the public IPv6 networks that are special: protocol assignments with Teredo, documentation, and 6to4, which contains an IPv4 address. */
const specialNetworks = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'] as const;

const privateAddresses = blockList(privateNetworks);
const refusedAddresses = blockList([...refusedNetworks, ...metadataNetworks]);
const publicAddresses = blockList(publicNetworks);
const specialAddresses = blockList(specialNetworks);

/**
 * Returns why webhooks must not connect to an address; null if they may. IPv6 addresses that contain an IPv4 address (mapped, compatible, translated,
 * 6to4) are refused in every case.
 * @param address An IPv4 or IPv6 address.
 */
export function findAddressFault(address: string, { allowPrivate }: { readonly allowPrivate: boolean }): string | null {
  const version = isIP(address);
  if (version === 0) return `"${address}" is not an IP address`;
  const family = version === 4 ? 'ipv4' : 'ipv6';
  if (family === 'ipv6' && isMapped(address)) return `the address ${address} is an IPv4 address in IPv6 form, which webhooks must not use`;
  if (refusedAddresses.check(address, family)) return `the address ${address} is link-local or reserved, which webhooks must not use`;
  if (privateAddresses.check(address, family))
    return allowPrivate
      ? null
      : `the address ${address} is private: use a public address, or start the service with --allow-private-webhooks`;
  if (family === 'ipv4') return null;
  if (publicAddresses.check(address, family) && !specialAddresses.check(address, family)) return null;
  return `the address ${address} is link-local or reserved, which webhooks must not use`;
}

/** `BlockList` compares a mapped address with the rules of IPv4, so it is recognized here: only mapped addresses match both rules. */
const mappedAddresses = blockList(['0.0.0.0/0']);
const isMapped = (address: string) => mappedAddresses.check(address, 'ipv6');

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', bits = ''] = network.split('/');
    list.addSubnet(address, Number(bits), address.includes(':') ? 'ipv6' : 'ipv4');
  }
  return list;
}

/** Returns what is wrong with the URL of a webhook; null if nothing is. The address of a host name is checked at each connection. */
export function findUrlFault(text: string, policy: { readonly allowPrivate: boolean }): string | null {
  if (!URL.canParse(text)) return 'must be a URL such as https://example.com/hooks/patchbay';
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return `must begin with https:// or http://, received ${url.protocol}//`;
  if (url.username !== '' || url.password !== '') return 'must not contain a user name or password: the receiver verifies the signature';
  if (url.hash !== '') return 'must not contain a fragment (#): it is never sent';
  const address = literalAddress(url);
  return address === null ? null : findAddressFault(address, policy);
}

/** Returns the IP address of a URL without a host name; otherwise null. */
function literalAddress({ hostname }: URL): string | null {
  const host = hostname.replace(/^\[|\]$/g, '');
  return isIP(host) === 0 ? null : host;
}
