// Writes openapi/openapi.json from the service's schemas, or with --check says whether it is up to date.

import console from 'node:console';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { usualLimits } from '../api/limits.ts';
import { createService } from '../api/service.ts';

const file = fileURLToPath(new URL('../../openapi/openapi.json', import.meta.url));

async function generate(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-openapi-'));
  try {
    const app = await createService({
      databaseFile: join(folder, 'patchbay.db'),
      logger: false,
      joinToken: 'not used: nobody registers',
      unreachableAfter: 60_000,
      adminKey: null,
      keys: 'required',
      limits: usualLimits,
    });
    await app.ready();
    const document = app.swagger();
    await app.close();
    return `${JSON.stringify(document, null, 2)}\n`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const generated = await generate();
if (!process.argv.includes('--check')) {
  writeFileSync(file, generated);
} else if (readFileSync(file, 'utf8') !== generated) {
  console.error('openapi/openapi.json is not what the schemas make: run `npm run openapi && npm run generate` and commit it');
  process.exitCode = 1;
}
