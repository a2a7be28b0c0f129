// Runs the commands of the README and the guides as they are written.

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';
import { signContent } from '../../src/service/webhooks/signature.ts';
import { environment } from '../cli/command.ts';
import { until } from '../service/test-service.ts';
import { readPage, root, shellBlocks } from './documentation-pages.ts';
import { retryingClient } from './retrying-client.ts';

/** Replaces npx, which takes a second or more to find the command. generated-files.test.ts tests the real `npx patchbay`. */
const npxFunction = `npx() { [ "$1" = patchbay ] && shift && node "${join(root, 'bin', 'patchbay.js')}" "$@"; }`;

let folder: string;
let service: PatchbayProcess | null = null;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-documentation-'));
});
afterEach(async () => {
  await service?.stop('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

/** Starts a service and runs the shell commands of a page in a folder. Returns their output. */
async function runPage(page: string, cwd: string, ...options: string[]): Promise<string> {
  return runBlocks(blocksOf(page), cwd, await startService(options));
}

/** Starts a service and waits until its devices are connected. Returns its URL. */
async function startService(options: readonly string[] = []): Promise<string> {
  service = new PatchbayProcess('the service', ['serve', '--port', '0', '--database', join(folder, 'data', 'patchbay.db'), ...options]);
  const [, url = ''] = await service.waitForLine(/API +(http:\S+)\/v1$/);
  const client = retryingClient(url, keyFile());
  const areConnected = async () => (await client.GET('/v1/health')).data?.devices.connected === 4;
  if (!options.includes('--no-embedded-host')) await until('the devices are connected', areConnected);
  return url;
}

const keyFile = () => join(folder, 'data', 'admin-key');

function blocksOf(page: string): string[] {
  const blocks = shellBlocks(page);
  expect(blocks.length).toBeGreaterThan(0);
  return blocks;
}

/** Runs shell blocks as one script. Returns standard output and standard error. */
async function runBlocks(blocks: readonly string[], cwd: string, url: string, changes: Record<string, string> = {}): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', `${npxFunction}\n${blocks.join('\n')}`], {
    cwd,
    env: environment({
      SERVICE: url,
      PATCHBAY_SERVICE: url,
      PATCHBAY_KEY_FILE: keyFile(),
      ADMIN_KEY_FILE: keyFile(),
      HOME: folder,
      ...changes,
    }),
  });
  return `${stdout}\n${stderr}`;
}

/** A page has dozens of commands, each a process. */
const manyProcesses = { timeout: 300_000 };

test('runs the tutorial', manyProcesses, async () => {
  const output = await runPage('docs/tutorial.md', root);
  expectTutorial(output);
  expect(output.match(/is stopping|is stopped/g)).toHaveLength(2);
});

test('runs the README, and then the tutorial on the same service', manyProcesses, async () => {
  const url = await startService();
  const commands = blocksOf('README.md').filter((block) => block.startsWith('npx patchbay'));
  const [readme, tutorial] = [await runBlocks(commands, root, url), await runBlocks(blocksOf('docs/tutorial.md'), root, url)];
  expect(readme).toMatch(/installed +4 +0 +0 +0/);
  expect(readme).toMatch(/replaced +3 +0 +0 +0\nreplaced-interrupting +1 +10 +10 +0/);
  expect(readme).toMatch(/packets[\s\S]*1\.1\.0/);
  expectTutorial(tutorial);
  // One of them is the program of the README.
  expect(tutorial.match(/is stopping|is stopped/g)).toHaveLength(3);
});

function expectTutorial(output: string): void {
  expect(output).toMatch(/4 connected, 0 attaching/);
  expect(output).toMatch(/installed +4 +0 +0 +0/);
  expect(output).toMatch(/replaced +3 +0 +0 +0\nreplaced-interrupting +1 +(2[5-9]) +\1 +0/);
  expect(output).toMatch(/260 +interrupted .*threads=2[5-9]/);
  expect(output).toMatch(/refused-not-newer[\s\S]*exit code 3/);
  expect(output).toMatch(/the audit trail is intact/);
  expect(output).toMatch(/requires operator or admin/);
  expect(existsSync(join(root, 'reader.key'))).toBe(false);
}

test('finds programs with a stale address', manyProcesses, async () => {
  const output = await runPage('docs/how-to/test-binary-isolation.md', root);
  const started = [...output.matchAll(/(prg_\w+) is starting: old-driver on embedded-(\d)/g)].map(([, id]) => id);
  expect(started).toHaveLength(2);
  expect(output).toMatch(new RegExp(`\\n275 +invalidated .* invalidation=none address=0x1000 pages=1 heldBy=\\["${started[0]}"\\]`));
  expect(output).toMatch(/\nrouter +running +\d+ +0 +0 +\d+ +\d+ +1\.0\.0 [\d.]+%, 1\.1\.0 [\d.]+%\n/);
  expect(output).toMatch(/\nold-driver +running +\d+ +0 +0 +0 +0 +1\.0\.0 100\.0%\n/);
  expect(output).toMatch(new RegExp(`\\n${started[1]} +old-driver +net@1\\.0\\.0 +0x1000 +1 +nx +20`));
  expect(output).toMatch(
    /\nold-driver +running +\d+ +[1-9]\d* +[1-9]\d* .* segmentation fault: fetch from net@1\.0\.0 at 0x1000 \(page 1\), which is marked NX\n/,
  );
  expect(output).toMatch(/ device\.abi-violation +dev_/);
  expect(output).toMatch(/\nnew-driver +finished +5 +0 +0 +0 +0 +1\.1\.0 100\.0%\n/);
  expect(output).not.toMatch(/\nrouter +running +\d+ +[1-9]/);
});

test('rolls back', manyProcesses, async () => {
  const output = await runPage('docs/how-to/roll-back.md', root);
  expect(output.match(/\nembedded-[12] .* installed +1(?=\n)/g)).toHaveLength(2);
  expect(output.match(/\nembedded-[12] .* \S+Z +1(?=\n)/g)).toHaveLength(2);
  expect(output).toMatch(/skipped, because they have no version to roll back to: 2 devices\n/);
  expect(output.match(/\nembedded-[12] .* installed +2(?=\n)/g)).toHaveLength(2);
  expect(output.match(/\nembedded-[34] .* installed +1(?=\n)/g)).toHaveLength(2);
  expect(output).toMatch(/"downgradeReason": "1\.1\.0 drops packets"/);
  expect(output).toMatch(/\nreplaced +1 +0 +0 +0\n/);
  expect(output).toMatch(/\nembedded-3 +roll-back +arp 1\.0\.0 → none, routing 1\.1\.0 → 1\.0\.0\n/);
});

test('rolls out in waves', manyProcesses, async () => {
  const output = await runPage('docs/how-to/roll-out.md', root);
  expect(output).toMatch(/router@1\.1\.0 would go to 4 devices\n\nWAVE +DEVICES\n.*\n +1 +1\n +2 +1\n +3 +2\n/);
  expect(output).toMatch(
    /\nwaiting for +the approval of wave 2: .*\n\nWAVE .*\n.*\n +1 +passed +1 +1 +0 .* passed\n +2 +awaiting-approval +3 +0 +0 /,
  );
  expect(output).toMatch(/router-1\.1 \(rol_\w+\) is completed\n/);
  expect(output).toMatch(/router-1\.2 \(rol_\w+\) is rolled-back: wave 1 failed: .*\nexit code 4\n/);
  expect(output).toMatch(/\n +1 +embedded-1 +loaded +1\.2\.0 +1\.1\.0 .*\n +2 +embedded-2 +skipped +1\.2\.0 +1\.1\.0 /);
  expect(output.match(/\nembedded-[1-4] .* installed +[12](?=\n)/g)).toHaveLength(4);
  expect(output).toMatch(/the rollback rol_\w+ of rol_\w+ is completed\n/);
  expect(output.match(/\ndev_\w+,embedded-[1-4],[12],loaded,1\.1\.0,1\.0\.0,1,/g)).toHaveLength(4);
});

test('verifies the audit trail', manyProcesses, async () => {
  const output = await runPage('docs/how-to/verify-the-audit-trail.md', folder);
  expect(output.match(/the audit trail is intact: events 1 to \d+/g)).toHaveLength(3);
  expect(output.match(/the checkpoint of \S+Z, signed by sha256:\w{64}, proves \d+ events/g)).toHaveLength(3);
  expect(output).toMatch(/event \d+ is invalid: [\s\S]*exit code 5/);
  expect(output).toMatch(/the service now signs with sgk_\w+/);
  expect(output).not.toMatch(/the service supplied its own public key/);
});

test('manages API keys', manyProcesses, async () => {
  const output = await runPage('docs/how-to/keys.md', folder);
  expect(output.match(/^patchbay_[\w-]+$/gm)).toHaveLength(7);
  expect(output).toMatch(/on-call /);
});

test('creates the key of Prometheus', manyProcesses, async () => {
  await runPage('docs/how-to/monitor.md', folder);
  expect(readFileSync(join(folder, 'prometheus.key'), 'utf8')).toMatch(/^patchbay_[\w-]+\n$/);
});

test('uses the API', async () => {
  const output = await runPage('docs/how-to/use-the-api.md', root);
  expect(output).toMatch(/"module":"clock","version":"1\.0\.0"/);
  expect(output).toMatch(/^event: load\.requested$/m);
  expect(output).toMatch(/"state":"completed","outcome":"installed"/);
  expect(output).toMatch(/"module":"rust-checksum","version":"1\.0\.0"/);
});

test('signs builds', manyProcesses, async () => {
  const output = await runPage('docs/how-to/sign-builds.md', folder);
  expect(output).toMatch(/released \(sgp_\w+\).*greeting@1\.0\.0[\s\S]*exit code 3/);
  expect(output).toMatch(/signed greeting@1\.0\.0 with the key sha256:\w+:\n {2}image/);
  expect(output).toMatch(/installed +4 +0 +0 +0/);
  expect(output.match(/Signature Verified Successfully/g)).toHaveLength(2);
  expect(output).toMatch(/the service now signs with sgk_\w+/);
  expect(readFileSync(join(folder, 'trusted-keys.pem'), 'utf8').match(/BEGIN PUBLIC KEY/g)).toHaveLength(2);
});

test('creates a patch set', manyProcesses, async () => {
  const output = await runPage('docs/how-to/patch-sets.md', folder);
  expect(output).toMatch(/patch set net-2026-11@1\.0\.0 \(pset_\w+\): dns@1\.0\.0 udp@1\.0\.0\n/);
  expect(output).toMatch(/\ndns@1\.0\.0 +sha256:\w+ +udp \^1\.0\.0\n/);
  expect(output).toMatch(/\nexit code 1\n/);
  expect(output).toMatch(/dns@1\.0\.0 requires udp \^1\.0\.0, but the set contains udp@2\.0\.0: .*in that range: 1\.0\.0/);
  expect(output).toMatch(/\ninstalled +4 +0 +0 +0\n/);
  expect(output).toMatch(/\n +1 +passed +1 +1 +0 .*\n +2 +passed +3 +3 +0 .*\n\n(?:rol_\w+) is completed\n/);
  expect(readFileSync(join(folder, 'net-2026-11.dsse.json'), 'utf8')).toMatch(/"payloadType": "application\/vnd\.in-toto\+json"/);
});

test('labels devices and groups them', manyProcesses, async () => {
  const output = await runPage('docs/how-to/groups.md', folder);
  expect(output).toContain('would change 2 devices, 0 unchanged');
  expect(output.match(/^changed 2 devices, 0 unchanged$/gm)).toHaveLength(3);
  expect(output).toMatch(/selector +zone=north,!beta\ndevices +2\n/);
  expect(output).toContain('deleted the group northern-sites');
});

test('sends events to a receiver, which verifies them', manyProcesses, async () => {
  const page = 'docs/how-to/webhooks.md';
  const code = (language: string) => new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(readPage(page))?.[1] ?? '';
  writeFileSync(join(folder, 'receive.mjs'), code('js'));
  writeFileSync(join(folder, 'verify.py'), code('python'));
  const url = await startService(['--allow-private-webhooks', '--no-embedded-host']);
  const output = await runBlocks(blocksOf(page), folder, url, { PORT: String(await freePort()) });
  expect(output.match(/delivered the test event in \d+ ms: the receiver responded with 204/g)).toHaveLength(3);
  expect(output).toContain('the service sends the events after 1 to fleet-events again');
  const received = readFileSync(join(folder, 'received.log'), 'utf8').trim().split('\n');
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
      { cwd: folder },
    );
  expect((await check('{}', `v1,other ${signature}`)).stdout).toBe('True\n');
  expect((await check('{"a":1}', signature)).stdout).toBe('False\n');
});

/** Returns a port that nothing listens on. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

test('renames and decommissions devices and hosts', manyProcesses, async () => {
  const output = await runPage('docs/how-to/decommission.md', folder);
  expect(output).toMatch(/\nregisters +as embedded-1\n/);
  // The two devices that it names, and the other two with their host.
  expect(output.match(/decommissioned 2 devices, cancelled 0 open loads/g)).toHaveLength(2);
  expect(output.match(/\nnorth +hst_\S+ +decommissioned +0 /g)).toHaveLength(1);
});

test('moves devices to another host', manyProcesses, async () => {
  const url = await startService();
  const host = new PatchbayProcess('rack-2', [
    ...['host', '--control', url, '--name', 'rack-2', '--devices', '0'],
    ...['--token-file', join(folder, 'data', 'join-token')],
  ]);
  try {
    await host.waitForLine(/registered with the control service/, 90_000);
    const output = await runBlocks(blocksOf('docs/how-to/replace-hardware.md'), folder, url);
    expect(output).toMatch(/\n?moved 0 devices to rack-2, ended 0 open loads\n1 device will move when/);
    expect(output).toMatch(/\n(3|4) devices will move when the host before has dropped them/);
    const client = retryingClient(url, keyFile());
    await until('all devices are on rack-2', async () => {
      const devices = (await client.GET('/v1/devices', { params: { query: { host: 'rack-2', status: 'connected' } } })).data?.items;
      return devices?.length === 4;
    });
  } finally {
    await host.stop('SIGKILL');
  }
});

test('yanks and deletes builds', manyProcesses, async () => {
  const output = await runPage('docs/how-to/withdraw-builds.md', root);
  expect(output).toMatch(/\nyanked switch@1\.0\.0: it drops packets\n/);
  expect(output).toMatch(/\n1\.0\.0 .* it drops packets\n/);
  expect(output).toMatch(/the build switch@1\.0\.0 is yanked: it drops packets\. Choose another version, or unyank the build/);
  expect(output).toMatch(/no previous version of switch .* that is not yanked/);
  expect(output).toMatch(/\nswitch@1\.0\.0 is usable again\n[\s\S]*\nreplaced +1 /);
  expect(output).toMatch(/\ndeleted switch@2\.0\.0\n/);
  expect(output).toMatch(/switch@1\.1\.0 cannot be deleted: .*1 load was requested for it\. Yank the build instead/);
  expect(output.match(/exit code 1\n/g)).toHaveLength(3);
});

test('follows, cancels and retries a batch', manyProcesses, async () => {
  const output = await runPage('docs/how-to/load-batches.md', root);
  expect(output).toMatch(/\nbat_\w+ +build +bridge@1\.0\.0 +4 +host=embedded /);
  expect(output.match(/\nloads +0 queued, 0 dispatched, 4 completed\n\nOUTCOME +LOADS\n.*\ninstalled +4\n/g)).toHaveLength(2);
  expect(output).toMatch(/refused-not-newer[\s\S]*\nexit code 3\nrequested 4 loads of bridge@1\.0\.0 in batch bat_\w+\n/);
  expect(output).toMatch(/its failed loads were retried as bat_\w+, so retry that batch/);
  expect(output).toMatch(/\nexit code 1\n/);
});

test('unloads modules', manyProcesses, async () => {
  const output = await runPage('docs/how-to/unload.md', folder);
  expect(output.match(/\nunloaded +1 +0 +0 +0\n/g)).toHaveLength(4);
  expect(output).toMatch(/refused-imported +1 [\s\S]*log@1\.0\.0, which is in memory, imports timer\.now[\s\S]*exit code 3/);
  expect(output).toMatch(/\ninstalled +2 +0 +0 +0\n/);
  expect(output).toMatch(/ unloaded\b/);
});

test('executes an agent by hand', async () => {
  const output = await runPage('docs/how-to/write-an-agent.md', folder, '--no-embedded-host');
  expect(output).toMatch(/registered as hst_/);
  expect(output).toMatch(/"kind":"attach-device"/);
  expect(output).toMatch(/Signature Verified Successfully/);
  expect(output).toMatch(/"status":"connected"/);
  expect(output).toMatch(/"state":"completed","outcome":"installed"/);
  expect(output).toMatch(/"items":\[\{"module":"hello","version":"1.0.0",.*"removedAt":null/);
});
