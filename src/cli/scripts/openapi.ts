// Writes openapi/openapi.json and docs/reference.md from the service's schemas, or with --check says whether they are up to date.

import console from 'node:console';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { replaceFile } from '../../scripts/replace-files.ts';
import { createService } from '../../service/app.ts';
import { defaultLimits } from '../../service/http/request-limits.ts';
import { retainEverything } from '../../service/retention/retention.ts';
import { openPrivateKeys } from '../running/signing-keys.ts';
import { renderReference } from './reference.ts';

const fileOf = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));

async function generate() {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-openapi-'));
  try {
    const app = await createService({
      database: join(folder, 'patchbay.db'),
      logger: false,
      joinToken: 'not-used-by-this-script',
      unreachableAfter: 60_000,
      adminKey: null,
      signingKeys: { privateKeys: openPrivateKeys(join(folder, 'signing-keys')), isLost: false },
      retention: retainEverything,
      keys: 'required',
      limits: defaultLimits,
    });
    await app.ready();
    const document = app.swagger();
    await app.close();
    return document;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const document = await generate();
const files = new Map([
  [fileOf('openapi/openapi.json'), `${JSON.stringify(document, null, 2)}\n`],
  [fileOf('docs/reference.md'), renderReference(document)],
]);
for (const [file, text] of files) {
  if (!process.argv.includes('--check')) {
    replaceFile(file, text);
  } else if (!existsSync(file) || readFileSync(file, 'utf8') !== text) {
    console.error(`${file} is not what the schemas make: run \`npm run openapi && npm run generate\` and commit it`);
    process.exitCode = 1;
  }
}
