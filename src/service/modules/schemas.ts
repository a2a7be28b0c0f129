// Schemas of builds and modules.

import { z } from 'zod';
import { languages, sourceFeatures, sourceLanguages } from '../../compiler/languages.ts';
import { concurrencies } from '../../compiler/result.ts';
import { exampleBuild, exampleIdentity, exampleInterface, exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import { ExportName, exampleIdentifier, ModuleName } from '../../protocol/identifiers.ts';
import { Interface } from '../../protocol/interface.ts';
import { count, identifier, pageQuery, pageSchema, timestamp, version } from '../http/common-schemas.ts';
import { orderQuery, rangeQuery } from '../http/list-schemas.ts';
import { Diagnostic } from '../http/problem-schemas.ts';
import { dependentLimit } from './dependencies.ts';
import { Dependencies } from './dependency-schemas.ts';

/** Maximum length of a source in JSON, in characters. */
const sourceLimit = 1024 * 1024;

const { imageDigest, ...exampleFacts } = exampleBuild;
const exampleResponse = {
  id: exampleIdentifier('build'),
  ...exampleFacts,
  options: { concurrency: null, features: [], dependencies: {} },
  image: { digest: imageDigest, bytes: 1291, prunedAt: null },
  interface: exampleInterface,
  hasState: false,
  createdAt: exampleTimes.pushed,
  pushedBy: exampleIdentifier('key'),
  yanked: null,
  signedBy: [exampleIdentity.keyId],
};

const exampleImport = { module: 'udp', range: '^1.2.0', exports: ['send'] };
const exampleDependent = { module: 'http', version: '2.1.0', range: null, resolved: true };

export const moduleParameter = z.object({ module: ModuleName.describe('Name of the module.') });
export const buildParameters = moduleParameter.extend({ version: version.describe('Version of the build.') });

export const Concurrency = z
  .enum(concurrencies)
  .meta({ id: 'Concurrency' })
  .describe(
    'Whether threads of a device may execute the module concurrently. `exclusive`: one access at a time, others wait. Default: `exclusive` for a prebuilt module with a single-threaded allocator, otherwise `shared`.',
  );

const features = z
  .array(z.enum(sourceFeatures).meta({ id: 'SourceFeature' }))
  .max(sourceFeatures.length)
  .describe('WebAssembly features to enable for an AssemblyScript source. They are always enabled for WAT and prebuilt modules.');

export const NewBuild = z
  .strictObject({
    version: version.describe(
      'Semantic version of the build (semver.org), immutable once pushed. Or `next-major`, `next-minor` or `next-patch`: the version after the highest one of the module, or 1.0.0 for its first build.',
    ),
    language: z
      .enum(sourceLanguages)
      .meta({ id: 'SourceLanguage' })
      .describe('Language of the source. Send prebuilt modules as `application/wasm`, with the version in the query.'),
    source: z.string().min(1).max(sourceLimit),
    concurrency: Concurrency.optional(),
    features: features.optional(),
    dependencies: Dependencies.optional(),
  })
  .meta({
    id: 'NewBuild',
    examples: [
      {
        version: exampleVersions.new.version,
        language: 'assemblyscript',
        source: 'export function checksum(length: i32, rounds: i32): i32 { return ~(length * rounds) & 0xffff; }',
      },
    ],
  });

const Yanked = z
  .object({ reason: z.string(), at: timestamp, by: z.string().describe('Identifier of the API key of the request.') })
  .meta({ id: 'Yanked', examples: [{ reason: 'it drops packets under load', at: exampleTimes.completed, by: exampleIdentifier('key') }] });

export const Build = z
  .object({
    id: identifier('build'),
    module: z.string(),
    version,
    language: z.enum(languages).meta({ id: 'BuildLanguage' }),
    compiler: z.string().meta({ examples: ['assemblyscript 0.28.20'] }),
    sourceDigest: z.string().describe('SHA-256 of the source, or of the prebuilt module that was pushed.'),
    options: z
      .object({
        concurrency: Concurrency.nullable().describe('Null if not given: the compiler chose.'),
        features,
        dependencies: Dependencies,
      })
      .describe('The options of the request.'),
    image: z.object({
      digest: z.string().describe('SHA-256 of the image.'),
      bytes: count,
      prunedAt: timestamp
        .nullable()
        .describe(
          'When the image was pruned: no device had it or could roll back to it. Pushing the same source again restores it. Null if the image is stored.',
        ),
    }),
    interface: Interface,
    hasState: z
      .boolean()
      .nullable()
      .describe(
        'Whether accesses can leave state in the module: mutable globals, tables or memory. Null if unknown: pushed before the service recorded it.',
      ),
    createdAt: timestamp,
    pushedBy: z.string().nullable().describe('Identifier of the API key or user that pushed it. Null if unknown.'),
    yanked: Yanked.nullable().describe('How it was yanked: nothing new can use it. Null if it is not.'),
    signedBy: z
      .array(z.string())
      .describe('Key IDs of the keys that signed its provenance: a signing key of the service, and publisher keys.'),
  })
  .meta({ id: 'Build', description: 'One compiled version of a module.', examples: [exampleResponse] });

const DependencyOfBuild = z
  .object({
    module: z.string().describe('The module that the build depends on.'),
    range: z.string().nullable().describe('The declared range of versions. Null if none is declared.'),
    exports: z.array(ExportName).describe('The imported exports. Empty if only a range is declared.'),
  })
  .meta({ id: 'BuildImport', examples: [exampleImport] });

const DependentOfBuild = z
  .object({
    module: z.string(),
    version: version.describe('The newest build of the module that depends on the module of this build.'),
    range: z.string().nullable().describe('The declared range of versions. Null if none is declared.'),
    resolved: z.boolean().describe('Whether this build provides what the dependent requires: its imports, and a version in its range.'),
  })
  .meta({ id: 'BuildDependent', examples: [exampleDependent] });

export const BuildDetail = Build.extend({
  imports: z.array(DependencyOfBuild).describe('The modules that the build depends on, by imports or declared ranges; sorted by name.'),
  dependents: z
    .array(DependentOfBuild)
    .max(dependentLimit)
    .describe(`The modules that depend on the module of the build: the ${dependentLimit} with the newest builds, newest first.`),
}).meta({ id: 'BuildDetail', examples: [{ ...exampleResponse, imports: [exampleImport], dependents: [exampleDependent] }] });

export const CreatedBuild = Build.extend({
  warnings: z
    .array(Diagnostic)
    .describe(
      'Warnings of the compiler, and whether the build loses the state of the newest earlier version. Empty if the build already existed.',
    ),
}).meta({
  id: 'CreatedBuild',
  examples: [{ ...exampleResponse, warnings: [] }],
});
export const BuildPage = pageSchema('BuildPage', Build);

export const buildQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  language: Build.shape.language
    .optional()
    .describe('Only builds in this language.')
    .meta({ examples: ['assemblyscript'] }),
  yanked: z
    .enum(['true', 'false'])
    .optional()
    .describe('Only yanked builds, or only builds that are not yanked.')
    .meta({ examples: ['false'] }),
});

export const Module = z.object({ name: z.string(), builds: count, lastBuildAt: timestamp }).meta({
  id: 'Module',
  description: 'A named logical unit of kernel code.',
  examples: [{ name: 'tcp', builds: 2, lastBuildAt: exampleTimes.pushed }],
});
export const ModulePage = pageSchema('ModulePage', Module);

export const moduleQuery = z.strictObject({
  ...pageQuery,
  sort: z
    .enum(['name', 'lastBuildAt'])
    .default('name')
    .describe('Property that the list is sorted by.')
    .meta({ examples: ['lastBuildAt'] }),
  ...orderQuery,
});
