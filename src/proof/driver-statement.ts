// What the service states of a program's driver, and signs: an in-toto Statement whose predicate is SLSA provenance, as of builds, with what the driver calls.

import { z } from 'zod';
import { decodeUtf8, fromBase64 } from './bytes.ts';
import { canonicalJson } from './canonical-json.ts';
import type { Envelope } from './envelope.ts';
import { predicateType, Sha256, statementPayloadType, statementType } from './statement.ts';

/** How a driver is built: by the service, of what it calls. No statement of a build has this type, and no statement of a driver that of a build. */
const driverBuildType = 'urn:patchbay:driver:v1';

/** How a driver finds the module that it calls: at every call, or once, to keep the address. */
export const addressings = ['via-table', 'hard-coded'] as const;

/** What a driver calls, and how it finds it. */
export type DriverTarget = {
  readonly module: string;
  readonly export: string;
  readonly addressing: (typeof addressings)[number];
};

/** A driver as its statement names it. */
export type StatedDriver = DriverTarget & {
  /** `sha256:` and 64 hexadecimal digits. */
  readonly imageDigest: string;
  /** Types of the parameters and results of the export, as WebAssembly calls them. */
  readonly type: { readonly parameters: readonly string[]; readonly results: readonly string[] };
  /** Version of the safepoint ABI that the driver is compiled for. */
  readonly abi: number;
};

export type DriverProvenance = StatedDriver & {
  /** SHA-256 of the text that was compiled. */
  readonly sourceDigest: string;
  /** Names the installation of the service. */
  readonly origin: string;
  readonly finishedAt: Date;
};

const Type = z.object({ parameters: z.array(z.string()), results: z.array(z.string()) });

/** The members that are read; a statement may have more. */
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

/** The statement as it is signed: canonical JSON (RFC 8785). */
export function createDriverStatement(driver: DriverProvenance): string {
  const { module, export: name, type, addressing, abi, imageDigest, sourceDigest, origin, finishedAt } = driver;
  const sha256Of = (digest: string) => ({ sha256: digest.replace(/^sha256:/, '') });
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

/** Reads the driver statement in an envelope, without checking signatures; null where it has none. */
export function readDriverStatement({ payloadType, payload }: Envelope): StatedDriver | null {
  if (payloadType !== statementPayloadType) return null;
  const read = Statement.safeParse(parsed(decodeUtf8(fromBase64(payload))));
  if (!read.success) return null;
  const { subject, predicate } = read.data;
  const [{ name, digest }] = subject;
  const { externalParameters, internalParameters } = predicate.buildDefinition;
  if (name !== subjectOf(externalParameters.module)) return null;
  return { ...externalParameters, abi: internalParameters.abi, imageDigest: `sha256:${digest.sha256}` };
}

const subjectOf = (module: string) => `driver of ${module}`;

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
