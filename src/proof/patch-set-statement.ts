// Statements about patch sets, which the service signs: in-toto Statements with SLSA provenance. The subjects are the images of the members.

import { z } from 'zod';
import { decodeUtf8, fromBase64 } from './bytes.ts';
import { canonicalJson } from './canonical-json.ts';
import type { Envelope } from './envelope.ts';
import { type BuildIdentity, predicateType, Sha256, sha256Of, statementPayloadType, statementType, tryParseJson } from './statement.ts';

/** Build type of patch sets. It differs from the type of builds, so that neither statement can be mistaken for the other. */
const patchSetBuildType = 'urn:patchbay:patch-set:v1';

/** A patch set as described by its statement. */
export type StatedPatchSet = {
  readonly name: string;
  readonly version: string;
  readonly members: readonly BuildIdentity[];
  /** Identifier of the API key that created the set. */
  readonly createdBy: string;
};

export type PatchSetProvenance = StatedPatchSet & {
  /** Name of the service installation. */
  readonly origin: string;
  /** Identifier of the request that created the set; null: unknown. */
  readonly requestId: string | null;
  readonly finishedAt: Date;
};

/** The members that are read; a statement may have more. */
const Statement = z.object({
  _type: z.literal(statementType),
  subject: z.array(z.object({ name: z.string(), digest: Sha256 })),
  predicateType: z.literal(predicateType),
  predicate: z.object({
    buildDefinition: z.object({
      buildType: z.literal(patchSetBuildType),
      externalParameters: z.object({
        name: z.string(),
        version: z.string(),
        builds: z.array(z.object({ module: z.string(), version: z.string() })),
      }),
      internalParameters: z.object({ createdBy: z.string() }),
    }),
  }),
});

/** Creates the statement of a patch set as canonical JSON (RFC 8785). */
export function createPatchSetStatement({ name, version, members, createdBy, origin, requestId, finishedAt }: PatchSetProvenance): string {
  return canonicalJson({
    _type: statementType,
    subject: members.map((member) => ({ name: subjectOf(member), digest: sha256Of(member.imageDigest) })),
    predicateType,
    predicate: {
      buildDefinition: {
        buildType: patchSetBuildType,
        externalParameters: { name, version, builds: members.map((member) => ({ module: member.module, version: member.version })) },
        internalParameters: { createdBy },
        resolvedDependencies: [],
      },
      runDetails: {
        builder: { id: `urn:${origin.replaceAll('/', ':')}`, version: {} },
        metadata: { ...(requestId === null ? {} : { invocationId: requestId }), finishedOn: finishedAt.toISOString() },
      },
    },
  });
}

/** Parses the patch set statement in an envelope without checking signatures; null if it contains none. */
export function readPatchSetStatement({ payloadType, payload }: Envelope): StatedPatchSet | null {
  if (payloadType !== statementPayloadType) return null;
  const read = Statement.safeParse(tryParseJson(decodeUtf8(fromBase64(payload))));
  if (!read.success) return null;
  const { subject, predicate } = read.data;
  const { externalParameters, internalParameters } = predicate.buildDefinition;
  const { name, version, builds } = externalParameters;
  const members = builds.flatMap((build, index) => {
    const stated = subject[index];
    return stated?.name === subjectOf(build) ? [{ ...build, imageDigest: `sha256:${stated.digest.sha256}` }] : [];
  });
  if (members.length !== builds.length || members.length !== subject.length) return null;
  return { name, version, members, createdBy: internalParameters.createdBy };
}

const subjectOf = ({ module, version }: Pick<BuildIdentity, 'module' | 'version'>) => `${module}@${version}`;
