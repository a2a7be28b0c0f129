// `patchbay db`: work on the database of a service that is stopped.

import type { Command } from '@commander-js/extra-typings';
import type { copyInstallation } from '../running/database-copy.ts';
import { runUntilShutdown } from '../shutdown.ts';
import { addExamples } from './examples.ts';

/** @param load Loads the command. */
export function addDatabaseCommands(database: Command, load: () => Promise<typeof copyInstallation>): void {
  const complete = database
    .command('copy')
    .summary('copy an installation from its SQLite file to PostgreSQL')
    .description(
      'copy an installation from its SQLite file to PostgreSQL: everything that the service knows, the audit trail with its proofs included. Stop the service before. An interrupted copy resumes when the command runs again. At the end the command counts the rows, and computes every hash of the audit trail again from the copy.',
    )
    .requiredOption('--from <file>', 'the SQLite file, which stays as it is except for migrations; sqlite:FILE too')
    .requiredOption(
      '--to <url>',
      'a database of PostgreSQL, postgresql://USER:PASSWORD@HOST/NAME, which is empty or has a part of this copy',
    )
    .addHelpText(
      'after',
      '\nThen start the service with DATABASE_URL and the files that were beside the database: join-token, admin-key and the folder signing-keys.',
    )
    .action((options) => runUntilShutdown(async () => (await load())(options)));
  addExamples(complete, 'patchbay db copy --from data/patchbay.db --to postgresql://patchbay:secret@database/patchbay');
}
