// The files of the private signing keys of the service.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openPrivateKeys } from '../../src/cli/running/signing-keys.ts';
import { newIdentifier } from '../../src/protocol/identifiers.ts';
import { generatePrivateKey } from '../../src/signing/private-key.ts';

test('the identifier of a key in the database cannot name a file in another folder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-keys-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, 'signing-keys'));
  writeFileSync(join(folder, 'planted.pem'), generatePrivateKey());
  const keys = openPrivateKeys(join(folder, 'signing-keys'));
  const [id, pem] = [newIdentifier('signing key'), generatePrivateKey()];
  keys.write(id, pem);
  expect(keys.read(id)).toBe(pem);
  for (const planted of ['../planted', join(folder, 'planted'), `${id}/../../planted`]) expect(keys.read(planted)).toBeNull();
});
