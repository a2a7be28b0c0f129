// Shows the provenance statement of a patch set.

import { unwrapResponse } from '../../client/client.ts';
import { readPatchSetStatement } from '../../proof/patch-set-statement.ts';
import { CommandError } from '../errors.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { formatTable } from '../terminal/table.ts';
import { type CommandContext, printResult } from './operator.ts';
import { findPatchSet } from './patch-set-names.ts';

/** Prints the statement of a patch set and its signers; with `--json`, the envelope (DSSE). @throws {UsageError} {CommandError} */
export async function showPatchSetProvenance(context: CommandContext, name: string, version: string): Promise<ExitCode> {
  const { id } = await findPatchSet(context.client, name, version);
  const params = { path: { patchSet: id } };
  const envelope = unwrapResponse(await context.client.GET('/v1/patch-sets/{patchSet}/provenance', { params }));
  const statement = readPatchSetStatement(envelope);
  if (statement === null || statement.name !== name || statement.version !== version)
    throw new CommandError(
      `the service returned no valid provenance of the patch set ${name}@${version}: do not trust the set, and check the database of the service`,
    );
  printResult(context, envelope, () => [
    `created by ${statement.createdBy}`,
    '',
    ...formatTable(
      ['BUILD', 'IMAGE'],
      statement.members.map(({ module, version: number, imageDigest }) => [`${module}@${number}`, imageDigest]),
    ),
    '',
    ...formatTable(
      ['SIGNED BY'],
      envelope.signatures.map(({ keyid }) => [keyid]),
    ),
  ]);
  return exitCodes.success;
}
