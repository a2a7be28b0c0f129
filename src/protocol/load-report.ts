// What a device reports of one load: every operation of the isolation workflow (patent FIG. 2) with its time and facts.

import { z } from 'zod';
import { signatureLimit } from '../proof/envelope.ts';
import { exampleIdentity, exampleTimes, exampleVersions } from './examples.ts';
import { Address, Digest, exampleIdentifier, ModuleName, ProgramId, Reason, Timestamp, Version } from './identifiers.ts';
import { SimilarityReport } from './interface.ts';
import { tainted } from './taint.ts';

export const Outcome = z
  .enum(['installed', 'replaced', 'replaced-interrupting', 'refused-not-newer', 'refused-dissimilar', 'refused-image', 'failed', 'expired'])
  .meta({ id: 'ReportedOutcome' });
export type Outcome = z.infer<typeof Outcome>;

export const Strategy = z.enum(['inject', 'drain', 'drain-then-inject']).meta({ id: 'Strategy' });
export type Strategy = z.infer<typeof Strategy>;

export const Invalidation = z.enum(['none', 'mark-invalid', 'nx', 'delete']).meta({ id: 'Invalidation' });
export type Invalidation = z.infer<typeof Invalidation>;
/** The description of the kinds in requests. */
export const invalidationDescription =
  'What becomes of the pages of the old version: left as they are, marked invalid, marked NX (a fetch from either faults), or deleted and given out again.';

export const VersionPolicy = z.enum(['newer', 'different', 'downgrade']).meta({ id: 'VersionPolicy' });
export const SimilarityPolicy = z.enum(['require', 'warn', 'off']).meta({ id: 'SimilarityPolicy' });

/** How long a drain may be asked to wait, in milliseconds. */
export const maxDrainMilliseconds = 3_600_000;

/** How a load is to be carried out. */
export const LoadPolicy = z.object({
  strategy: Strategy,
  invalidation: Invalidation,
  drainMilliseconds: z
    .int()
    .min(0)
    .max(maxDrainMilliseconds)
    .nullable()
    .default(null)
    .describe('How long `drain` and `drain-then-inject` wait; null: as long as the device does by itself.'),
  versionPolicy: VersionPolicy.default('newer'),
  downgradeReason: Reason.nullable().default(null).describe('Why an older version is loaded, where `versionPolicy` is `downgrade`.'),
  similarityPolicy: SimilarityPolicy.default('require'),
});
export type LoadPolicy = z.infer<typeof LoadPolicy>;

/** The same in examples. */
export const examplePolicy: LoadPolicy = {
  strategy: 'inject',
  invalidation: 'nx',
  drainMilliseconds: null,
  versionPolicy: 'newer',
  downgradeReason: null,
  similarityPolicy: 'require',
};

/** A load's report has at most 11 steps; a step names at most 1,000 programs. */
const stepLimit = 16;
const programLimit = 1_000;
/** Reclaimed images that a step names. */
const reclaimedLimit = 100;

/** As large as the database keeps. */
const count = z
  .int()
  .nonnegative()
  .max(2 ** 31 - 1);

/** Of steps that the figure does not have. Not the null alone that it is: openapi-fetch takes a property that is always null out of its types. */
const noOperation = z.int().nullable();

function step<Name extends string, Operation extends z.ZodType<number | null>, Facts extends z.ZodObject>(
  name: Name,
  operation: Operation,
  facts: Facts,
) {
  return z
    .object({
      step: z.literal(name),
      operation: operation.describe('The operation of FIG. 2 of US 8,689,206 B2 that this step is; null where the figure has none.'),
      at: Timestamp,
      startedMicroseconds: z.number().nonnegative().describe('Start of the step, in microseconds since the load began on the device.'),
      microseconds: z.number().nonnegative().describe('How long the step took.'),
      facts,
    })
    .meta({ id: `${pascalCase(name)}Step` });
}

function pascalCase(name: string): string {
  return name.replaceAll(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

const Step = z
  .discriminatedUnion('step', [
    step(
      'received',
      z.literal(200),
      z.object({
        module: ModuleName,
        version: Version,
        image: Digest,
        bytes: count,
        signedBy: z
          .array(z.string().max(128))
          .max(signatureLimit)
          .optional()
          .describe(
            'Identifiers of the keys whose signatures of the build the device has verified. Left out by a device that does not say.',
          ),
      }),
    ),
    step('looked-up', z.literal(210), z.object({ address: Address.nullable(), version: Version.nullable() })),
    step(
      'compared',
      z.literal(220),
      z.object({
        version: Version,
        inMemoryVersion: Version,
        precedence: z.enum(['newer', 'same', 'older']),
        versionPolicy: VersionPolicy,
        downgradeReason: Reason.nullable().describe('Why an operator loads an older version; null where they do not.'),
        similarity: SimilarityReport,
        similarityPolicy: SimilarityPolicy,
      }),
    ),
    step('refused', noOperation, z.object({ reason: Reason })),
    step(
      'loaded',
      z.literal(230),
      z.object({
        address: Address,
        pages: count,
        selfCheck: z.enum(['passed', 'none']).describe('Of the export `self_check`, where the module has one.'),
        stateWords: count
          .nullable()
          .describe('64-bit words carried over by `state_save` and `state_restore`; null where the versions have not both opted in.'),
        reclaimed: z
          .array(z.object({ module: ModuleName, version: Version, address: Address, pages: count }).meta({ id: 'ReclaimedImage' }))
          .max(reclaimedLimit)
          .optional()
          .describe(
            'Old images whose pages the device gave to this image, as no program held them: the oldest 100. Omitted by devices that do not reclaim pages.',
          ),
        reclaimedImages: count.optional().describe('How many images were reclaimed.'),
      }),
    ),
    step('table-updated', z.literal(240), z.object({ from: Address.nullable(), to: Address })),
    step('checked-references', z.literal(250), z.object({ referenceCount: count })),
    step(
      'interrupted',
      z.literal(260),
      z.object({
        accesses: count,
        threads: count,
        programs: z.array(z.object({ program: ProgramId, threads: count }).meta({ id: 'InterruptedProgram' })).max(programLimit),
      }),
    ),
    step('references-reset', z.literal(270), z.object({ referenceCount: z.literal(0), retried: count, failed: count })),
    step(
      'invalidated',
      z.literal(275),
      z.object({
        invalidation: Invalidation,
        address: Address,
        pages: count,
        heldBy: z
          .array(ProgramId)
          .max(programLimit)
          .optional()
          .describe(
            'Programs that keep this address, hard-coded: their next calls fault, unless the pages stay as they are. Left out by a device that does not know.',
          ),
      }),
    ),
    step('failed', noOperation, z.object({ during: z.string().max(64), reason: Reason })),
    step('completed', z.literal(280), z.object({ outcome: Outcome, microseconds: z.number().nonnegative() })),
  ])
  .meta({ id: 'Step' });

const LoadedImage = z.object({ version: Version, image: Digest, address: Address, pages: count, tainted }).meta({ id: 'LoadedImage' });

const { old, new: next } = exampleVersions;

/** The step as it is in the example of a report: `facts` are what it found out, `startedMicroseconds` when it began. */
function exampleStep(step: string, operation: number, startedMicroseconds: number, microseconds: number, facts: object) {
  return { step, operation, at: exampleTimes.completed, startedMicroseconds, microseconds, facts };
}

/** Four threads were inside the old version, had an error injected, and retried in the new one. */
export const exampleLoadReport = {
  outcome: 'replaced-interrupting',
  reason: null,
  previous: { ...old, tainted: null },
  current: { ...next, tainted: null },
  interrupted: 4,
  retried: 4,
  failed: 0,
  microseconds: 7514.9,
  steps: [
    exampleStep('received', 200, 0, 204, {
      module: 'tcp',
      version: next.version,
      image: next.image,
      bytes: 1291,
      signedBy: [exampleIdentity.keyId],
    }),
    exampleStep('looked-up', 210, 208.7, 33.7, { address: old.address, version: old.version }),
    exampleStep('compared', 220, 242.7, 467.7, {
      version: next.version,
      inMemoryVersion: old.version,
      precedence: 'newer',
      versionPolicy: 'newer',
      downgradeReason: null,
      similarity: { similar: true, added: [], removed: [], changed: [] },
      similarityPolicy: 'require',
    }),
    exampleStep('loaded', 230, 711.2, 854, {
      address: next.address,
      pages: next.pages,
      selfCheck: 'none',
      stateWords: null,
      reclaimed: [],
      reclaimedImages: 0,
    }),
    exampleStep('table-updated', 240, 1565.9, 26.8, { from: old.address, to: next.address }),
    exampleStep('checked-references', 250, 1593.1, 13.5, { referenceCount: 4 }),
    exampleStep('interrupted', 260, 1606.9, 754, {
      accesses: 4,
      threads: 4,
      programs: [{ program: exampleIdentifier('program'), threads: 4 }],
    }),
    exampleStep('references-reset', 270, 2361.7, 5108.7, { referenceCount: 0, retried: 4, failed: 0 }),
    exampleStep('invalidated', 275, 7471.1, 30.8, { invalidation: 'nx', address: old.address, pages: old.pages, heldBy: [] }),
    exampleStep('completed', 280, 7502.3, 14.7, { outcome: 'replaced-interrupting', microseconds: 7514.9 }),
  ],
};

export const LoadReport = z
  .object({
    outcome: Outcome,
    reason: Reason.nullable().describe('Why the load was refused or failed; null where it was not.'),
    previous: LoadedImage.nullable().describe('The in-memory module that the load met; null where there was none.'),
    current: LoadedImage.nullable().describe('What the module table names after the load; null where it names nothing.'),
    interrupted: count.describe('Accesses inside the old version that had an error injected.'),
    retried: count.describe('Of those, how many retried through the module table.'),
    failed: count.describe('Of those, how many ended without a retry.'),
    microseconds: z.number().nonnegative(),
    steps: z.array(Step).max(stepLimit),
  })
  .meta({ id: 'LoadReport', examples: [exampleLoadReport] });
export type LoadReport = z.infer<typeof LoadReport>;
