// `patchbay patch-set`: creates, lists and shows patch sets, and shows their provenance.

import type { Command } from '@commander-js/extra-typings';
import { type Schemas, unwrapResponse } from '../../client/client.ts';
import { exitCodes } from '../exit-codes.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { findPatchSet } from '../operator/patch-set-names.ts';
import { readNamedBuild } from '../option-values.ts';
import { formatTable } from '../terminal/table.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

type PatchSet = Schemas['PatchSet'];

export function addPatchSetCommands(patchSet: Command): void {
  addCreateCommand(patchSet);
  addListCommand(patchSet);
  addShowCommand(patchSet);
  addProvenanceCommand(patchSet);
}

function addCreateCommand(patchSet: Command): void {
  const create = patchSet
    .command('create <name> <version> <build...>')
    .description(
      'Create a patch set of 2 to 16 builds of different modules, each given as module@version. A version of a patch set never changes.',
    )
    .action((name, version, texts, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const builds = texts.map(readNamedBuild);
        const created = unwrapResponse(await context.client.POST('/v1/patch-sets', { body: { name, version, builds } }));
        printResult(context, created, () => [`patch set ${created.name}@${created.version} (${created.id}): ${formatMembers(created)}`]);
        return exitCodes.success;
      }),
    );
  addExamples(create, 'patchbay patch-set create net-2026-11 1.0.0 tcp@1.2.0 udp@1.1.0');
}

function addListCommand(patchSet: Command): void {
  const list = patchSet
    .command('list')
    .description('List patch sets, newest first.')
    .option('--name <name>', 'only patch sets with this name')
    .option('--version <version>', 'only patch sets with this version')
    .option('--module <name>', 'only patch sets with a build of this module')
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ name, version, module, ...options }, command) =>
      runOperatorCommand(command, async (context) => {
        const filter = { ...(name && { name }), ...(version && { version }), ...(module && { module }) };
        const patchSets = await readPages(options, async (page) =>
          unwrapResponse(await context.client.GET('/v1/patch-sets', { params: { query: { ...page, ...filter } } })),
        );
        printList(context, patchSets, {
          headings: ['PATCH SET', 'NAME', 'VERSION', 'CREATED', 'BUILDS'],
          row: (item) => [item.id, item.name, item.version, formatTime(item.createdAt), formatMembers(item)],
          empty: 'no patch sets found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay patch-set list --module tcp', 'patchbay patch-set list --name net-2026-11 --all --json');
}

function addShowCommand(patchSet: Command): void {
  const show = patchSet
    .command('show <name> <version>')
    .description('Show a patch set: its builds, their images and their declared dependencies.')
    .action((name, version, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const found = await findPatchSet(context.client, name, version);
        printResult(context, found, () => formatPatchSet(found));
        return exitCodes.success;
      }),
    );
  addExamples(show, 'patchbay patch-set show net-2026-11 1.0.0', 'patchbay patch-set show net-2026-11 1.0.0 --json');
}

function addProvenanceCommand(patchSet: Command): void {
  const provenance = patchSet
    .command('provenance <name> <version>')
    .description('Show the provenance of a patch set, and the keys that signed it. With --json, print the envelope (DSSE).')
    .action((name, version, _options, command) =>
      runOperatorCommand(command, async (context) =>
        (await import('../operator/patch-set-provenance.ts')).showPatchSetProvenance(context, name, version),
      ),
    );
  addExamples(
    provenance,
    'patchbay patch-set provenance net-2026-11 1.0.0',
    'patchbay patch-set provenance net-2026-11 1.0.0 --json > net.dsse.json',
  );
}

const formatMembers = ({ members }: PatchSet) => members.map(({ module, version }) => `${module}@${version}`).join(' ');

function formatPatchSet({ id, name, version, members, createdAt, createdBy, signedBy }: PatchSet): string[] {
  return [
    `${name}@${version}  ${id}`,
    `created    ${formatTime(createdAt)} by ${createdBy}`,
    `signed by  ${signedBy.join(', ') || '-'}`,
    '',
    ...formatTable(
      ['BUILD', 'IMAGE', 'DEPENDENCIES'],
      members.map((member) => [
        `${member.module}@${member.version}`,
        member.imageDigest.slice(0, 19),
        Object.entries(member.dependencies)
          .map(([module, range]) => `${module} ${range}`)
          .join(', ') || '-',
      ]),
    ),
  ];
}
