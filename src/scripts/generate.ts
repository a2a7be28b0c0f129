// `npm run generate`: generates the database client, the API client and the compiler's libraries in a staging folder, and then replaces the files in
// use one by one, so that a service that starts meanwhile finds every file.

import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { replaceFolder } from './replace-files.ts';
import { root, runGenerator, runPackage, withStaging } from './staging.ts';

const generated = {
  database: 'src/service/database/generated',
  compiler: 'src/compiler/generated',
  client: 'src/client/generated',
} as const;

withStaging((staging) => {
  runGenerator('src/service/database/scripts/postgresql.ts');
  // Prisma writes relative to its schema, and the client contains the schema and its paths.
  cpSync(join(root, 'prisma'), join(staging, 'prisma'), { recursive: true });
  runPackage('prisma', 'generate', '--schema', join(staging, 'prisma/schema.prisma'));
  runPackage('prisma', 'generate', '--schema', join(staging, 'prisma/postgresql/schema.prisma'));
  runGenerator('src/compiler/scripts/compiler-libraries.ts', join(staging, generated.compiler));
  const client = join(staging, generated.client, 'api.ts');
  runPackage('openapi-typescript', 'openapi/openapi.json', '--default-non-nullable', 'false', '--output', client);
  runGenerator('src/client/scripts/values.ts', join(staging, generated.client, 'values.ts'));
  for (const folder of Object.values(generated)) replaceFolder(join(staging, folder), join(root, folder));
});
