// `patchbay db copy`: moves an installation from a SQLite file to PostgreSQL.

import console from 'node:console';
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { CopyError, type CopyProgress, copyDatabase } from '../../service/database/copy.ts';
import { MigrationError } from '../../service/database/migrations.ts';
import { DatabaseInUse } from '../../service/database/sqlite/lock.ts';
import { TransactionsLost } from '../../service/database/sqlite/log-marker.ts';
import { isPostgresql } from '../../service/database/store.ts';
import { PoolerError } from '../../service/database/unavailable.ts';
import { StartError, UsageError } from '../command-line.ts';
import { refuseFileAddress } from './file-address.ts';

const help = `Usage: patchbay db copy --from FILE --to postgresql://USER:PASSWORD@HOST/NAME

Moves an installation from its SQLite file to PostgreSQL: everything that the service knows, the audit trail with its proofs included.
Stop the service before; it has nothing to do with the file while it is copied. What was interrupted goes on when it is called again.
At the end rows are counted, and every hash of the audit trail is computed anew from the copy.

Then start the service with DATABASE_URL and the files that were beside the database: join-token, admin-key and the folder signing-keys.

Options:
  --from FILE  the SQLite file, which stays as it is but for migrations; sqlite:FILE too
  --to URL     a database of PostgreSQL, which is empty or has a part of this copy
  --help

Example:
  patchbay db copy --from data/patchbay.db --to postgresql://patchbay:secret@database/patchbay
`;

/** Copies; resolves when everything is there. @throws {UsageError} {StartError} */
export async function database(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { from: { type: 'string' }, to: { type: 'string' }, help: { type: 'boolean', default: false } },
  });
  if (values.help) return console.log(help);
  if (positionals.join(' ') !== 'copy') throw new UsageError(`patchbay db does one thing: patchbay db copy`);
  const from = values.from?.replace(/^sqlite:(\/\/)?/, '');
  if (from === undefined || values.to === undefined) throw new UsageError('say what is copied with --from, and where with --to');
  refuseFileAddress('--from', from);
  if (!isPostgresql(values.to)) throw new UsageError('--to is where PostgreSQL is: postgresql://USER:PASSWORD@HOST/NAME');
  if (!existsSync(from)) throw new StartError(`there is no file ${from}: give the database of a service with --from`);
  try {
    await copyDatabase(from, values.to, (progress) => console.log(lineOf(progress)));
  } catch (error) {
    throw explained(error);
  }
  console.log('Everything is there.');
}

function lineOf(progress: CopyProgress): string {
  if (progress.kind === 'table') {
    const { table, rows, had } = progress;
    return `  ${table.padEnd(18)} ${rows} rows${had > 0 ? `, of which ${had} were there` : ''}`;
  }
  if (progress.kind === 'counts') return `  counted: ${progress.rows} rows in ${progress.tables} tables`;
  return `  the audit trail is whole: ${progress.events} events`;
}

function explained(error: unknown): unknown {
  if (error instanceof DatabaseInUse) return new StartError(`not copied: the file is in use: ${error.message}`);
  if (error instanceof TransactionsLost)
    return new StartError(
      `not copied: ${error.message}. Put that file back, or start the service once with --accept-lost-transactions and stop it`,
    );
  if (error instanceof CopyError || error instanceof MigrationError || error instanceof PoolerError)
    return new StartError(`not copied: ${error.message}`);
  const code = error instanceof Error && 'code' in error ? error.code : null;
  if (code === 'SQLITE_BUSY') return new StartError('the file is in use: stop the service before it is copied');
  if (error instanceof Error && typeof code === 'string') return new StartError(`not copied: ${error.message || code}`);
  return error;
}
