// The pages of the documentation that are walked through: their commands are run as they are written.

import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';
import { createPatchbayClient, unwrapResponse } from '../../src/client/client.ts';
import { environment } from '../cli/command.ts';
import { until } from '../service/test-service.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** What `npx patchbay` runs in a clone, without the second or more that npx takes to find it; that it does is a test in generated-files.test.ts. */
const quickNpx = `npx() { [ "$1" = patchbay ] && shift && node "${join(root, 'bin', 'patchbay.js')}" "$@"; }`;

let folder: string;
let service: PatchbayProcess | null = null;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-documentation-'));
});
afterEach(async () => {
  await service?.stop('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

/** Runs the shell commands of a page against a service that is started for it, in the folder where its reader is. Returns what they print. */
async function walkThrough(page: string, cwd: string, ...options: string[]): Promise<string> {
  return runBlocks(blocksOf(page), cwd, await startService(options));
}

/** Starts a service, and waits for its devices: a reader takes longer than they do. Returns its address. */
async function startService(options: readonly string[] = []): Promise<string> {
  service = new PatchbayProcess('the service', ['serve', '--port', '0', '--database', join(folder, 'data', 'patchbay.db'), ...options]);
  const [, url = ''] = await service.waitForLine(/API +(http:\S+)\/v1$/);
  const client = createPatchbayClient(url, readFileSync(keyFile(), 'utf8').trim());
  const isUp = async () => unwrapResponse(await client.GET('/v1/health')).devices.connected === 4;
  if (!options.includes('--no-embedded-host')) await until('the devices have come up', isUp);
  return url;
}

const keyFile = () => join(folder, 'data', 'admin-key');

/** The blocks of shell commands of a page. */
function blocksOf(page: string): string[] {
  const blocks = [...readFileSync(join(root, page), 'utf8').matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block);
  expect(blocks.length).toBeGreaterThan(1);
  return blocks;
}

async function runBlocks(blocks: readonly string[], cwd: string, url: string): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', `${quickNpx}\n${blocks.join('\n')}`], {
    cwd,
    env: environment({ SERVICE: url, PATCHBAY_SERVICE: url, PATCHBAY_KEY_FILE: keyFile(), ADMIN_KEY_FILE: keyFile(), HOME: folder }),
  });
  return `${stdout}\n${stderr}`;
}

/** There are dozens of commands, each a process. */
const patience = { timeout: 300_000 };

test('the tutorial', patience, async () => {
  const said = await walkThrough('docs/tutorial.md', root);
  expectTutorial(said);
  expect(said.match(/is stopping|is stopped/g)).toHaveLength(2);
});

test('the README, and then the tutorial on the same service', patience, async () => {
  const url = await startService();
  const commands = blocksOf('README.md').filter((block) => block.startsWith('npx patchbay'));
  const [readme, tutorial] = [await runBlocks(commands, root, url), await runBlocks(blocksOf('docs/tutorial.md'), root, url)];
  expect(readme).toMatch(/installed +4 +0 +0 +0/);
  expect(readme).toMatch(/replaced +3 +0 +0 +0\nreplaced-interrupting +1 +10 +10 +0/);
  expect(readme).toMatch(/packets[\s\S]*1\.1\.0/);
  expectTutorial(tutorial);
  // With the program of the README.
  expect(tutorial.match(/is stopping|is stopped/g)).toHaveLength(3);
});

function expectTutorial(said: string): void {
  expect(said).toMatch(/4 connected, 0 attaching/);
  expect(said).toMatch(/installed +4 +0 +0 +0/);
  expect(said).toMatch(/replaced +3 +0 +0 +0\nreplaced-interrupting +1 +(2[5-9]) +\1 +0/);
  expect(said).toMatch(/260 +interrupted .*threads=2[5-9]/);
  expect(said).toMatch(/refused-not-newer[\s\S]*exit code 3/);
  expect(said).toMatch(/the trail is whole/);
  expect(said).toMatch(/this needs operator or admin/);
  expect(existsSync(join(root, 'reader.key'))).toBe(false);
}

test('how to test binary isolation', patience, async () => {
  const said = await walkThrough('docs/how-to/test-binary-isolation.md', root);
  const started = [...said.matchAll(/(prg_\w+) is starting: old-driver on embedded-(\d)/g)].map(([, id]) => id);
  expect(started).toHaveLength(2);
  expect(said).toMatch(new RegExp(`\\n275 +invalidated .* invalidation=none address=0x1000 pages=1 heldBy=\\["${started[0]}"\\]`));
  expect(said).toMatch(/\nrouter +running +\d+ +0 +0 +\d+ +\d+ +1\.0\.0 [\d.]+%, 1\.1\.0 [\d.]+%\n/);
  expect(said).toMatch(/\nold-driver +running +\d+ +0 +0 +0 +0 +1\.0\.0 100\.0%\n/);
  expect(said).toMatch(new RegExp(`\\n${started[1]} +old-driver +net@1\\.0\\.0 +0x1000 +1 +nx +20`));
  expect(said).toMatch(
    /\nold-driver +running +\d+ +[1-9]\d* +[1-9]\d* .* segmentation fault: fetch from net@1\.0\.0 at 0x1000 \(page 1\), which is marked NX\n/,
  );
  expect(said).toMatch(/ device\.abi-violation +dev_/);
  expect(said).toMatch(/\nnew-driver +finished +5 +0 +0 +0 +0 +1\.1\.0 100\.0%\n/);
  expect(said).not.toMatch(/\nrouter +running +\d+ +[1-9]/);
});

test('how to roll back', patience, async () => {
  const said = await walkThrough('docs/how-to/roll-back.md', root);
  expect(said.match(/\nembedded-[12] .* in memory +1(?=\n)/g)).toHaveLength(2);
  expect(said.match(/\nembedded-[12] .* \S+Z +1(?=\n)/g)).toHaveLength(2);
  expect(said).toMatch(/left alone, for they have no version to go back to: 2\n/);
  expect(said.match(/\nembedded-[12] .* in memory +2(?=\n)/g)).toHaveLength(2);
  expect(said.match(/\nembedded-[34] .* in memory +1(?=\n)/g)).toHaveLength(2);
  expect(said).toMatch(/"downgradeReason": "1\.1\.0 drops packets"/);
  expect(said).toMatch(/\nreplaced +1 +0 +0 +0\n/);
});

test('how to roll out', patience, async () => {
  const said = await walkThrough('docs/how-to/roll-out.md', root);
  expect(said).toMatch(/router@1\.1\.0 would go to 4 devices\n\nWAVE +DEVICES\n.*\n +1 +1\n +2 +1\n +3 +2\n/);
  expect(said).toMatch(
    /\nwaits for the approval of wave 2: .*\n\nWAVE .*\n.*\n +1 +passed +1 +1 +0 .* good\n +2 +awaiting-approval +3 +0 +0 /,
  );
  expect(said).toMatch(/router-1\.1 \(rol_\w+\) is completed\n/);
  expect(said).toMatch(/router-1\.2 \(rol_\w+\) is rolled-back: wave 1 failed: .*\nexit code 4\n/);
  expect(said).toMatch(/\n +1 +embedded-1 +loaded +1\.2\.0 +1\.1\.0 .*\n +2 +embedded-2 +skipped +1\.2\.0 +1\.1\.0 /);
  expect(said.match(/\nembedded-[1-4] .* in memory +[12](?=\n)/g)).toHaveLength(4);
  expect(said).toMatch(/the rollback rol_\w+ of rol_\w+ is completed\n/);
  expect(said.match(/\ndev_\w+,embedded-[1-4],[12],loaded,1\.1\.0,1\.0\.0,1,/g)).toHaveLength(4);
});

test('how to prove the audit trail', patience, async () => {
  const said = await walkThrough('docs/how-to/prove-the-audit-trail.md', folder);
  expect(said.match(/the trail is whole: events 1 to \d+/g)).toHaveLength(3);
  expect(said.match(/the checkpoint of \S+Z over \d+ events, signed by sha256:\w{64}, is of these/g)).toHaveLength(3);
  expect(said).toMatch(/event \d+ is bad: its content is not what its hash says[\s\S]*exit code 5/);
  expect(said).toMatch(/the service signs with sgk_\w+ from now on/);
  expect(said).not.toMatch(/the key is what the service says/);
});

test('how to use the API', async () => {
  const said = await walkThrough('docs/how-to/use-the-api.md', root);
  expect(said).toMatch(/"module":"clock","version":"1\.0\.0"/);
  expect(said).toMatch(/^event: load\.requested$/m);
  expect(said).toMatch(/"state":"completed","outcome":"installed"/);
  expect(said).toMatch(/"module":"rust-checksum","version":"1\.0\.0"/);
});

test('how to sign builds', patience, async () => {
  const said = await walkThrough('docs/how-to/sign-builds.md', folder);
  expect(said).toMatch(
    /released \(sgp_\w+\) demands that 1 of 1 publisher keys have signed greeting@1\.0\.0, and 0 have[\s\S]*exit code 3/,
  );
  expect(said).toMatch(/signed greeting@1\.0\.0 with the key sha256:\w+:\n {2}image/);
  expect(said).toMatch(/installed +4 +0 +0 +0/);
  expect(said.match(/Signature Verified Successfully/g)).toHaveLength(2);
  expect(said).toMatch(/the service signs with sgk_\w+ from now on/);
  expect(readFileSync(join(folder, 'trusted-keys.pem'), 'utf8').match(/BEGIN PUBLIC KEY/g)).toHaveLength(2);
});

test('how to write an agent', async () => {
  const said = await walkThrough('docs/how-to/write-an-agent.md', folder, '--no-embedded-host');
  expect(said).toMatch(/registered as hst_/);
  expect(said).toMatch(/"kind":"attach-device"/);
  expect(said).toMatch(/Signature Verified Successfully/);
  expect(said).toMatch(/"status":"connected"/);
  expect(said).toMatch(/"state":"completed","outcome":"installed"/);
  expect(said).toMatch(/"items":\[\{"module":"hello","version":"1.0.0",.*"removedAt":null/);
});

test('links between the pages lead somewhere', () => {
  const pages = [
    'README.md',
    'CONTRIBUTING.md',
    ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).map((name) => `docs/${name}`),
  ];
  const broken = pages
    .filter((page) => page.endsWith('.md'))
    .flatMap((page) => {
      const targets = [...readFileSync(join(root, page), 'utf8').matchAll(/\]\((?!https?:)([^)#\s]+)[^)]*\)/g)].map(
        ([, target = '']) => target,
      );
      return targets.filter((target) => !existsSync(join(root, dirname(page), target))).map((target) => `${page}: ${target}`);
    });
  expect(broken).toEqual([]);
});
