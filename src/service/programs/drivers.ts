// The drivers of programs: compiled by the service, and kept with a statement of what they call that the service signs.

import type { Compiler } from '../../compiler/compiler.ts';
import type { CompiledImage, CompileResult } from '../../compiler/result.ts';
import { abiVersion } from '../../machine/abi.ts';
import { createDriverStatement, readDriverStatement } from '../../proof/driver-statement.ts';
import { readEnvelope } from '../../proof/envelope.ts';
import { statementPayloadType } from '../../proof/statement.ts';
import { Addressing } from '../../protocol/agent.ts';
import { FunctionType } from '../../protocol/interface.ts';
import { audit } from '../audit-events/entry.ts';
import { RetentionTimeRecords } from '../clock/repository.ts';
import type { Connection } from '../database/connection.ts';
import { withoutMarks } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { BuildQueries } from '../modules/queries.ts';
import { BuildRecords } from '../modules/repository.ts';
import { systemActor } from '../requester.ts';
import type { SigningKeys } from '../signing-keys/signing-keys.ts';
import type { ProgramRecord } from './repository.ts';
import { ProgramRecords } from './repository.ts';

/** What a driver calls, and how. */
export type DriverRequest = {
  readonly module: string;
  readonly export: string;
  readonly type: FunctionType;
  readonly addressing: Addressing;
};

type Uses = { readonly store: Store; readonly signingKeys: SigningKeys; readonly compiler: Compiler };

/** Programs whose drivers are looked at together. */
const programBatchSize = 500;

/**
 * Keeps a driver that this process has just compiled, with its signed statement. The service never signs a driver from the database, so
 * that an attacker who can write the database gets no signature.
 * @param connection Of the transaction that needs the driver.
 */
export async function storeDriver(
  connection: Connection,
  { signingKeys }: { readonly signingKeys: SigningKeys },
  request: DriverRequest,
  { digest: imageDigest, image, sourceDigest }: CompiledImage,
): Promise<void> {
  await signingKeys.refresh(connection);
  const finishedAt = new Date();
  const facts = { ...request, abi: abiVersion, imageDigest, sourceDigest, origin: signingKeys.origin, finishedAt };
  const statement = JSON.stringify(signingKeys.seal(statementPayloadType, createDriverStatement(facts)));
  await new BuildRecords(connection).storeDriver(
    { digest: imageDigest, bytes: new Uint8Array(image), statement },
    await new RetentionTimeRecords(connection).now(),
  );
}

/**
 * Compiles the drivers again of programs that have not ended and whose drivers have no statement, or are of another safepoint ABI: those from before
 * there were statements, and those of another version of the service. Devices get them when their hosts restart. A driver that cannot be compiled any
 * more stays as it is, and the device that is to run it says why it does not.
 */
export async function recompileDrivers(uses: Uses): Promise<void> {
  const { store } = uses;
  for (let after = ''; ; ) {
    const programs = await new ProgramRecords(store.readConnection).listOpenAfter(after, programBatchSize);
    const last = programs.at(-1);
    if (last === undefined) return;
    after = last.id;
    const readable = withoutMarks(programs);
    const statements = await new BuildQueries(store.reader).findDriverStatements([
      ...new Set(readable.map(({ driverDigest }) => driverDigest)),
    ]);
    const outdated = readable.filter(({ driverDigest }) => isOutdated(statements.get(driverDigest)));
    for (const alike of Map.groupBy(outdated, targetKey).values()) await recompile(uses, alike);
  }
}

/** Whether a driver with this statement must be compiled again. A driver with a changed statement is not: its device refuses it with the reason. */
function isOutdated(statement: string | undefined): boolean {
  if (statement === undefined) return true;
  const envelope = readEnvelope(statement);
  const stated = envelope && readDriverStatement(envelope);
  return stated !== null && stated.abi !== abiVersion;
}

const targetKey = ({ driverDigest, module, export: name, type, addressing }: ProgramRecord) =>
  JSON.stringify([driverDigest, module, name, type, addressing]);

/** @param programs With one driver, which calls one export in one way. */
async function recompile(uses: Uses, programs: readonly ProgramRecord[]): Promise<void> {
  const [first] = programs;
  const type = FunctionType.safeParse(first?.type);
  const addressing = Addressing.safeParse(first?.addressing);
  if (first === undefined || !type.success || !addressing.success) return;
  const request: DriverRequest = { module: first.module, export: first.export, type: type.data, addressing: addressing.data };
  const result: CompileResult | null = await uses.compiler.compileDriver(request).catch(() => null);
  if (result?.ok !== true) return;
  const { compiled } = result;
  await uses.store.transaction(async (connection) => {
    const ids = programs.map(({ id }) => id);
    const renewed = await new ProgramRecords(connection).replaceDriver(ids, first.driverDigest, compiled.digest);
    if (renewed.length === 0) return;
    await storeDriver(connection, uses, request, compiled);
    const detail = { module: request.module, export: request.export, driver: compiled.digest, previous: first.driverDigest };
    await audit(
      connection,
      systemActor,
      new Date(),
      renewed.map((object) => ({ action: 'program.driver-compiled', object, detail })),
    );
  });
}
