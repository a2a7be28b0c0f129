// What the service states of a build is shown, and signed by whoever has the private key of a publisher.

import { type Client, type Schemas, unwrapResponse } from '../../client/client.ts';
import { digestOf } from '../../machine/digest.ts';
import { KeyError } from '../../proof/ed25519.ts';
import { type ParsedStatement, readStatement } from '../../proof/statement.ts';
import { signEnvelope } from '../../signing/envelope-signing.ts';
import { derivePublicKey } from '../../signing/private-key.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { CommandError, readInputFile, UsageError } from '../option-values.ts';
import { formatTable } from '../terminal/table.ts';
import { type CommandContext, printResult } from './operator.ts';

type Signing = {
  readonly module: string;
  readonly version: string;
  /** File with the private key, PKCS #8 in PEM. */
  readonly keyFile: string;
  /** File with what is to have been compiled. */
  readonly sourceFile: string | undefined;
};

/** Shows the statement of a build; for machines, its envelope. */
export async function showProvenance(operator: CommandContext, module: string, version: string): Promise<ExitCode> {
  const envelope = await readProvenance(operator.client, module, version);
  const statement = statementIn(envelope, module, version);
  printResult(operator, envelope, () => [
    ...statementLines(statement),
    '',
    ...formatTable(
      ['SIGNED BY'],
      envelope.signatures.map(({ keyid }) => [keyid]),
    ),
  ]);
  return exitCodes.success;
}

/** Puts a publisher's signature to a build, of which the statement says what it is to say. @throws {UsageError} {StartError} */
export async function signBuild(operator: CommandContext, { module, version, keyFile, sourceFile }: Signing): Promise<ExitCode> {
  const privateKey = readPrivateKey(keyFile);
  const envelope = await readProvenance(operator.client, module, version);
  const statement = statementIn(envelope, module, version);
  if (sourceFile !== undefined) checkSource(sourceFile, statement);
  const { keyid: keyId, sig: signature } = signEnvelope(envelope, privateKey);
  const params = { path: { module, version } };
  const build = unwrapResponse(
    await operator.client.POST('/v1/modules/{module}/builds/{version}/signatures', { params, body: { keyId, signature } }),
  );
  printResult(operator, build, () => [`signed ${module}@${version} with the key ${keyId}:`, ...statementLines(statement)]);
  return exitCodes.success;
}

async function readProvenance(client: Client, module: string, version: string): Promise<Schemas['Envelope']> {
  return unwrapResponse(await client.GET('/v1/modules/{module}/builds/{version}/provenance', { params: { path: { module, version } } }));
}

/** What the envelope states. @throws {CommandError} where that is not of this build. */
function statementIn(envelope: Schemas['Envelope'], module: string, version: string): ParsedStatement {
  const statement = readStatement(envelope);
  if (statement === null || statement.module !== module || statement.version !== version)
    throw new CommandError(
      `what the service answers is no statement of ${module}@${version}: do not trust it, and look after its database`,
    );
  return statement;
}

function statementLines({ imageDigest, sourceDigest, compiler, pushedBy }: ParsedStatement): string[] {
  return [
    `  image      ${imageDigest}`,
    `  source     ${sourceDigest}`,
    `  compiler   ${compiler}`,
    `  pushed by  ${pushedBy ?? 'not known'}`,
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
      `${file} is not what ${module}@${version} was compiled of: it is ${digest}, and that was ${sourceDigest}; nothing was signed`,
    );
}
