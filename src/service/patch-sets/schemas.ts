// Schemas of patch sets.

import { z } from 'zod';
import { exampleIdentity, exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import { exampleIdentifier, isVersion, ModuleName, PatchSetName } from '../../protocol/identifiers.ts';
import { identifier, pageQuery, pageSchema, timestamp, version } from '../http/common-schemas.ts';
import { moduleQuery, orderQuery, rangeQuery, versionQuery } from '../http/list-schemas.ts';
import { Dependencies } from '../modules/dependency-schemas.ts';

/** Minimum and maximum builds of a patch set. */
const buildLimits = { min: 2, max: 16 } as const;

export const patchSetParameter = z.object({ patchSet: identifier('patch set') });

const exampleMembers = [
  { module: 'tcp', version: exampleVersions.new.version, imageDigest: exampleVersions.new.image, dependencies: { udp: '^1.0.0' } },
  { module: 'udp', version: exampleVersions.old.version, imageDigest: exampleVersions.old.image, dependencies: {} },
];
const exampleSet = { name: 'net-2026-11', version: '1.0.0' };
const exampleBuilds = exampleMembers.map(({ module, version: number }) => ({ module, version: number }));

const NamedBuild = z
  .strictObject({ module: ModuleName.describe('Name of the module.'), version: version.describe('Version of the build.') })
  .meta({ id: 'PatchSetBuild', examples: [{ module: 'tcp', version: exampleVersions.new.version }] });

export const NewPatchSet = z
  .strictObject({
    name: PatchSetName.describe('Name of the patch set. A name can have several versions.'),
    version: version
      .refine(isVersion, 'must be a semantic version (semver.org), such as 1.4.2 or 2.0.0-rc.1')
      .describe('Semantic version of the patch set (semver.org), immutable once created.'),
    builds: z
      .array(NamedBuild)
      .min(buildLimits.min, `must have ${buildLimits.min} or more builds: load a single build with POST /v1/loads`)
      .max(buildLimits.max, `must have up to ${buildLimits.max} builds: split the set`)
      .superRefine((builds, context) => {
        for (const [index, { module }] of builds.entries()) {
          const first = builds.find((build) => build.module === module);
          if (first === builds[index] || first === undefined) continue;
          const message = `names ${module} again, after ${module}@${first.version}: a patch set has one build of each module, so remove one of the two`;
          context.addIssue({ code: 'custom', path: [index, 'module'], message });
        }
      })
      .describe('Builds of different modules. Their order has no meaning.'),
  })
  .meta({ id: 'NewPatchSet', examples: [{ ...exampleSet, builds: exampleBuilds }] });

const Member = z
  .object({
    module: z.string(),
    version,
    build: identifier('build'),
    imageDigest: z.string().describe('SHA-256 of the image.'),
    dependencies: Dependencies,
  })
  .meta({ id: 'PatchSetMember' });

export const PatchSet = z
  .object({
    id: identifier('patch set'),
    name: z.string(),
    version,
    members: z.array(Member).describe('The builds, sorted by module.'),
    createdAt: timestamp,
    createdBy: z.string().describe('Identifier of the API key or user that created it.'),
    signedBy: z.array(z.string()).describe('Key IDs of the keys that signed its provenance: a signing key of the service.'),
  })
  .meta({
    id: 'PatchSet',
    description: 'A named, immutable set of builds of different modules.',
    examples: [
      {
        id: exampleIdentifier('patch set'),
        ...exampleSet,
        members: exampleMembers.map((member) => ({ ...member, build: exampleIdentifier('build') })),
        createdAt: exampleTimes.requested,
        createdBy: exampleIdentifier('key'),
        signedBy: [exampleIdentity.keyId],
      },
    ],
  });
export const PatchSetPage = pageSchema('PatchSetPage', PatchSet);

export const patchSetQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  name: PatchSetName.optional().describe('Only patch sets with this name.'),
  version: versionQuery.describe('Only patch sets with this version.'),
  module: moduleQuery.describe('Only patch sets with a build of this module.'),
});
