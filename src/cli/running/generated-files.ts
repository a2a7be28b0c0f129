// Checks that the generated files of the service exist, so that the service fails at the start and not at the first use of a file.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CommandError } from '../errors.ts';

const sources = new URL('../../', import.meta.url);

/** Paths relative to `src`. All other generated files contain only types. */
export const generatedFiles = [
  'service/database/generated/client.ts',
  'service/database/generated/enums.ts',
  'service/database/generated/internal/class.ts',
  'service/database/generated/internal/prismaNamespace.ts',
  'service/database/generated/postgresql/client.ts',
  'service/database/generated/postgresql/enums.ts',
  'service/database/generated/postgresql/internal/class.ts',
  'service/database/generated/postgresql/internal/prismaNamespace.ts',
  'compiler/generated/asc.js',
  'compiler/generated/assemblyscript.js',
  'compiler/generated/binaryen.js',
  'compiler/generated/binaryen.wasm',
] as const;

/** @throws {CommandError} that names a missing file and the command that generates it. */
export function requireGeneratedFiles(): void {
  const missing = generatedFiles.filter((file) => !existsSync(new URL(file, sources)));
  const [first] = missing;
  if (first === undefined) return;
  const others = missing.length === 1 ? '' : ` and ${missing.length - 1} other generated ${missing.length === 2 ? 'file' : 'files'}`;
  const verb = missing.length === 1 ? 'is' : 'are';
  throw new CommandError(
    `src/${first}${others} ${verb} missing: run \`npm run generate\` in ${fileURLToPath(new URL('..', sources))}, and try again`,
  );
}
