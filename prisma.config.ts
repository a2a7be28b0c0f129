// Prisma's configuration for `prisma generate`, the only Prisma command that is used.

import { defineConfig } from 'prisma/config';

// The command downloads a schema engine even if it does not use one. Any existing program as the engine keeps it offline.
process.env['PRISMA_SCHEMA_ENGINE_BINARY'] ??= process.execPath;

// Disables the update check, which contacts the vendor and writes files to the home folder.
process.env['CHECKPOINT_DISABLE'] ??= '1';

export default defineConfig({ schema: 'prisma/schema.prisma' });
