// Statements about the drivers of programs, which the service signs: in-toto Statements with SLSA provenance and the export that the driver calls.

import { z } from 'zod';
import { decodeUtf8, fromBase64 } from './bytes.ts';
import { canonicalJson } from './canonical-json.ts';
import type { Envelope } from './envelope.ts';
import { predicateType, Sha256, sha256Of, statementPayloadType, statementType, tryParseJson } from './statement.ts';

/** Build type of drivers. It differs from the type of builds, so that neither statement can be mistaken for the other. */
const driverBuildType = 'urn:patchbay:driver:v1';

/** How a driver finds its module: by the module table at each call, or by the address of its first call. */
export const addressings = ['via-table', 'hard-coded'] as const;

/** The export that a driver calls, and how the driver addresses its module. */
export type DriverTarget = {
  readonly module: string;
  readonly export: string;
  readonly addressing: (typeof addressings)[number];
};

/** A driver as described by its statement. */
export type StatedDriver = DriverTarget & {
  /** `sha256:` and 64 hexadecimal digits. */
  readonly imageDigest: string;
  /** WebAssembly types of the parameters and results of the export. */
  readonly type: { readonly parameters: readonly string[]; readonly results: readonly string[] };
  /** Version of the safepoint ABI that the driver is compiled for. */
  readonly abi: number;
};

export type DriverProvenance = StatedDriver & {
  /** SHA-256 of the compiled text. */
  readonly sourceDigest: string;
  /** Name of the service installation. */
  readonly origin: string;
  readonly finishedAt: Date;
};

const Type = z.object({ parameters: z.array(z.string()), results: z.array(z.string()) });

/** The members that the service reads; a statement may have more. */
const Statement = z.object({
  _type: z.literal(statementType),
  subject: z.tuple([z.object({ name: z.string(), digest: Sha256 })]),
  predicateType: z.literal(predicateType),
  predicate: z.object({
    buildDefinition: z.object({
      buildType: z.literal(driverBuildType),
      externalParameters: z.object({
        module: z.string(),
        export: z.string(),
        type: Type,
        addressing: z.enum(addressings),
      }),
      internalParameters: z.object({ abi: z.int() }),
    }),
  }),
});

/** Creates the statement of a driver as canonical JSON (RFC 8785). */
export function createDriverStatement(driver: DriverProvenance): string {
  const { module, export: name, type, addressing, abi, imageDigest, sourceDigest, origin, finishedAt } = driver;
  return canonicalJson({
    _type: statementType,
    subject: [{ name: subjectOf(module), digest: sha256Of(imageDigest) }],
    predicateType,
    predicate: {
      buildDefinition: {
        buildType: driverBuildType,
        externalParameters: {
          module,
          export: name,
          type: { parameters: [...type.parameters], results: [...type.results] },
          addressing,
        },
        internalParameters: { abi },
        resolvedDependencies: [{ name: 'source', digest: sha256Of(sourceDigest) }],
      },
      runDetails: {
        builder: { id: `urn:${origin.replaceAll('/', ':')}`, version: {} },
        metadata: { finishedOn: finishedAt.toISOString() },
      },
    },
  });
}

/** Parses the driver statement in an envelope without checking signatures; null if it contains none. */
export function readDriverStatement({ payloadType, payload }: Envelope): StatedDriver | null {
  if (payloadType !== statementPayloadType) return null;
  const read = Statement.safeParse(tryParseJson(decodeUtf8(fromBase64(payload))));
  if (!read.success) return null;
  const { subject, predicate } = read.data;
  const [{ name, digest }] = subject;
  const { externalParameters, internalParameters } = predicate.buildDefinition;
  if (name !== subjectOf(externalParameters.module)) return null;
  return { ...externalParameters, abi: internalParameters.abi, imageDigest: `sha256:${digest.sha256}` };
}

const subjectOf = (module: string) => `driver of ${module}`;
