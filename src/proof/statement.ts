// What the service states of a build, and signs: an in-toto Statement (in-toto.io/Statement/v1) whose predicate is SLSA provenance (slsa.dev/provenance/v1).

import { z } from 'zod';
import { decodeUtf8, fromBase64 } from './bytes.ts';
import { canonicalJson } from './canonical-json.ts';
import type { Envelope } from './envelope.ts';

/** Of the envelope's payload. */
export const statementPayloadType = 'application/vnd.in-toto+json';
export const statementType = 'https://in-toto.io/Statement/v1';
export const predicateType = 'https://slsa.dev/provenance/v1';
/** How a module is built, whatever its language: by the compiler that comes with the service. */
const buildType = 'urn:patchbay:build:v1';

/** A build as it is told from all others. */
export type BuildIdentity = {
  readonly module: string;
  readonly version: string;
  /** `sha256:` and 64 hexadecimal digits. */
  readonly imageDigest: string;
};

/** How a build was compiled, where it was not as usual: each option that was given, by its name in the API. */
const BuildOptions = z.object({ concurrency: z.string().optional(), features: z.array(z.string()).optional() });
export type BuildOptions = z.infer<typeof BuildOptions>;

/** Where a build came from. */
export type Provenance = BuildIdentity & {
  readonly language: string;
  /** As the compiler calls itself: its name, a space, its version. */
  readonly compiler: string;
  readonly sourceDigest: string;
  readonly options?: BuildOptions;
  /** Identifier of the API key that pushed it; null where that is not known. */
  readonly pushedBy: string | null;
  /** Names the installation of the service. */
  readonly origin: string;
  /** The request by which it was pushed; null where that is not known. */
  readonly requestId: string | null;
  /** Null where it is not known. */
  readonly startedAt: Date | null;
  readonly finishedAt: Date;
};

export const Sha256 = z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/) });

/** What is read of a statement; others may say more. */
const Statement = z.object({
  _type: z.literal(statementType),
  subject: z.tuple([z.object({ name: z.string(), digest: Sha256 })]),
  predicateType: z.literal(predicateType),
  predicate: z.object({
    buildDefinition: z.object({
      buildType: z.literal(buildType),
      externalParameters: z.object({ module: z.string(), version: z.string(), language: z.string(), options: BuildOptions.optional() }),
      internalParameters: z.object({ pushedBy: z.string().nullable() }),
      resolvedDependencies: z.tuple([z.object({ name: z.literal('source'), digest: Sha256 })]),
    }),
    runDetails: z.object({
      builder: z.object({ id: z.string(), version: z.record(z.string(), z.string()) }),
      metadata: z.object({ invocationId: z.string().optional(), startedOn: z.string().optional(), finishedOn: z.string() }),
    }),
  }),
});

/** The statement as it is signed: canonical JSON (RFC 8785). */
export function createStatement(provenance: Provenance): string {
  const { module, version, language, options = {}, compiler, origin, requestId, startedAt } = provenance;
  const [, name = compiler, number = ''] = /^(.*) (\S+)$/.exec(compiler) ?? [];
  return canonicalJson({
    _type: statementType,
    subject: [{ name: `${module}@${version}`, digest: sha256Of(provenance.imageDigest) }],
    predicateType,
    predicate: {
      buildDefinition: {
        buildType,
        externalParameters: { module, version, language, ...(Object.keys(options).length === 0 ? {} : { options }) },
        internalParameters: { pushedBy: provenance.pushedBy },
        resolvedDependencies: [{ name: 'source', digest: sha256Of(provenance.sourceDigest) }],
      },
      runDetails: {
        builder: { id: `urn:${origin.replaceAll('/', ':')}`, version: { [name]: number } },
        metadata: {
          ...(requestId === null ? {} : { invocationId: requestId }),
          ...(startedAt === null ? {} : { startedOn: startedAt.toISOString() }),
          finishedOn: provenance.finishedAt.toISOString(),
        },
      },
    },
  });
}

/** What a statement says of a build. */
export type ParsedStatement = BuildIdentity & {
  readonly sourceDigest: string;
  readonly options: BuildOptions;
  readonly compiler: string;
  readonly pushedBy: string | null;
};

/** What an envelope states, whoever has signed it; null where it is no statement of a build. */
export function readStatement({ payloadType, payload }: Envelope): ParsedStatement | null {
  if (payloadType !== statementPayloadType) return null;
  const read = Statement.safeParse(parsed(decodeUtf8(fromBase64(payload))));
  if (!read.success) return null;
  const { subject, predicate } = read.data;
  const [{ name, digest }] = subject;
  const { externalParameters, internalParameters, resolvedDependencies } = predicate.buildDefinition;
  const { module, version, options = {} } = externalParameters;
  if (name !== `${module}@${version}`) return null;
  const compiler = Object.entries(predicate.runDetails.builder.version).map(([one, number]) => `${one} ${number}`);
  return {
    module,
    version,
    imageDigest: `sha256:${digest.sha256}`,
    sourceDigest: `sha256:${resolvedDependencies[0].digest.sha256}`,
    options,
    compiler: compiler.join(', '),
    pushedBy: internalParameters.pushedBy,
  };
}

/** Whether what is stated is this build, and no other. */
export function isSameBuild(stated: BuildIdentity, { module, version, imageDigest }: BuildIdentity): boolean {
  return stated.module === module && stated.version === version && stated.imageDigest === imageDigest;
}

const sha256Of = (digest: string) => ({ sha256: digest.replace(/^sha256:/, '') });

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
