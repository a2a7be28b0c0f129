// Runs the commands of the guides about loads and builds as they are written.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../documentation-pages.ts';
import { manyProcesses, Walk } from './walk.ts';

const walk = new Walk();

test('finds programs with a stale address', manyProcesses, async () => {
  const output = await walk.runPage('docs/how-to/test-binary-isolation.md', root);
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
  const output = await walk.runPage('docs/how-to/roll-back.md', root);
  expect(output.match(/\nembedded-[12] .* installed +1(?=\n)/g)).toHaveLength(2);
  expect(output.match(/\nembedded-[12] .* \S+Z +1(?=\n)/g)).toHaveLength(2);
  expect(output).toMatch(/skipped, because they have no version to roll back to: 2 devices\n/);
  expect(output.match(/\nembedded-[12] .* installed +2(?=\n)/g)).toHaveLength(2);
  expect(output.match(/\nembedded-[34] .* installed +1(?=\n)/g)).toHaveLength(2);
  expect(output).toMatch(/"downgradeReason": "1\.1\.0 drops packets"/);
  expect(output).toMatch(/\nreplaced +1 +0 +0 +0\n/);
  expect(output).toMatch(/\nembedded-3 +roll-back +arp 1\.0\.0 → none, routing 1\.1\.0 → 1\.0\.0\n/);
});

test('creates a patch set', manyProcesses, async () => {
  const output = await walk.runPage('docs/how-to/patch-sets.md', walk.folder);
  expect(output).toMatch(/patch set net-2026-11@1\.0\.0 \(pset_\w+\): dns@1\.0\.0 udp@1\.0\.0\n/);
  expect(output).toMatch(/\ndns@1\.0\.0 +sha256:\w+ +udp \^1\.0\.0\n/);
  expect(output).toMatch(/\nexit code 1\n/);
  expect(output).toMatch(/dns@1\.0\.0 requires udp \^1\.0\.0, but the set contains udp@2\.0\.0: .*in that range: 1\.0\.0/);
  expect(output).toMatch(/\ninstalled +4 +0 +0 +0\n/);
  expect(output).toMatch(/\n +1 +passed +1 +1 +0 .*\n +2 +passed +3 +3 +0 .*\n\n(?:rol_\w+) is completed\n/);
  expect(readFileSync(join(walk.folder, 'net-2026-11.dsse.json'), 'utf8')).toMatch(/"payloadType": "application\/vnd\.in-toto\+json"/);
});

test('yanks and deletes builds', manyProcesses, async () => {
  const output = await walk.runPage('docs/how-to/withdraw-builds.md', root);
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
  const output = await walk.runPage('docs/how-to/load-batches.md', root);
  expect(output).toMatch(/\nbat_\w+ +build +bridge@1\.0\.0 +4 +host=embedded /);
  expect(output.match(/\nloads +0 queued, 0 dispatched, 4 completed\n\nOUTCOME +LOADS\n.*\ninstalled +4\n/g)).toHaveLength(2);
  expect(output).toMatch(/\nbridge@1\.1\.0 would go to 4 devices\n[\s\S]*\nreplaced +4 +0 +0 +0\n/);
  expect(output).toMatch(/refused-not-newer[\s\S]*\nexit code 3\nrequested 4 loads of bridge@1\.0\.0 in batch bat_\w+\n/);
  expect(output).toMatch(/its failed loads were retried as bat_\w+, so retry that batch/);
  expect(output).toMatch(/\nexit code 1\n/);
});

test('unloads modules', manyProcesses, async () => {
  const output = await walk.runPage('docs/how-to/unload.md', walk.folder);
  expect(output).toMatch(
    /\ntimer would be unloaded from 4 devices\nwould refuse it: 1\n\n[\s\S]*refused-imported +embedded-1 [\s\S]*\nexit code 3\n/,
  );
  expect(output.match(/\nunloaded +1 +0 +0 +0\n/g)).toHaveLength(4);
  expect(output).toMatch(/refused-imported +1 [\s\S]*log@1\.0\.0, which is in memory, imports timer\.now[\s\S]*exit code 3/);
  expect(output).toMatch(/\ninstalled +2 +0 +0 +0\n/);
  expect(output).toMatch(/ unloaded\b/);
});

test('signs builds', manyProcesses, async () => {
  const output = await walk.runPage('docs/how-to/sign-builds.md', walk.folder);
  expect(output).toMatch(/released \(sgp_\w+\).*greeting@1\.0\.0[\s\S]*exit code 3/);
  expect(output).toMatch(/signed greeting@1\.0\.0 with the key sha256:\w+:\n {2}image/);
  expect(output).toMatch(/installed +4 +0 +0 +0/);
  expect(output.match(/Signature Verified Successfully/g)).toHaveLength(2);
  expect(output).toMatch(/the service now signs with sgk_\w+/);
  expect(readFileSync(join(walk.folder, 'trusted-keys.pem'), 'utf8').match(/BEGIN PUBLIC KEY/g)).toHaveLength(2);
});
