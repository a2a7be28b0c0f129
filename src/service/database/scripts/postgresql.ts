// The same models for PostgreSQL: writes prisma/postgresql/schema.prisma from prisma/schema.prisma, or with --check says whether it is up to date.

import console from 'node:console';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const fileOf = (path: string) => fileURLToPath(new URL(`../../../../${path}`, import.meta.url));
const [source, target] = [fileOf('prisma/schema.prisma'), fileOf('prisma/postgresql/schema.prisma')];

/** Each is there once. */
const replacements = [
  [
    "// The control service's database.",
    "// Made from ../schema.prisma by `npm run generate`: change that. The control service's database.",
  ],
  ['output              = "../src/service/database/generated"', 'output              = "../../src/service/database/generated/postgresql"'],
  ['provider = "sqlite"', 'provider = "postgresql"'],
] as const;

function postgresqlSchema(): string {
  return replacements.reduce(
    (schema, [from, to]) => {
      if (schema.split(from).length !== 2) throw new Error(`prisma/schema.prisma does not have ${from} once`);
      return schema.replace(from, to);
    },
    readFileSync(source, 'utf8'),
  );
}

if (process.argv[2] !== '--check') writeFileSync(target, postgresqlSchema());
else if (!existsSync(target) || readFileSync(target, 'utf8') !== postgresqlSchema()) {
  console.error('prisma/postgresql/schema.prisma is not that of prisma/schema.prisma: run npm run generate, and commit it');
  process.exitCode = 1;
}
