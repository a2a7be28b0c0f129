// Schemas of the module graph of a device.

import { z } from 'zod';
import { exampleDeviceState } from '../../protocol/device-state.ts';
import { exampleBuild, exampleVersions } from '../../protocol/examples.ts';
import { ExportName, exampleIdentifier } from '../../protocol/identifiers.ts';
import { UnresolvedLink } from '../../protocol/load-report.ts';
import { count, identifier, timestamp, version } from '../http/common-schemas.ts';
import { graphLimits } from './module-graph.ts';

const facts = {
  range: z.string().nullable().describe('The range of versions that the importer declares. Null if it declares none.'),
  resolved: z
    .boolean()
    .nullable()
    .describe(
      'Whether the module in memory provides all imports with the same types and is in the range. Null if unknown: the service has no readable build of the module in memory.',
    ),
};
const provider = z
  .object({ module: z.string(), version: version.nullable().describe('Null if the module is not in memory.') })
  .describe('The module that is imported.');
const importer = z.object({ module: z.string(), version }).describe('The module that imports.');

const exampleImporter = { module: 'http', version: '2.1.0' };
const exampleProvider = { module: 'tcp', version: exampleVersions.new.version };
const exampleMissing = { module: 'tls', version: null };

/** A link, as a device shows it. */
const DeviceLink = z.object({ importer, provider, ...facts }).meta({
  id: 'DeviceLink',
  description: 'A dependency of one module in memory on another module.',
  examples: [{ importer: exampleImporter, provider: exampleProvider, range: '^1.1.0', resolved: true }],
});

export const deviceLinks = {
  links: z
    .array(DeviceLink)
    .max(graphLimits.shortLinks)
    .describe(
      `Dependencies between the modules in memory: the first ${graphLimits.shortLinks}. \`GET /v1/devices/{device}/module-graph\` returns more, with their exports.`,
    ),
  linkCount: count.describe('Number of links.'),
};
export const exampleLinks = {
  links: [{ importer: exampleImporter, provider: exampleProvider, range: '^1.1.0', resolved: true }],
  linkCount: 1,
};

const GraphImport = z
  .object({
    ...provider.shape,
    ...facts,
    exports: z
      .array(ExportName)
      .max(graphLimits.exports)
      .describe(`The imported exports: the first ${graphLimits.exports}. Empty if only a range is declared.`),
    exportCount: count.describe('Number of imported exports.'),
    unresolved: z.array(UnresolvedLink).max(graphLimits.unresolved).describe(`What is missing: the first ${graphLimits.unresolved}.`),
    unresolvedLinks: count.describe('Number of missing exports, wrong types and unmet ranges.'),
  })
  .meta({ id: 'ModuleGraphImport' });

const GraphModule = z
  .object({
    module: z.string(),
    version,
    image: z.string().describe('SHA-256 of the image.'),
    importsKnown: z.boolean().describe('False if the service has no readable build of the module: its imports are unknown.'),
    imports: z.array(GraphImport).describe('The modules that it depends on, by imports or declared ranges.'),
    importedBy: z.array(importer).describe('The modules in memory that depend on it.'),
  })
  .meta({ id: 'ModuleGraphModule' });

const exampleImage = exampleBuild.imageDigest;

export const ModuleGraph = z
  .object({
    device: identifier('device'),
    reportedAt: timestamp
      .nullable()
      .describe('When the device took the state that it last reported. Null if it has not reported since its host started.'),
    modules: z
      .array(GraphModule)
      .describe(`The modules in memory. The imports of the first ${graphLimits.modules.toLocaleString('en')} modules are read.`),
    linkCount: count.describe(
      `Number of links. The response has the first ${graphLimits.links.toLocaleString('en')}; a link has one importer and one imported module.`,
    ),
  })
  .meta({
    id: 'ModuleGraph',
    description: 'The modules in the memory of a device, and the links between them. The links may form cycles.',
    examples: [
      {
        device: exampleIdentifier('device'),
        reportedAt: exampleDeviceState.at,
        modules: [
          {
            ...exampleImporter,
            image: exampleImage,
            importsKnown: true,
            imports: [
              {
                ...exampleProvider,
                range: '^1.1.0',
                resolved: true,
                exports: ['send'],
                exportCount: 1,
                unresolved: [],
                unresolvedLinks: 0,
              },
              {
                ...exampleMissing,
                range: null,
                resolved: false,
                exports: ['open'],
                exportCount: 1,
                unresolved: [
                  { problem: 'missing', importer: exampleImporter, provider: exampleMissing, export: 'open', expected: '(i32) → i32' },
                ],
                unresolvedLinks: 1,
              },
            ],
            importedBy: [],
          },
          { ...exampleProvider, image: exampleImage, importsKnown: true, imports: [], importedBy: [exampleImporter] },
        ],
        linkCount: 2,
      },
    ],
  });
