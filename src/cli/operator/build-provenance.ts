// Shows the provenance statement of a build, and signs it with the private key of a publisher.

import { type Client, type Schemas, unwrapResponse } from '../../client/client.ts';
import { digestOf } from '../../machine/digest.ts';
import { KeyError } from '../../proof/ed25519.ts';
import { type ParsedStatement, readStatement } from '../../proof/statement.ts';
import { signEnvelope } from '../../signing/envelope-signing.ts';
import { derivePublicKey } from '../../signing/private-key.ts';
import { CommandError, UsageError } from '../errors.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { readInputFile } from '../option-values.ts';
import { formatTable } from '../terminal/table.ts';
import { type CommandContext, printResult } from './operator.ts';

type SigningRequest = {
  readonly module: string;
  readonly version: string;
  /** File with the private key, PKCS #8 in PEM. */
  readonly keyFile: string;
  /** File with the expected source of the build. */
  readonly sourceFile: string | undefined;
};

/** Prints the statement of a build and its signers; with `--json`, the envelope (DSSE). */
export async function showProvenance(context: CommandContext, module: string, version: string): Promise<ExitCode> {
  const envelope = await readProvenance(context.client, module, version);
  const statement = statementIn(envelope, module, version);
  printResult(context, envelope, () => [
    ...formatStatement(statement),
    '',
    ...formatTable(
      ['SIGNED BY'],
      envelope.signatures.map(({ keyid }) => [keyid]),
    ),
  ]);
  return exitCodes.success;
}

/** Adds a publisher's signature to a build. @throws {UsageError} {CommandError} */
export async function signBuild(context: CommandContext, { module, version, keyFile, sourceFile }: SigningRequest): Promise<ExitCode> {
  const privateKey = readPrivateKey(keyFile);
  const envelope = await readProvenance(context.client, module, version);
  const statement = statementIn(envelope, module, version);
  if (sourceFile !== undefined) checkSource(sourceFile, statement);
  const { keyid: keyId, sig: signature } = signEnvelope(envelope, privateKey);
  const params = { path: { module, version } };
  const build = unwrapResponse(
    await context.client.POST('/v1/modules/{module}/builds/{version}/signatures', { params, body: { keyId, signature } }),
  );
  printResult(context, build, () => [`signed ${module}@${version} with the key ${keyId}:`, ...formatStatement(statement)]);
  return exitCodes.success;
}

async function readProvenance(client: Client, module: string, version: string): Promise<Schemas['Envelope']> {
  return unwrapResponse(await client.GET('/v1/modules/{module}/builds/{version}/provenance', { params: { path: { module, version } } }));
}

/** Returns the statement in an envelope. @throws {CommandError} if it is not about this build. */
function statementIn(envelope: Schemas['Envelope'], module: string, version: string): ParsedStatement {
  const statement = readStatement(envelope);
  if (statement === null || statement.module !== module || statement.version !== version)
    throw new CommandError(
      `the service returned no valid provenance of ${module}@${version}: do not trust the build, and check the database of the service`,
    );
  return statement;
}

function formatStatement({ imageDigest, sourceDigest, compiler, pushedBy }: ParsedStatement): string[] {
  return [
    `  image      ${imageDigest}`,
    `  source     ${sourceDigest}`,
    `  compiler   ${compiler}`,
    `  pushed by  ${pushedBy ?? 'unknown'}`,
  ];
}

function readPrivateKey(file: string): string {
  const pem = readInputFile(file, '--signing-key').toString();
  try {
    derivePublicKey(pem);
    return pem;
  } catch (error) {
    if (error instanceof KeyError) throw new UsageError(`cannot sign with --signing-key ${file}: ${error.message}`);
    throw error;
  }
}

function checkSource(file: string, { module, version, sourceDigest }: ParsedStatement): void {
  const digest = digestOf(readInputFile(file, '--source'));
  if (digest !== sourceDigest)
    throw new CommandError(
      `${file} is not the source of ${module}@${version}: expected ${sourceDigest}, received ${digest}; nothing was signed`,
    );
}
