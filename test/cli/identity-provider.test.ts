// The settings of the identity provider, as `patchbay serve` reads them.

import { expect, test } from 'vitest';
import { readProvider } from '../../src/cli/running/identity-provider.ts';
import { parseLabelSelector } from '../../src/protocol/label-selector.ts';

const complete = { oidcIssuer: 'https://sso.example.com', oidcClientId: 'patchbay', oidcRoles: 'viewer=*' };

function read(changes: Record<string, string>) {
  const settings: Readonly<Record<string, string>> = { ...complete, ...changes };
  return readProvider((option, defaultValue = '') => settings[option] || defaultValue, { publicUrl: null, clientSecret: undefined });
}

test('device scopes are rules for values of a claim, and refuse others by default', () => {
  expect(read({})?.deviceScopes).toEqual({ claim: 'groups', rules: [], unmatched: 'refuse' });
  const oidcDeviceScopes = 'north = zone=north,tier!=test ; south=zone in (south,east);platform=*;';
  expect(read({ oidcDeviceScopes, oidcRoleClaim: 'realm_access.roles' })?.deviceScopes).toEqual({
    claim: 'realm_access.roles',
    rules: [
      { value: 'north', selector: parseLabelSelector('zone=north,tier!=test') },
      { value: 'south', selector: parseLabelSelector('zone in (south,east)') },
      { value: 'platform', selector: null },
    ],
    unmatched: 'refuse',
  });
  const changes = { oidcDeviceScopes: 'a=b', oidcDeviceScopeClaim: 'sites', oidcUnmatchedDeviceScope: 'all-devices' };
  expect(read(changes)?.deviceScopes).toMatchObject({ claim: 'sites', unmatched: 'all-devices' });
});

const zones = (count: number) => Array.from({ length: count }, (_, index) => `z${index}=zone=${index}`).join(';');

test.each<[Record<string, string>, string]>([
  [{ oidcDeviceScopes: 'north' }, '--oidc-device-scopes: expected VALUE=SELECTOR'],
  [{ oidcDeviceScopes: 'north=' }, 'received "north="'],
  [{ oidcDeviceScopes: '=zone=north' }, 'received "=zone=north"'],
  [{ oidcDeviceScopes: 'north=zone>1' }, '--oidc-device-scopes: "zone>1" is not a label selector: at character 5'],
  [{ oidcDeviceScopes: 'north=(a) or (b)' }, 'is not a label selector: at character 1'],
  [{ oidcDeviceScopes: zones(101) }, 'expected up to 100 rules, received 101'],
  [{ oidcDeviceScopes: zones(60).replaceAll('zone=', 'a,b,c,zone=') }, 'limit exceeded (200 requirements)'],
  [
    { oidcDeviceScopes: 'a=b', oidcUnmatchedDeviceScope: 'none' },
    '--oidc-unmatched-device-scope: expected refuse or all-devices, received "none"',
  ],
  [{ oidcIssuer: '', oidcClientId: '', oidcRoles: '', oidcDeviceScopes: 'a=b' }, '--oidc-device-scopes requires --oidc-issuer'],
])('rejects %j', (changes, message) => {
  expect(() => read(changes)).toThrow(message);
});

test('accepts as many rules as fit into one scope', () => {
  expect(read({ oidcDeviceScopes: zones(100) })?.deviceScopes.rules).toHaveLength(100);
});
