// Where an operator's command has its settings from.

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

test('flags count before the environment, the environment before the file, and the file before what is usual', async () => {
  const config = file('config.json', { service: 'http://file:1', 'key-file': file('filed-key', 'of-the-file') });
  const environment = { PATCHBAY_CONFIG: config, PATCHBAY_SERVICE: 'http://environment:2', PATCHBAY_KEY: 'of-the-environment' };
  const flags = { service: 'https://flag:3/', 'key-file': file('flagged-key', ' of-the-flag\n') };
  expect(await readOperatorSettings(flags, environment)).toMatchObject({ service: 'https://flag:3', key: 'of-the-flag' });
  expect(await readOperatorSettings({}, environment)).toEqual({
    service: 'http://environment:2',
    key: 'of-the-environment',
    keyFrom: 'PATCHBAY_KEY',
  });
  // An empty variable is none.
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
  file('patchbay/config.json', { key: 'of-the-usual-file' });
  expect(await readOperatorSettings({}, { XDG_CONFIG_HOME: folder })).toMatchObject({ key: 'of-the-usual-file' });
});

test.each([
  [{ service: 'ftp://files' }, {}, /--service is "ftp:\/\/files": give an address like/],
  [{}, { PATCHBAY_SERVICE: 'here' }, /PATCHBAY_SERVICE is "here"/],
  [{ key: 'a', 'key-file': 'b' }, {}, /--key and --key-file are both given: leave one of them out/],
  [{ key: 'two words' }, {}, /the key of --key is not one/],
  [{ 'key-file': '/nowhere/key' }, {}, /cannot read the key from \/nowhere\/key \(--key-file\): ENOENT/],
  [{ config: '/nowhere/config.json' }, {}, /cannot read the settings of --config \/nowhere/],
])('settings %j with the environment %j are refused with what to change', async (flags, environment, message) => {
  await expect(readOperatorSettings(flags, { XDG_CONFIG_HOME: '/nowhere', ...environment })).rejects.toThrow(message);
});

test('a file with what is no setting is refused with what there is', async () => {
  const config = file('unknown.json', { url: 'http://a' });
  await expect(readOperatorSettings({ config }, {})).rejects.toThrow(/has "url", which is no setting: there are service, key, key-file/);
});
