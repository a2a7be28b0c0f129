// The report of a device about one load: every operation of the isolation workflow (patent FIG. 2) with its time and facts.

import { z } from 'zod';
import { signatureLimit } from '../proof/envelope.ts';
import { exampleIdentity, exampleTimes, exampleVersions } from './examples.ts';
import { Address, Digest, ExportName, exampleIdentifier, ModuleName, ProgramId, Reason, Timestamp, Version } from './identifiers.ts';
import { SimilarityReport } from './interface.ts';
import { tainted } from './taint.ts';

export const Outcome = z
  .enum([
    'installed',
    'replaced',
    'replaced-interrupting',
    'unloaded',
    'unloaded-interrupting',
    'refused-not-newer',
    'refused-dissimilar',
    'refused-unresolved',
    'refused-image',
    'refused-not-loaded',
    'refused-imported',
    'failed',
    'expired',
    'cancelled',
  ])
  .meta({ id: 'ReportedOutcome' });
export type Outcome = z.infer<typeof Outcome>;

export const Strategy = z.enum(['inject', 'drain', 'drain-then-inject']).meta({ id: 'Strategy' });
export type Strategy = z.infer<typeof Strategy>;

export const Invalidation = z.enum(['none', 'mark-invalid', 'nx', 'delete']).meta({ id: 'Invalidation' });
export type Invalidation = z.infer<typeof Invalidation>;
/** Description of the values in requests. */
export const invalidationDescription =
  'What happens to the pages of the old version. `none`: they remain executable. `mark-invalid`: marked invalid, so that a fetch faults. `nx`: marked non-executable (NX), so that a fetch faults. `delete`: deleted and freed.';

export const VersionPolicy = z.enum(['newer', 'different', 'downgrade']).meta({ id: 'VersionPolicy' });
export const SimilarityPolicy = z.enum(['require', 'warn', 'off']).meta({ id: 'SimilarityPolicy' });
export const LinkPolicy = z.enum(['require', 'warn', 'off']).meta({ id: 'LinkPolicy' });

/** Maximum duration of a drain in a request, in milliseconds. */
export const maxDrainMilliseconds = 3_600_000;

/** The settings of a load. */
export const LoadPolicy = z.object({
  strategy: Strategy,
  invalidation: Invalidation,
  drainMilliseconds: z
    .int()
    .min(0)
    .max(maxDrainMilliseconds)
    .nullable()
    .default(null)
    .describe('How long `drain` and `drain-then-inject` wait, in milliseconds. Null: the default of the device.'),
  versionPolicy: VersionPolicy.default('newer'),
  downgradeReason: Reason.nullable().default(null).describe('Reason for the downgrade. Null if `versionPolicy` is not `downgrade`.'),
  similarityPolicy: SimilarityPolicy.default('require'),
  linkPolicy: LinkPolicy.default('off').describe(
    'Whether every import must be provided after the load, and no module in memory may lose an import. Omitted by services that do not check links: `off`.',
  ),
});
export type LoadPolicy = z.infer<typeof LoadPolicy>;

/** The policy in examples. */
export const examplePolicy: LoadPolicy = {
  strategy: 'inject',
  invalidation: 'nx',
  drainMilliseconds: null,
  versionPolicy: 'newer',
  downgradeReason: null,
  similarityPolicy: 'require',
  linkPolicy: 'require',
};

/** Maximum members of a patch set. */
export const memberLimit = 16;

/** Limits of a load report. A load of one module has up to 12 steps, and one of a patch set up to 6 more for each further member. */
const stepLimit = 128;
/** Maximum programs that a step names. */
const programLimit = 1_000;
/** Maximum reclaimed images in a step. */
const reclaimedLimit = 100;
/** Maximum unresolved links in a step. */
const unresolvedLimit = 100;
/** Maximum characters of a range of versions. */
export const rangeLimit = 256;

/** Limited to the integer range of the database. */
const count = z
  .int()
  .nonnegative()
  .max(2 ** 31 - 1);

/** Operation of steps that the figure does not have. Always null, but typed as nullable: openapi-fetch removes properties that are always null. */
const noOperation = z.int().nullable();

function step<Name extends string, Operation extends z.ZodType<number | null>, Facts extends z.ZodObject>(
  name: Name,
  operation: Operation,
  facts: Facts,
) {
  return z
    .object({
      step: z.literal(name),
      operation: operation.describe('Number of the operation in FIG. 2 of US 8,689,206 B2. Null if the figure has no such operation.'),
      at: Timestamp,
      startedMicroseconds: z
        .number()
        .nonnegative()
        .describe('Start of the step, in microseconds since the start of the load on the device.'),
      microseconds: z.number().nonnegative().describe('Duration of the step, in microseconds.'),
      facts,
      module: ModuleName.optional().describe(
        'The member of the patch set that the step is about. Omitted for other loads, and for steps about all members.',
      ),
    })
    .meta({ id: `${pascalCase(name)}Step` });
}

function pascalCase(name: string): string {
  return name.replaceAll(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** A function type as text. */
const typeText = z
  .string()
  .max(128)
  .meta({ examples: ['(i32, i64) → i32'] });

const link = {
  importer: z
    .object({ module: ModuleName, version: Version })
    .describe('The module that imports the export, or that declares the dependency.'),
  provider: z
    .object({
      module: z.string().max(63),
      version: Version.nullable().describe('Null if the module is neither in memory nor part of the load.'),
    })
    .describe('The module that must provide it.'),
};

/** An import that nothing provides, or a dependency whose version is missing or out of range. */
export const UnresolvedLink = z
  .discriminatedUnion('problem', [
    z
      .object({ problem: z.literal('missing'), ...link, export: ExportName, expected: typeText.describe('The type of the import.') })
      .describe('No module provides the export.')
      .meta({ id: 'MissingExport' }),
    z
      .object({
        problem: z.literal('wrong-type'),
        ...link,
        export: ExportName,
        expected: typeText.describe('The type of the import.'),
        provided: typeText.describe('The type of the export.'),
      })
      .describe('The export has another type than the import.')
      .meta({ id: 'WrongExportType' }),
    z
      .object({
        problem: z.literal('out-of-range'),
        ...link,
        range: z.string().max(rangeLimit).describe('The required range of versions.'),
      })
      .describe('The version of the module is missing or out of the range that the importer requires.')
      .meta({ id: 'VersionOutOfRange' }),
  ])
  .meta({ id: 'UnresolvedLink' });

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
          .describe('Key IDs of the signatures of the build that the device verified. Omitted by devices that do not report them.'),
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
        downgradeReason: Reason.nullable().describe('Reason for the downgrade. Null if there is none.'),
        similarity: SimilarityReport,
        similarityPolicy: SimilarityPolicy,
      }),
    ),
    step(
      'linked',
      z.literal(220),
      z.object({
        linkPolicy: LinkPolicy,
        unresolved: z.array(UnresolvedLink).max(unresolvedLimit).describe('The unresolved links: the first 100.'),
        unresolvedLinks: count.describe('Number of unresolved links.'),
        forceReason: Reason.optional().describe('Reason for unloading a module that others import. Omitted if none was given.'),
      }),
    ),
    step('refused', noOperation, z.object({ reason: Reason })),
    step(
      'loaded',
      z.literal(230),
      z.object({
        address: Address,
        pages: count,
        selfCheck: z.enum(['passed', 'none']).describe('Result of the export `self_check`. `none` if the module does not have it.'),
        beforeUnload: z
          .enum(['completed', 'none'])
          .optional()
          .describe('The hook `before_unload` of the old version. `none` if it has none. Omitted by devices without hooks.'),
        stateWords: count
          .nullable()
          .describe('Number of 64-bit words transferred by `state_save` and `state_restore`. Null if not both versions export them.'),
        reclaimed: z
          .array(z.object({ module: ModuleName, version: Version, address: Address, pages: count }).meta({ id: 'ReclaimedImage' }))
          .max(reclaimedLimit)
          .optional()
          .describe(
            'Old images whose pages the device reclaimed for this image: the oldest 100. Omitted by devices that do not reclaim pages.',
          ),
        reclaimedImages: count.optional().describe('Number of images that were reclaimed.'),
      }),
    ),
    step(
      'table-updated',
      z.literal(240),
      z.object({
        from: Address.nullable(),
        to: Address.nullable().describe('Null if the module was unloaded.'),
        beforeUnload: z
          .enum(['completed', 'none'])
          .optional()
          .describe('The hook `before_unload` of an unloaded version. Omitted if a version was loaded: the step `loaded` has it.'),
        afterLoad: z
          .enum(['completed', 'failed', 'none'])
          .optional()
          .describe(
            'The hook `after_load` of the new version. `failed`: the new version stays in the table, and is tainted if it has state. `none` if it has no such hook. Omitted by devices without hooks.',
          ),
        afterLoadFailure: Reason.nullable().optional().describe('Why `after_load` failed. Null if it did not.'),
      }),
    ),
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
            'Programs with this address hard-coded. Their next calls fault, unless `invalidation` is `none`. Omitted by devices that do not report them.',
          ),
      }),
    ),
    step('failed', noOperation, z.object({ during: z.string().max(64), reason: Reason })),
    step('cancelled', noOperation, z.object({ during: z.literal('checked-references'), reason: Reason })),
    step('completed', z.literal(280), z.object({ outcome: Outcome, microseconds: z.number().nonnegative() })),
  ])
  .meta({ id: 'Step' });

const LoadedImage = z.object({ version: Version, image: Digest, address: Address, pages: count, tainted }).meta({ id: 'LoadedImage' });
export type LoadedImage = z.infer<typeof LoadedImage>;

const MemberReport = z
  .object({
    module: ModuleName,
    previous: LoadedImage.nullable().describe('The version that was installed before the load. Null if there was none.'),
    current: LoadedImage.nullable().describe('The version that is installed after the load. Null if there is none.'),
  })
  .meta({ id: 'MemberReport' });

const { old, new: next } = exampleVersions;

/** Returns a step of the example report. */
function exampleStep(step: string, operation: number, startedMicroseconds: number, microseconds: number, facts: object) {
  return { step, operation, at: exampleTimes.completed, startedMicroseconds, microseconds, facts };
}

/** Four threads inside the old version received an injected error and retried in the new version. */
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
    exampleStep('linked', 220, 711.2, 20.4, { linkPolicy: 'require', unresolved: [], unresolvedLinks: 0 }),
    exampleStep('loaded', 230, 731.6, 833.6, {
      address: next.address,
      pages: next.pages,
      selfCheck: 'none',
      beforeUnload: 'none',
      stateWords: null,
      reclaimed: [],
      reclaimedImages: 0,
    }),
    exampleStep('table-updated', 240, 1565.9, 26.8, { from: old.address, to: next.address, afterLoad: 'none', afterLoadFailure: null }),
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
    reason: Reason.nullable().describe('Why the load was refused, failed or was cancelled. Null if it succeeded.'),
    previous: LoadedImage.nullable().describe(
      'The version that was installed before the load. Null if there was none, and for a patch set.',
    ),
    current: LoadedImage.nullable().describe('The version that is installed after the load. Null if there is none, and for a patch set.'),
    members: z
      .array(MemberReport)
      .max(memberLimit)
      .optional()
      .describe('The members of the patch set, with their versions before and after the load. Omitted for other loads.'),
    interrupted: count.describe('Number of accesses inside the old version that received an injected error.'),
    retried: count.describe('Number of these accesses that retried through the module table.'),
    failed: count.describe('Number of these accesses that ended without a retry.'),
    microseconds: z.number().nonnegative().describe('Duration of the load on the device, in microseconds.'),
    steps: z.array(Step).max(stepLimit).describe('The steps of the isolation workflow, in order.'),
  })
  .meta({ id: 'LoadReport', examples: [exampleLoadReport] });
export type LoadReport = z.infer<typeof LoadReport>;
