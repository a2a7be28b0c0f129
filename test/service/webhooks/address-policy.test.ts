// The addresses that webhooks may connect to, and that the address which was checked is the one that is connected to.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findAddressFault, findUrlFault } from '../../../src/service/webhooks/address-policy.ts';
import { parseRetryAfter, type Resolve, Sender } from '../../../src/service/webhooks/sender.ts';
import { newWebhookSecret } from '../../../src/service/webhooks/signature.ts';
import { Receiver } from './receiver.ts';

const strict = { allowPrivate: false };
const lenient = { allowPrivate: true };
const byte = fc.integer({ min: 0, max: 255 });
const octets = (...prefix: number[]) =>
  fc.tuple(byte, byte, byte, byte).map((random) => random.map((each, index) => prefix[index] ?? each).join('.'));
const hextet = fc.integer({ min: 0, max: 0xffff }).map((number) => number.toString(16));
const hextets = (...prefix: string[]) =>
  fc.array(hextet, { minLength: 8, maxLength: 8 }).map((random) => random.map((each, index) => prefix[index] ?? each).join(':'));

/** Independent of the rules: the numeric value of an IPv4 address in a public range that cloud providers use. */
const publicIpv4 = fc.oneof(
  octets(8),
  octets(52),
  octets(104, 16),
  octets(35),
  octets(1, 1),
  octets(172, 32),
  octets(192, 167),
  octets(100, 63),
  octets(223),
);
const privateAddress = fc.oneof(
  octets(127),
  octets(10),
  octets(172, 16),
  octets(172, 31),
  octets(192, 168),
  octets(100, 64),
  octets(100, 127),
  fc.constant('::1'),
  hextets('fc00'),
  hextets('fdff'),
);
const refusedAddress = fc.oneof(
  octets(0),
  octets(169, 254),
  octets(224),
  octets(239),
  octets(240),
  octets(255),
  octets(192, 0, 2),
  hextets('fe80'),
  hextets('fec0'),
  hextets('ff02'),
  hextets('2001', '0'),
  hextets('2001', 'db8'),
  hextets('2002'),
  hextets('64', 'ff9b'),
  fc.constant('::'),
  fc.constant('fd00:ec2::254'),
  fc.constant('::10.0.0.1'),
);

describe('addresses', () => {
  test('public ones are permitted', () => {
    const publicIpv6 = fc.oneof(hextets('2606', '4700'), hextets('2a00'), hextets('2400'));
    fc.assert(
      fc.property(fc.oneof(publicIpv4, publicIpv6), (address) => {
        expect(findAddressFault(address, strict)).toBe(null);
      }),
    );
  });
  test('private ones are permitted only by the setting', () => {
    fc.assert(
      fc.property(privateAddress, (address) => {
        expect(findAddressFault(address, strict)).toContain('--allow-private-webhooks');
        expect(findAddressFault(address, lenient)).toBe(null);
      }),
    );
  });
  test('link-local, multicast and reserved ones are never permitted', () => {
    fc.assert(
      fc.property(refusedAddress, fc.constantFrom(strict, lenient), (address, policy) => {
        expect(findAddressFault(address, policy)).toMatch(/must not use$/);
      }),
    );
  });
  test('IPv4 addresses in IPv6 form are never permitted, however they are written', () => {
    const forms = fc
      .oneof(
        publicIpv4,
        privateAddress.filter((address) => address.includes('.')),
      )
      .chain((address) => {
        const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number);
        const hexadecimal = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
        return fc.constantFrom(
          `::ffff:${address}`,
          `::ffff:${hexadecimal}`,
          `0:0:0:0:0:ffff:${hexadecimal}`,
          `64:ff9b::${address}`,
          `2002:${hexadecimal}::1`,
        );
      });
    fc.assert(
      fc.property(forms, fc.constantFrom(strict, lenient), (address, policy) => {
        expect(findAddressFault(address, policy)).toMatch(/must not use$/);
      }),
    );
  });
  test.each([
    'http://127.0.0.1/',
    'http://2130706433/',
    'http://0x7f.1/',
    'http://0177.0.0.1/',
    'http://127.1/',
    'http://[::1]/',
    'http://[::ffff:7f00:1]/',
    'http://10.0.0.1:8080/x',
  ])('the URL %s is refused', (url) => {
    expect(findUrlFault(url, strict)).toMatch(/^the address /);
  });
});

describe('connections', () => {
  const receiver = new Receiver();
  beforeAll(() => receiver.start());
  afterAll(() => receiver.close());

  /** A resolver that returns these addresses, the next ones at each resolution. */
  function resolver(...results: readonly string[][]): Resolve {
    let resolutions = 0;
    return (_name, _options, callback) => {
      const addresses = results[Math.min(resolutions, results.length - 1)] ?? [];
      resolutions += 1;
      callback(
        null,
        addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      );
    };
  }
  const send = (sender: Sender) => {
    const url = `http://receiver.example:${receiver.port}/hook`;
    const message = { url, id: 'evt_1', contentType: 'application/json', body: '{}', secrets: [newWebhookSecret()] };
    return sender.send(message, new Date(), new AbortController().signal);
  };

  test('a name with a private address is refused', async () => {
    const sender = new Sender(strict, resolver(['127.0.0.1'], ['10.0.0.1', '::1']));
    for (let attempt = 0; attempt < 2; attempt += 1)
      expect(await send(sender)).toMatchObject({
        result: 'failed',
        reason: expect.stringMatching(/^receiver\.example: the address .* is private/),
      });
    expect(receiver.requests).toHaveLength(0);
    sender.close();
  });
  test('a name that has another address at the second resolution is connected to the checked one only', async () => {
    // A service that resolved the name twice would check the first address and connect to the second.
    const sender = new Sender(strict, resolver(['192.0.2.1'], ['127.0.0.1']));
    expect(await send(sender)).toMatchObject({ result: 'failed', reason: expect.stringContaining('192.0.2.1') });
    expect(await send(sender)).toMatchObject({ result: 'failed', reason: expect.stringContaining('127.0.0.1') });
    expect(receiver.requests).toHaveLength(0);
    sender.close();
  });
  test('with the setting, only the permitted addresses of a name are used', async () => {
    const sender = new Sender(lenient, resolver(['169.254.169.254', '127.0.0.1']));
    expect(await send(sender)).toEqual({ result: 'delivered', status: 204 });
    sender.close();
  });
});

test('Retry-After has seconds or a date', () => {
  const now = Date.parse('2026-11-30T12:00:00Z');
  expect(parseRetryAfter('120', now)).toBe(120_000);
  expect(parseRetryAfter('Mon, 30 Nov 2026 12:01:00 GMT', now)).toBe(60_000);
  expect(parseRetryAfter('Mon, 30 Nov 2026 11:00:00 GMT', now)).toBe(0);
  expect(parseRetryAfter('soon', now)).toBe(null);
  expect(parseRetryAfter(undefined, now)).toBe(null);
});
