// What the service states of a build is shown, and signed by whoever has the private key of a publisher.

import { answerOf, type Client, type Schemas } from '../../client/client.ts';
import { digestOf } from '../../machine/digest.ts';
import { KeyError } from '../../proof/ed25519.ts';
import { type ParsedStatement, readStatement } from '../../proof/statement.ts';
import { signEnvelope } from '../../signing/envelope-signing.ts';
import { derivePublicKey } from '../../signing/private-key.ts';
import { readGivenFile, StartError, UsageError } from '../command-line.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { tableLines } from '../terminal/table.ts';
import { answer, type Operator } from './operator.ts';

type Signing = {
  readonly module: string;
  readonly version: string;
  /** File with the private key, PKCS #8 in PEM. */
  readonly keyFile: string;
  /** File with what is to have been compiled. */
  readonly sourceFile: string | undefined;
};

/** Shows the statement of a build; for machines, its envelope. */
export async function showProvenance(operator: Operator, module: string, version: string): Promise<ExitCode> {
  const envelope = await readProvenance(operator.client, module, version);
  const statement = statementIn(envelope, module, version);
  answer(operator, envelope, () => [
    ...statementLines(statement),
    '',
    ...tableLines(
      ['SIGNED BY'],
      envelope.signatures.map(({ keyid }) => [keyid]),
    ),
  ]);
  return exitCodes.done;
}

/** Puts a publisher's signature to a build, of which the statement says what it is to say. @throws {UsageError} {StartError} */
export async function signBuild(operator: Operator, { module, version, keyFile, sourceFile }: Signing): Promise<ExitCode> {
  const privateKey = readPrivateKey(keyFile);
  const envelope = await readProvenance(operator.client, module, version);
  const statement = statementIn(envelope, module, version);
  if (sourceFile !== undefined) checkSource(sourceFile, statement);
  const { keyid: keyId, sig: signature } = signEnvelope(envelope, privateKey);
  const params = { path: { module, version } };
  const build = answerOf(
    await operator.client.POST('/v1/modules/{module}/builds/{version}/signatures', { params, body: { keyId, signature } }),
  );
  answer(operator, build, () => [`signed ${module}@${version} with the key ${keyId}:`, ...statementLines(statement)]);
  return exitCodes.done;
}

async function readProvenance(client: Client, module: string, version: string): Promise<Schemas['Envelope']> {
  return answerOf(await client.GET('/v1/modules/{module}/builds/{version}/provenance', { params: { path: { module, version } } }));
}

/** What the envelope states. @throws {StartError} where that is not of this build. */
function statementIn(envelope: Schemas['Envelope'], module: string, version: string): ParsedStatement {
  const statement = readStatement(envelope);
  if (statement === null || statement.module !== module || statement.version !== version)
    throw new StartError(`what the service answers is no statement of ${module}@${version}: do not trust it, and look after its database`);
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
  const pem = readGivenFile(file, '--signing-key').toString();
  try {
    derivePublicKey(pem);
    return pem;
  } catch (error) {
    if (error instanceof KeyError) throw new UsageError(`cannot sign with --signing-key ${file}: ${error.message}`);
    throw error;
  }
}

function checkSource(file: string, { module, version, sourceDigest }: ParsedStatement): void {
  const digest = digestOf(readGivenFile(file, '--source'));
  if (digest !== sourceDigest)
    throw new StartError(
      `${file} is not what ${module}@${version} was compiled of: it is ${digest}, and that was ${sourceDigest}; nothing was signed`,
    );
}
