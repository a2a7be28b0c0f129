// `patchbay db`: commands for the database of a stopped service.

import type { Command } from '@commander-js/extra-typings';
import type { copyInstallation } from '../running/database-copy.ts';
import { runUntilShutdown } from '../shutdown.ts';
import { addExamples } from './examples.ts';

/** @param load Loads the code of the command. */
export function addDatabaseCommands(database: Command, load: () => Promise<typeof copyInstallation>): void {
  const complete = database
    .command('copy')
    .summary('copy an installation from SQLite to PostgreSQL')
    .description(
      'Copy an installation from SQLite to PostgreSQL, including the audit trail and its proofs. Stop the service first. An interrupted copy resumes when the command runs again. Finally the command compares the number of rows, and recomputes every hash of the audit trail from the copy.',
    )
    .requiredOption('--from <file>', 'SQLite file, or sqlite:FILE; only pending migrations change it')
    .requiredOption('--to <url>', 'PostgreSQL database, postgresql://USER:PASSWORD@HOST/NAME; empty, or with a part of this copy')
    .addHelpText(
      'after',
      '\nThen start the service with DATABASE_URL, and with the files next to the SQLite file: join-token, admin-key and the folder signing-keys.',
    )
    .action((options) => runUntilShutdown(async () => (await load())(options)));
  addExamples(complete, 'patchbay db copy --from data/patchbay.db --to postgresql://patchbay:secret@database/patchbay');
}
