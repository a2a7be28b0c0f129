// Provenance of a build: the in-toto statement that the service signs, and its DSSE envelope.

import { type Envelope, readEnvelope } from '../../proof/envelope.ts';
import { type BuildOptions, createStatement, type Provenance, readStatement, statementPayloadType } from '../../proof/statement.ts';
import { Problem } from '../problem.ts';
import type { SigningKeys } from '../signing-keys/signing-keys.ts';
import type { BuildRecord } from './repository.ts';

/** Returns the statement of a build in a signed envelope (JSON), as it is stored. */
export function signProvenance(signingKeys: SigningKeys, facts: Omit<Provenance, 'origin'>): string {
  return JSON.stringify(signingKeys.seal(statementPayloadType, createStatement({ ...facts, origin: signingKeys.origin })));
}

/** Returns the envelope of a build; null if it is missing or cannot be read. */
export function readBuildEnvelope({ envelope }: Pick<BuildRecord, 'envelope'>): Envelope | null {
  return envelope === null ? null : readEnvelope(envelope);
}

/** Returns the options that a build was compiled with; none if its statement cannot be read. */
export function readBuildOptions(build: Pick<BuildRecord, 'envelope'>): BuildOptions {
  const envelope = readBuildEnvelope(build);
  return (envelope === null ? null : readStatement(envelope))?.options ?? {};
}

/** Returns the problem of a build without readable provenance. */
export function missingProvenance({ module, version }: BuildRecord): Problem {
  return new Problem('not-found', `build ${module}@${version} has no readable provenance: push its source under a higher version`);
}
