// Statements about builds, which the service signs: in-toto Statements (in-toto.io/Statement/v1) with SLSA provenance (slsa.dev/provenance/v1).

import { z } from 'zod';
import { decodeUtf8, fromBase64 } from './bytes.ts';
import { canonicalJson } from './canonical-json.ts';
import type { Envelope } from './envelope.ts';

/** Type of the envelope's payload. */
export const statementPayloadType = 'application/vnd.in-toto+json';
export const statementType = 'https://in-toto.io/Statement/v1';
export const predicateType = 'https://slsa.dev/provenance/v1';
/** Build type of modules of all languages: compiled by the service's compiler. */
const buildType = 'urn:patchbay:build:v1';

/** The identity of a build. */
export type BuildIdentity = {
  readonly module: string;
  readonly version: string;
  /** `sha256:` and 64 hexadecimal digits. */
  readonly imageDigest: string;
};

/** The options of a build that differ from the defaults, by their names in the API. */
const BuildOptions = z.object({
  concurrency: z.string().optional(),
  features: z.array(z.string()).optional(),
  dependencies: z.record(z.string(), z.string()).optional(),
});
export type BuildOptions = z.infer<typeof BuildOptions>;

/** Where a build came from. */
export type Provenance = BuildIdentity & {
  readonly language: string;
  /** The compiler: its name, a space, and its version. */
  readonly compiler: string;
  readonly sourceDigest: string;
  readonly options?: BuildOptions;
  /** Identifier of the API key that pushed the build; null: unknown. */
  readonly pushedBy: string | null;
  /** Name of the service installation. */
  readonly origin: string;
  /** Identifier of the request that pushed the build; null: unknown. */
  readonly requestId: string | null;
  /** Start of the compilation; null: unknown. */
  readonly startedAt: Date | null;
  readonly finishedAt: Date;
};

export const Sha256 = z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/) });

/** The members that are read; a statement may have more. */
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

/** Creates the statement of a build as canonical JSON (RFC 8785). */
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

/** The members of a parsed statement. */
export type ParsedStatement = BuildIdentity & {
  readonly sourceDigest: string;
  readonly options: BuildOptions;
  readonly compiler: string;
  readonly pushedBy: string | null;
};

/** Parses the build statement in an envelope without checking signatures; null if it contains none. */
export function readStatement({ payloadType, payload }: Envelope): ParsedStatement | null {
  if (payloadType !== statementPayloadType) return null;
  const read = Statement.safeParse(tryParseJson(decodeUtf8(fromBase64(payload))));
  if (!read.success) return null;
  const { subject, predicate } = read.data;
  const [{ name, digest }] = subject;
  const { externalParameters, internalParameters, resolvedDependencies } = predicate.buildDefinition;
  const { module, version, options = {} } = externalParameters;
  if (name !== `${module}@${version}`) return null;
  const compiler = Object.entries(predicate.runDetails.builder.version).map(([tool, number]) => `${tool} ${number}`);
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

/** Returns whether a statement describes the given build. */
export function isSameBuild(stated: BuildIdentity, { module, version, imageDigest }: BuildIdentity): boolean {
  return stated.module === module && stated.version === version && stated.imageDigest === imageDigest;
}

/** Returns a digest, `sha256:` and hexadecimal digits, as in-toto writes it. */
export const sha256Of = (digest: string) => ({ sha256: digest.replace(/^sha256:/, '') });

/** Parses JSON; null if the text is not JSON. */
export function tryParseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
