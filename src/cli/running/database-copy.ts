// `patchbay db copy`: moves an installation from a SQLite file to PostgreSQL.

import console from 'node:console';
import { existsSync } from 'node:fs';
import { CopyError, type CopyProgress, copyDatabase } from '../../service/database/copy.ts';
import { MigrationError } from '../../service/database/migrations.ts';
import { DatabaseInUse } from '../../service/database/sqlite/lock.ts';
import { TransactionsLost } from '../../service/database/sqlite/log-marker.ts';
import { isPostgresqlUrl } from '../../service/database/store.ts';
import { PoolerError } from '../../service/database/unavailable.ts';
import { CommandError, UsageError } from '../option-values.ts';
import { rejectFileUrl } from './file-url.ts';

/** Copies; resolves when everything is there. @throws {UsageError} {StartError} */
export async function copyInstallation(given: { readonly from: string; readonly to: string }): Promise<void> {
  const from = given.from.replace(/^sqlite:(\/\/)?/, '');
  rejectFileUrl('--from', from);
  if (!isPostgresqlUrl(given.to)) throw new UsageError('--to is where PostgreSQL is: postgresql://USER:PASSWORD@HOST/NAME');
  if (!existsSync(from)) throw new CommandError(`there is no file ${from}: give the database of a service with --from`);
  try {
    await copyDatabase(from, given.to, (progress) => console.log(lineOf(progress)));
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
  if (error instanceof DatabaseInUse) return new CommandError(`not copied: the file is in use: ${error.message}`);
  if (error instanceof TransactionsLost)
    return new CommandError(
      `not copied: ${error.message}. Put that file back, or start the service once with --accept-lost-transactions and stop it`,
    );
  if (error instanceof CopyError || error instanceof MigrationError || error instanceof PoolerError)
    return new CommandError(`not copied: ${error.message}`);
  const code = error instanceof Error && 'code' in error ? error.code : null;
  if (code === 'SQLITE_BUSY') return new CommandError('the file is in use: stop the service before it is copied');
  if (error instanceof Error && typeof code === 'string') return new CommandError(`not copied: ${error.message || code}`);
  return error;
}
