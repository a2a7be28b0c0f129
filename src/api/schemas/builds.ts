// Builds and modules in the API.

import { z } from 'zod';
import { ModuleName } from '../../protocol/identifiers.ts';
import { Interface } from '../../protocol/interface.ts';
import { count, identifier, pageOf, pageQuery, timestamp, version } from './common.ts';
import { orderQuery, rangeQuery } from './lists.ts';
import { Diagnostic } from './problem.ts';

/** Characters of a source in JSON. */
const sourceLimit = 1024 * 1024;

export const moduleParameter = z.object({ module: ModuleName });
export const buildParameters = z.object({ module: ModuleName, version });

export const NewBuild = z
  .strictObject({
    version: version.describe(
      'Semantic version of the build (semver.org); a version never changes. Or `next-major`, `next-minor` or `next-patch`: the version after the highest that the module has, 1.0.0 for its first.',
    ),
    language: z
      .enum(['assemblyscript', 'wat'])
      .describe('Language of the source. Prebuilt modules are sent as `application/wasm`, with the version in the query.'),
    source: z.string().min(1).max(sourceLimit),
  })
  .meta({
    id: 'NewBuild',
    examples: [{ version: '1.0.0', language: 'assemblyscript', source: 'export function add(a: i32, b: i32): i32 { return a + b; }' }],
  });

export const Build = z
  .object({
    id: identifier('build'),
    module: z.string(),
    version,
    language: z.enum(['assemblyscript', 'wat', 'wasm']),
    compiler: z.string().meta({ examples: ['assemblyscript 0.28.20'] }),
    sourceDigest: z.string().describe('SHA-256 of what was compiled.'),
    image: z.object({ digest: z.string().describe('SHA-256 of the image.'), bytes: count }),
    interface: Interface,
    createdAt: timestamp,
  })
  .meta({ id: 'Build', description: 'One compiled version of a module.' });

export const CreatedBuild = Build.extend({ warnings: z.array(Diagnostic).describe('What the compiler warned of.') }).meta({
  id: 'CreatedBuild',
});
export const BuildPage = pageOf('BuildPage', Build);

export const buildQuery = z.strictObject({ ...pageQuery, ...orderQuery, ...rangeQuery, language: Build.shape.language.optional() });

const Module = z
  .object({ name: z.string(), builds: count, lastBuildAt: timestamp })
  .meta({ id: 'Module', description: 'A named logical unit of kernel code.' });
export const ModulePage = pageOf('ModulePage', Module);

export const moduleQuery = z.strictObject({ ...pageQuery, sort: z.enum(['name', 'lastBuildAt']).default('name'), ...orderQuery });
