// The settings of operator commands.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readOperatorSettings } from '../../src/cli/operator/settings.ts';

let folder: string;
const file = (name: string, content: unknown) => {
  const path = join(folder, name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
};
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-settings-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('flags override the environment, which overrides the configuration file, which overrides the defaults', async () => {
  const config = file('config.json', { service: 'http://file:1', 'key-file': file('filed-key', 'of-the-file') });
  const environment = { PATCHBAY_CONFIG: config, PATCHBAY_SERVICE: 'http://environment:2', PATCHBAY_KEY: 'of-the-environment' };
  const flags = { service: 'https://flag:3/', 'key-file': file('flagged-key', ' of-the-flag\n') };
  expect(await readOperatorSettings(flags, environment)).toMatchObject({ service: 'https://flag:3', key: 'of-the-flag' });
  expect(await readOperatorSettings({}, environment)).toEqual({
    service: 'http://environment:2',
    key: 'of-the-environment',
    keyFrom: 'PATCHBAY_KEY',
  });
  // An empty variable is ignored.
  expect(await readOperatorSettings({}, { PATCHBAY_CONFIG: config, PATCHBAY_SERVICE: '', PATCHBAY_KEY: '' })).toMatchObject({
    service: 'http://file:1',
    key: 'of-the-file',
  });
  expect(await readOperatorSettings({ config: file('other.json', { service: 'http://other:4' }) }, {})).toMatchObject({
    service: 'http://other:4',
  });
  expect(await readOperatorSettings({}, { XDG_CONFIG_HOME: folder })).toEqual({
    service: 'http://127.0.0.1:7070',
    key: null,
    keyFrom: null,
  });
  mkdirSync(join(folder, 'patchbay'));
  file('patchbay/config.json', { key: 'of-the-default-file' });
  expect(await readOperatorSettings({}, { XDG_CONFIG_HOME: folder })).toMatchObject({ key: 'of-the-default-file' });
});

test.each([
  [{ service: 'ftp://files' }, {}, /--service: expected a URL like .*, received "ftp:\/\/files"/],
  [{}, { PATCHBAY_SERVICE: 'here' }, /PATCHBAY_SERVICE: expected a URL like .*, received "here"/],
  [{ key: 'a', 'key-file': 'b' }, {}, /--key and --key-file cannot be combined/],
  [{ key: 'two words' }, {}, /invalid API key in --key/],
  [{ key: 'k'.repeat(8_193) }, {}, /expected 1 to 8192 printable characters/],
  [{ 'key-file': '/nowhere/key' }, {}, /cannot read the API key from \/nowhere\/key \(--key-file\): ENOENT/],
  [{ config: '/nowhere/config.json' }, {}, /cannot read --config \/nowhere/],
])('settings %j with the environment %j are rejected', async (flags, environment, message) => {
  await expect(readOperatorSettings(flags, { XDG_CONFIG_HOME: '/nowhere', ...environment })).rejects.toThrow(message);
});

test('a token of an identity provider is a key', async () => {
  const key = `eyJ${'k'.repeat(8_189)}`;
  expect(await readOperatorSettings({ key }, { XDG_CONFIG_HOME: '/nowhere' })).toMatchObject({ key });
});

test('an unknown setting in a configuration file is rejected', async () => {
  const config = file('unknown.json', { url: 'http://a' });
  await expect(readOperatorSettings({ config }, {})).rejects.toThrow(
    /unknown setting "url" in --config .*: expected service, key, key-file/,
  );
});
