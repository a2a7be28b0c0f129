// Signing of builds and signature policies, with operator commands as processes.

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';
import { keyIdOf, provenanceOf } from '../service/publishing.ts';
import { joinToken, TestService, workModule } from '../service/test-service.ts';
import { parseStdout, runPatchbay } from './command.ts';

const service = new TestService();
const children: PatchbayProcess[] = [];

beforeAll(async () => {
  await service.start();
  service.startHost('rack', 1, { zone: 'north' });
  await service.connectedDevices(1);
  await service.push('tcp', '1.0.0', workModule(1));
  await service.push('tcp', '1.1.0', workModule(2));
});
afterAll(async () => {
  await Promise.all(children.map((child) => child.stop('SIGKILL')));
  await service.close();
});

const command = (...args: string[]) => runPatchbay(service.folder, args, { PATCHBAY_SERVICE: service.url, PATCHBAY_KEY: service.key });
const write = (name: string, content: string): string => {
  const file = join(service.folder, name);
  writeFileSync(file, content);
  return file;
};

/** Writes the key pair of a publisher. */
function writeKeyPair(name: string) {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const pem = publicKey.export({ format: 'pem', type: 'spki' }).toString();
  return {
    privateFile: write(`${name}.pem`, privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()),
    publicFile: write(`${name}.pub`, pem),
    keyId: keyIdOf(pem),
  };
}

test('a publisher is registered and signs a build, which devices with a signature policy then load', async () => {
  const { privateFile, publicFile, keyId } = writeKeyPair('release-team');
  const added = await command('publisher-key', 'add', 'release-team', '--public-key', publicFile);
  expect(added).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^registered the publisher key release-team \(pub_\w+\): sha256:/),
  });
  const policy = await command(
    'signature-policy',
    'add',
    'released',
    '--label',
    'zone=north',
    '--publisher-key',
    'release-team',
    '--module',
    'tcp',
  );
  expect(policy.stdout).toMatch(/^added the policy released \(sgp_\w+\): zone=north requires signatures by pub_\w+ for tcp\n$/);
  const load = () => command('load', '--module', 'tcp', '--version', '1.0.0', '--label', 'zone=north');
  const refused = await load();
  expect(refused).toMatchObject({ code: 3, stdout: expect.stringContaining('sign the build (patchbay build sign tcp 1.0.0)') });
  const source = write('tcp.wat', workModule(1));
  const signed = await command('build', 'sign', 'tcp', '1.0.0', '--signing-key', privateFile, '--source', source);
  const { image, sourceDigest } = (await service.get('/v1/modules/tcp/builds/1.0.0')).body;
  expect(signed).toMatchObject({ code: 0, stderr: '' });
  expect(signed.stdout).toContain(
    `signed tcp@1.0.0 with the key ${keyId}:\n  image      ${Object(image).digest}\n  source     ${sourceDigest}\n`,
  );
  expect((await load()).code).toBe(0);
  const [shown, envelope] = await Promise.all([
    command('build', 'provenance', 'tcp', '1.0.0'),
    command('build', 'provenance', 'tcp', '1.0.0', '--json'),
  ]);
  expect(shown.stdout).toMatch(new RegExp(`compiler   binaryen \\d+\n  pushed by  key_\\w+\n\nSIGNED BY\n─+\nsha256:\\w+\n${keyId}\n$`));
  expect(parseStdout(envelope)).toEqual(await provenanceOf(service, 'tcp', '1.0.0'));
  expect((await command('signature-policy', 'list')).stdout).toMatch(
    /\nsgp_\w+ +released +zone=north requires signatures by pub_\w+ for tcp/,
  );
  expect(await command('signature-policy', 'remove', 'released')).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^removed the policy sgp_/),
  });
  expect(await command('signature-policy', 'remove', 'released')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('no signature policy named "released"'),
  });
  expect((await command('publisher-key', 'revoke', 'release-team')).stdout).toMatch(/^revoked the publisher key release-team /);
  expect((await command('publisher-key', 'list')).stdout).toBe('no publisher keys found\n');
  expect(parseStdout(await command('publisher-key', 'list', '--revoked', '--json'))['items']).toMatchObject([
    { name: 'release-team', keyId },
  ]);
});

test('a build is not signed if its source differs, its provenance is invalid, or the key is not a private key', async () => {
  const { privateFile, publicFile } = writeKeyPair('careful');
  await command('publisher-key', 'add', 'careful', '--public-key', publicFile);
  const before = await provenanceOf(service, 'tcp', '1.1.0');
  const sign = (...args: string[]) => command('build', 'sign', 'tcp', '1.1.0', ...args);
  const [otherSource, noKey, noFile, noBuild, privateAsPublic] = await Promise.all([
    sign('--signing-key', privateFile, '--source', write('other.wat', workModule(7))),
    sign('--signing-key', publicFile),
    sign('--signing-key', join(service.folder, 'nowhere.pem')),
    command('build', 'sign', 'tcp', '9.9.9', '--signing-key', privateFile),
    command('publisher-key', 'add', 'careless', '--public-key', privateFile),
  ]);
  expect(otherSource).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/other\.wat is not the source of tcp@1\.1\.0: expected .*; nothing was signed\n$/),
  });
  expect(noKey).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^error: cannot sign with --signing-key .*PEM/),
  });
  expect(noFile).toMatchObject({ code: 2, stderr: expect.stringMatching(/^error: cannot read --signing-key .*ENOENT/) });
  expect(noBuild).toMatchObject({ code: 1, stderr: expect.stringContaining('tcp@9.9.9') });
  expect(privateAsPublic).toMatchObject({ code: 1, stderr: expect.stringContaining('expected a public key, received a private key') });
  expect(await provenanceOf(service, 'tcp', '1.1.0')).toEqual(before);
  // The statement of another build replaces the statement of this build.
  const database = new Database(join(service.folder, 'patchbay.db'));
  database.exec("UPDATE Build SET envelope = (SELECT envelope FROM Build WHERE version = '1.0.0') WHERE version = '1.1.0'");
  database.close();
  expect(await sign('--signing-key', privateFile)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('the service returned no valid provenance of tcp@1.1.0: do not trust the build'),
  });
});

test('a policy requires a device or labels, and active publisher keys', async () => {
  const add = (...args: string[]) => command('signature-policy', 'add', 'wrong', ...args);
  const [neither, noKey, noCount] = await Promise.all([
    add('--publisher-key', 'careful'),
    add('--label', 'zone=north', '--publisher-key', 'unknown'),
    add('--label', 'zone=north', '--publisher-key', 'careful', '--threshold', 'all'),
  ]);
  expect(neither).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('select devices with either --device, or one or more of --label, --selector and --group'),
  });
  expect(noKey).toMatchObject({ code: 2, stderr: expect.stringContaining('there is no active publisher key named "unknown"') });
  expect(noCount).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--threshold: expected a whole number from 1 to 20, received "all"'),
  });
});

test('a host with trusted keys accepts the next signing key of the service', async () => {
  const keys = await command('signing-key', 'list', '--pem');
  expect(keys.stdout).toMatch(/^-----BEGIN PUBLIC KEY-----\n\S+\n-----END PUBLIC KEY-----\n$/);
  const settings = {
    control: service.url,
    name: 'pinned',
    devices: 1,
    'trusted-keys': write('trusted.pem', keys.stdout),
    'token-file': write('join-token', joinToken),
  };
  const host = new PatchbayProcess('the host', ['host', '--config', write('host.json', JSON.stringify(settings))]);
  children.push(host);
  await host.waitForLine(/"registered with the control service"/);
  await service.connectedDevices(2);
  const rotated = await command('signing-key', 'rotate');
  const [, keyId = ''] = /^the service now signs with sgk_\w+: (sha256:\w+)\n$/.exec(rotated.stdout) ?? [];
  expect((await command('signing-key', 'list')).stdout).toMatch(
    new RegExp(`\nsgk_\\w+ +\\S+ +- +${keyId}\nsgk_\\w+ +\\S+ +20\\S+Z +sha256:`),
  );
  await service.push('udp', '1.0.0', workModule(1));
  const loaded = await command('load', '--module', 'udp', '--version', '1.0.0', '--device', 'pinned-1', '--json');
  expect(parseStdout(loaded)['loads']).toMatchObject([{ outcome: 'installed' }]);
  const start = (content: string) =>
    runPatchbay(service.folder, ['host', '--trusted-keys', write('wrong.pem', content), '--token-file', settings['token-file']]);
  const [none, secret] = [await start('nothing'), await start(readFileSync(writeKeyPair('spare').privateFile, 'utf8'))];
  expect(none).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^error: invalid public key in --trusted-keys .*wrong\.pem: .*PEM/),
  });
  expect(secret).toMatchObject({ code: 2, stderr: expect.stringContaining('invalid public key in --trusted-keys') });
});
