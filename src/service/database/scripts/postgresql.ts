// Writes the PostgreSQL schema, prisma/postgresql/schema.prisma, from prisma/schema.prisma. With --check, verifies that it is up to date.

import console from 'node:console';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const fileOf = (path: string) => fileURLToPath(new URL(`../../../../${path}`, import.meta.url));
const [source, target] = [fileOf('prisma/schema.prisma'), fileOf('prisma/postgresql/schema.prisma')];

/** Each text occurs exactly once in the source. */
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
      if (schema.split(from).length !== 2) throw new Error(`expected exactly one occurrence of ${from} in prisma/schema.prisma`);
      return schema.replace(from, to);
    },
    readFileSync(source, 'utf8'),
  );
}

if (process.argv[2] !== '--check') writeFileSync(target, postgresqlSchema());
else if (!existsSync(target) || readFileSync(target, 'utf8') !== postgresqlSchema()) {
  console.error('prisma/postgresql/schema.prisma is out of date: run npm run generate and commit the result');
  process.exitCode = 1;
}
