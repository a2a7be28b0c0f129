// The generated files that a service reads. They are looked for before it begins, so that it does not fail at a later moment, on the first of them.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CommandError } from '../option-values.ts';

const sources = new URL('../../', import.meta.url);

/** Relative to `src`. What else is generated, the compiler of the types reads. */
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

/** @throws {CommandError} that names a missing file and what to run. */
export function requireGeneratedFiles(): void {
  const missing = generatedFiles.filter((file) => !existsSync(new URL(file, sources)));
  const [first] = missing;
  if (first === undefined) return;
  const others = missing.length === 1 ? '' : ` and ${missing.length - 1} other generated ${missing.length === 2 ? 'file' : 'files'}`;
  const verb = missing.length === 1 ? 'is' : 'are';
  throw new CommandError(
    `src/${first}${others} ${verb} missing: run \`npm run generate\` in ${fileURLToPath(new URL('..', sources))}, and start again`,
  );
}
