// What the service states of a build, and signs: where it came from.

import { type Envelope, readEnvelope } from '../../proof/envelope.ts';
import { type BuildOptions, createStatement, type Provenance, readStatement, statementPayloadType } from '../../proof/statement.ts';
import { notFound, type Problem } from '../problem.ts';
import type { SigningKeys } from '../signing-keys/signing-keys.ts';
import type { BuildRecord } from './repository.ts';

/** The statement of a build in an envelope that the service has signed, as it is kept. */
export function signProvenance(signingKeys: SigningKeys, facts: Omit<Provenance, 'origin'>): string {
  return JSON.stringify(signingKeys.seal(statementPayloadType, createStatement({ ...facts, origin: signingKeys.origin })));
}

/** The statement of a build, with its signatures; null where there is none that can be read. */
export function readBuildEnvelope({ envelope }: BuildRecord): Envelope | null {
  return envelope === null ? null : readEnvelope(envelope);
}

/** The options that a build was compiled with; none where no statement of them can be read. */
export function readBuildOptions(build: BuildRecord): BuildOptions {
  const envelope = readBuildEnvelope(build);
  return (envelope === null ? null : readStatement(envelope))?.options ?? {};
}

/** What is said of a build that has no such statement. */
export function missingProvenance({ module, version }: BuildRecord): Problem {
  return notFound('readable statement of the build', `${module}@${version}`, 'push its source under a higher version');
}
