// Builds and modules in the API.

import { z } from 'zod';
import { languages, sourceFeatures, sourceLanguages } from '../../compiler/languages.ts';
import { concurrencies } from '../../compiler/result.ts';
import { exampleBuild, exampleIdentity, exampleInterface, exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import { exampleIdentifier, ModuleName } from '../../protocol/identifiers.ts';
import { Interface } from '../../protocol/interface.ts';
import { count, identifier, pageQuery, pageSchema, timestamp, version } from '../http/common-schemas.ts';
import { orderQuery, rangeQuery } from '../http/list-schemas.ts';
import { Diagnostic } from '../http/problem-schemas.ts';

/** Characters of a source in JSON. */
const sourceLimit = 1024 * 1024;

const { imageDigest, ...exampleFacts } = exampleBuild;
const exampleAnswer = {
  id: exampleIdentifier('build'),
  ...exampleFacts,
  options: { concurrency: null, features: [] },
  image: { digest: imageDigest, bytes: 1291, prunedAt: null },
  interface: exampleInterface,
  createdAt: exampleTimes.pushed,
  pushedBy: exampleIdentifier('key'),
  signedBy: [exampleIdentity.keyId],
};

export const moduleParameter = z.object({ module: ModuleName.describe('Name of the module.') });
export const buildParameters = moduleParameter.extend({ version: version.describe('Version of the build.') });

export const Concurrency = z
  .enum(concurrencies)
  .meta({ id: 'Concurrency' })
  .describe(
    'Whether several threads of a device may be inside the module at once. `exclusive`: one access at a time; others wait. Default: `exclusive` for a prebuilt module that has an allocator for one thread, else `shared`.',
  );

const features = z
  .array(z.enum(sourceFeatures).meta({ id: 'SourceFeature' }))
  .max(sourceFeatures.length)
  .describe('WebAssembly features to enable for an AssemblyScript source. WAT and prebuilt modules have them always.');

export const NewBuild = z
  .strictObject({
    version: version.describe(
      'Semantic version of the build (semver.org); a version never changes. Or `next-major`, `next-minor` or `next-patch`: the version after the highest that the module has, 1.0.0 for its first.',
    ),
    language: z
      .enum(sourceLanguages)
      .meta({ id: 'SourceLanguage' })
      .describe('Language of the source. Prebuilt modules are sent as `application/wasm`, with the version in the query.'),
    source: z.string().min(1).max(sourceLimit),
    concurrency: Concurrency.optional(),
    features: features.optional(),
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

export const Build = z
  .object({
    id: identifier('build'),
    module: z.string(),
    version,
    language: z.enum(languages).meta({ id: 'BuildLanguage' }),
    compiler: z.string().meta({ examples: ['assemblyscript 0.28.20'] }),
    sourceDigest: z.string().describe('SHA-256 of what was compiled.'),
    options: z
      .object({ concurrency: Concurrency.nullable().describe('Null: the compiler chose.'), features })
      .describe('The options that it was compiled with.'),
    image: z.object({
      digest: z.string().describe('SHA-256 of the image.'),
      bytes: count,
      prunedAt: timestamp
        .nullable()
        .describe(
          'When it was removed, which no device had or could go back to; pushing the same source again brings it back. Null while it is there.',
        ),
    }),
    interface: Interface,
    createdAt: timestamp,
    pushedBy: z.string().nullable().describe('Identifier of the key that pushed it; null where that is not known.'),
    signedBy: z
      .array(z.string())
      .describe('Identifiers of the keys that have signed its statement: the one of the service, and those of publishers.'),
  })
  .meta({ id: 'Build', description: 'One compiled version of a module.', examples: [exampleAnswer] });

export const CreatedBuild = Build.extend({ warnings: z.array(Diagnostic).describe('What the compiler warned of.') }).meta({
  id: 'CreatedBuild',
  examples: [{ ...exampleAnswer, warnings: [] }],
});
export const BuildPage = pageSchema('BuildPage', Build);

export const buildQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  language: Build.shape.language
    .optional()
    .describe('Only builds of this language.')
    .meta({ examples: ['assemblyscript'] }),
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
    .describe('What the list is in the order of.')
    .meta({ examples: ['lastBuildAt'] }),
  ...orderQuery,
});
