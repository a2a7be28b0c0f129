// Drivers of programs: the service compiles them and stores them with a signed statement of what they call.

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
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import { withoutMarks } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { BuildQueries } from '../modules/queries.ts';
import { BuildRecords } from '../modules/repository.ts';
import { systemActor } from '../requester.ts';
import type { SigningKeys } from '../signing-keys/signing-keys.ts';
import type { ProgramRecord } from './repository.ts';
import { ProgramRecords } from './repository.ts';

/** The export that a driver calls, and how. */
export type DriverRequest = {
  readonly module: string;
  readonly export: string;
  readonly type: FunctionType;
  readonly addressing: Addressing;
};

type Uses = { readonly store: Store; readonly signingKeys: SigningKeys; readonly compiler: Compiler; readonly clock: Clock };

/** Programs checked per query. */
const programBatchSize = 500;

/**
 * Stores a driver that this process has just compiled, with its signed statement. The service never signs a driver from the database, so
 * that an attacker with write access to the database gets no signature.
 * @param connection The connection of the transaction that needs the driver.
 */
export async function storeDriver(
  connection: Connection,
  { signingKeys, clock }: { readonly signingKeys: SigningKeys; readonly clock: Clock },
  request: DriverRequest,
  { digest: imageDigest, image, sourceDigest }: CompiledImage,
): Promise<void> {
  await signingKeys.refresh(connection);
  const finishedAt = clock.now();
  const facts = { ...request, abi: abiVersion, imageDigest, sourceDigest, origin: signingKeys.origin, finishedAt };
  const statement = JSON.stringify(signingKeys.seal(statementPayloadType, createDriverStatement(facts)));
  await new BuildRecords(connection).storeDriver(
    { digest: imageDigest, bytes: new Uint8Array(image), statement },
    await new RetentionTimeRecords(connection).now(),
  );
}

/**
 * Recompiles the drivers of programs that have not ended, if a driver has no statement or another safepoint ABI version: another version of the service
 * compiled it. Devices get the new drivers when their hosts restart. A driver that cannot be compiled is not changed; its device reports the reason.
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
    for (const group of Map.groupBy(outdated, targetKey).values()) await recompile(uses, group);
  }
}

/** Whether a driver with this statement must be recompiled. A driver with an unreadable statement is not: its device refuses it with the reason. */
function isOutdated(statement: string | undefined): boolean {
  if (statement === undefined) return true;
  const envelope = readEnvelope(statement);
  const stated = envelope && readDriverStatement(envelope);
  return stated !== null && stated.abi !== abiVersion;
}

const targetKey = ({ driverDigest, module, export: name, type, addressing }: ProgramRecord) =>
  JSON.stringify([driverDigest, module, name, type, addressing]);

/** @param programs Programs with the same driver and target. */
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
      uses.clock.now(),
      renewed.map((object) => ({ action: 'program.driver-compiled', object, detail })),
    );
  });
}
