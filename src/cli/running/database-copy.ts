// `patchbay db copy`: copies an installation from SQLite to PostgreSQL.

import console from 'node:console';
import { existsSync } from 'node:fs';
import { CopyError, type CopyProgress, copyDatabase } from '../../service/database/copy.ts';
import { MigrationError } from '../../service/database/migrations.ts';
import { DatabaseInUse } from '../../service/database/sqlite/lock.ts';
import { TransactionsLost } from '../../service/database/sqlite/log-marker.ts';
import { isPostgresqlUrl } from '../../service/database/store.ts';
import { PoolerError } from '../../service/database/unavailable.ts';
import { CommandError, UsageError } from '../errors.ts';
import { rejectFileUrl } from './file-url.ts';

/** Copies an installation; resolves when everything is copied and verified. @throws {UsageError} {CommandError} */
export async function copyInstallation(options: { readonly from: string; readonly to: string }): Promise<void> {
  const from = options.from.replace(/^sqlite:(\/\/)?/, '');
  rejectFileUrl('--from', from);
  if (!isPostgresqlUrl(options.to)) throw new UsageError('--to: expected postgresql://USER:PASSWORD@HOST/NAME');
  if (!existsSync(from)) throw new CommandError(`--from: there is no file ${from}`);
  try {
    await copyDatabase(from, options.to, (progress) => console.log(formatProgress(progress)));
  } catch (error) {
    throw explain(error);
  }
  console.log('Copy complete.');
}

function formatProgress(progress: CopyProgress): string {
  if (progress.kind === 'table') {
    const { table, rows, had } = progress;
    return `  ${table.padEnd(18)} ${rows} rows${had > 0 ? `, ${had} of them copied earlier` : ''}`;
  }
  if (progress.kind === 'counts') return `  row counts match: ${progress.rows} rows in ${progress.tables} tables`;
  return `  audit trail verified: ${progress.events} events`;
}

function explain(error: unknown): unknown {
  if (error instanceof DatabaseInUse) return new CommandError(`copy failed: the file is in use: ${error.message}`);
  if (error instanceof TransactionsLost)
    return new CommandError(
      `copy failed: ${error.message}. Restore that file, or start the service once with --accept-lost-transactions and stop it`,
    );
  if (error instanceof CopyError || error instanceof MigrationError || error instanceof PoolerError)
    return new CommandError(`copy failed: ${error.message}`);
  const code = error instanceof Error && 'code' in error ? error.code : null;
  if (code === 'SQLITE_BUSY') return new CommandError('copy failed: the file is in use: stop the service first');
  if (error instanceof Error && typeof code === 'string') return new CommandError(`copy failed: ${error.message || code}`);
  return error;
}
