// Runs the commands of the guides for operators and integrations as they are written.

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { signContent } from '../../../src/service/webhooks/signature.ts';
import { Browser } from '../../service/sign-in/browser.ts';
import { clientSecret, TestProvider } from '../../service/sign-in/test-provider.ts';
import { readPage, root } from '../documentation-pages.ts';
import { blocksOf, manyProcesses, Walk } from './walk.ts';

const walk = new Walk();

test('verifies the audit trail', manyProcesses, async () => {
  const output = await walk.runPage('docs/how-to/verify-the-audit-trail.md', walk.folder);
  expect(output.match(/the audit trail is intact: events 1 to \d+/g)).toHaveLength(3);
  expect(output.match(/the checkpoint of \S+Z, signed by sha256:\w{64}, proves \d+ events/g)).toHaveLength(3);
  expect(output).toMatch(/event \d+ is invalid: [\s\S]*exit code 5/);
  expect(output).toMatch(/the service now signs with sgk_\w+/);
  expect(output).not.toMatch(/the service supplied its own public key/);
});

test('lists what was removed', async () => {
  expect((await walk.runPage('docs/how-to/limit-storage.md', walk.folder, '--no-embedded-host')).match(/^no events found$/gm)).toHaveLength(
    3,
  );
});

test('manages API keys', manyProcesses, async () => {
  const output = await walk.runPage('docs/how-to/keys.md', walk.folder);
  expect(output.match(/^patchbay_[\w-]+$/gm)).toHaveLength(7);
  expect(output).toMatch(/on-call /);
  // Devices that register in the same millisecond are listed in any order.
  for (const device of ['embedded-1', 'embedded-2']) expect(output).toMatch(new RegExp(`^${device} .*zone=north$`, 'm'));
  expect(output).toMatch(/ zone=north\nexit code 1/);
  expect(output).toContain('there is no device "embedded-3"');
});

test('creates the key of Prometheus', manyProcesses, async () => {
  await walk.runPage('docs/how-to/monitor.md', walk.folder);
  expect(readFileSync(join(walk.folder, 'prometheus.key'), 'utf8')).toMatch(/^patchbay_[\w-]+\n$/);
});

test('sends a request in a trace', async () => {
  expect(await walk.runPage('docs/how-to/trace.md', walk.folder, '--no-embedded-host')).toContain('"items":[]');
});

test('uses the API', async () => {
  const output = await walk.runPage('docs/how-to/use-the-api.md', root);
  expect(output).toMatch(/"module":"clock","version":"1\.0\.0"/);
  expect(output).toMatch(/^event: load\.requested$/m);
  expect(output).toMatch(/"state":"completed","outcome":"installed"/);
  expect(output).toMatch(/"module":"rust-checksum","version":"1\.0\.0"/);
});

test('sends events to a receiver, which verifies them', manyProcesses, async () => {
  const page = 'docs/how-to/webhooks.md';
  const code = (language: string) => new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(readPage(page))?.[1] ?? '';
  writeFileSync(join(walk.folder, 'receive.mjs'), code('js'));
  writeFileSync(join(walk.folder, 'verify.py'), code('python'));
  const url = await walk.startService(['--allow-private-webhooks', '--no-embedded-host']);
  const output = await walk.runBlocks(blocksOf(page), walk.folder, url, { PORT: String(await freePort()) });
  expect(output.match(/delivered the test event in \d+ ms: the receiver responded with 204/g)).toHaveLength(3);
  expect(output).toContain('the service sends the events after 1 to fleet-events again');
  const received = readFileSync(join(walk.folder, 'received.log'), 'utf8').trim().split('\n');
  expect(new Set(received)).toEqual(new Set(['com.patchbay.webhook.test']));
  // The example for Python accepts what the service signs, and nothing else.
  const secret = `whsec_${Buffer.from('of the example').toString('base64')}`;
  const timestamp = Math.floor(Date.now() / 1_000);
  const signature = signContent({ id: 'evt_1', timestamp, body: '{}' }, [secret]);
  const check = (body: string, signatures: string) =>
    promisify(execFile)(
      'python3',
      [
        '-c',
        'import sys, json; from verify import verify; print(verify(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3].encode()))',
        secret,
        JSON.stringify({ 'webhook-id': 'evt_1', 'webhook-timestamp': String(timestamp), 'webhook-signature': signatures }),
        body,
      ],
      { cwd: walk.folder },
    );
  expect((await check('{}', `v1,other ${signature}`)).stdout).toBe('True\n');
  expect((await check('{"a":1}', signature)).stdout).toBe('False\n');
});

test('executes an agent by hand', async () => {
  const output = await walk.runPage('docs/how-to/write-an-agent.md', walk.folder, '--no-embedded-host');
  expect(output).toMatch(/registered as hst_/);
  expect(output).toMatch(/"kind":"attach-device"/);
  expect(output).toMatch(/Signature Verified Successfully/);
  expect(output).toMatch(/"status":"connected"/);
  expect(output).toMatch(/"state":"completed","outcome":"installed"/);
  expect(output).toMatch(/"items":\[\{"module":"hello","version":"1.0.0",.*"removedAt":null/);
});

test('signs people in with an identity provider', manyProcesses, async () => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const provider = await TestProvider.start(`${url}/sign-in/callback`);
  try {
    const secretFile = join(walk.folder, 'oidc-secret');
    writeFileSync(secretFile, `${clientSecret}\n`);
    const asHere = (block: string) =>
      block
        .replaceAll('https://patchbay.example.com ', `${url} `)
        .replaceAll('https://sso.example.com/realms/main', provider.issuer.href)
        .replaceAll('/etc/patchbay/oidc-secret', secretFile);
    const [start = '', withScopes = '', users = '', withTokens = '', withToken = ''] = blocksOf('docs/how-to/sign-in.md').map(asHere);
    const options = await serveOptionsOf(start);
    const restart = async (block: string) => {
      const all = (await serveOptionsOf(block)).flatMap((option) => (option === '…' ? options : [option]));
      await walk.startService(['--port', String(port), ...all]);
    };
    provider.people.set('grace', {
      name: 'Grace Hopper',
      email: 'grace@example.com',
      email_verified: true,
      groups: ['on-call', 'release', 'north-operators'],
    });
    provider.next = 'grace';
    const current = async () => {
      const browser = new Browser();
      expect(await browser.follow(`${url}/sign-in?return=/devices`)).toBe(`${url}/devices`);
      return (await browser.open(`${url}/v1/keys/current`)).json();
    };
    await restart(start);
    expect(await current()).toMatchObject({ name: 'Grace Hopper', grantedRoles: ['viewer', 'operator', 'publisher'], scope: null });
    await restart(withScopes);
    expect(await current()).toMatchObject({ scope: null });
    provider.people.set('grace', { name: 'Grace Hopper', email: 'grace@example.com', groups: ['north-operators', 'south-operators'] });
    const scope = '(zone=north) or (zone in (south,east))';
    expect(await current()).toMatchObject({ grantedRoles: ['viewer'], scope });
    const output = await walk.runBlocks([users], walk.folder, url);
    expect(output).toMatch(/grace@example\.com +grace +viewer +\(zone=north\) or \(zone in \(south,east\)\)/);
    expect(output).toContain('ended 3 sessions');
    await restart(withTokens);
    const listed = await walk.runBlocks([withToken.replace('eyJ…', await provider.token())], walk.folder, url, { PATCHBAY_KEY_FILE: '' });
    expect(listed).toContain('embedded-4');
  } finally {
    await provider.close();
  }
});

/** Returns the options of a command `npx patchbay serve`, as a shell reads them. */
async function serveOptionsOf(block: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)('bash', ['-euc', `npx() { printf '%s\\0' "$@"; }\n${block}`]);
  const [command, noun, ...options] = stdout.split('\0').slice(0, -1);
  expect([command, noun]).toEqual(['patchbay', 'serve']);
  return options;
}

/** Returns a port that nothing listens on. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
