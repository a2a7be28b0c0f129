// Prisma's configuration for `prisma generate`, the only part of its command line that is used.

import { defineConfig } from 'prisma/config';

// The command line downloads a schema engine even where it does not use it; any existing program in its place keeps it offline.
process.env['PRISMA_SCHEMA_ENGINE_BINARY'] ??= process.execPath;

// It asks its makers for newer versions otherwise, and keeps files in the home folder.
process.env['CHECKPOINT_DISABLE'] ??= '1';

export default defineConfig({ schema: 'prisma/schema.prisma' });
