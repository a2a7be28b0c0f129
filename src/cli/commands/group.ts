// `patchbay group`: creates, lists, shows, edits and deletes groups of devices.

import { type Command, Option } from '@commander-js/extra-typings';
import { assertSuccess, type Schemas, unwrapResponse } from '../../client/client.ts';
import { UsageError } from '../errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { selectorOption } from '../operator/load-options.ts';
import { formatWindow } from '../operator/maintenance-windows.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { readWindow } from '../operator/rollout-request.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addGroupCommands(group: Command): void {
  addCreateCommand(group);
  addReadingCommands(group);
  addEditCommand(group);
  addDeleteCommand(group);
}

const descriptionOption = () => new Option('--description <text>', 'description, for readers');
const windowOption = () =>
  new Option(
    '--window <window>',
    'begin loads of its devices only in this weekly window, like "sat,sun 22:00-04:00 Europe/Berlin"; may be repeated',
  ).argParser((text: string, before: readonly Schemas['ScheduleWindow'][] = []): readonly Schemas['ScheduleWindow'][] => [
    ...before,
    readWindow(text),
  ]);

function addCreateCommand(group: Command): void {
  const create = group
    .command('create <name>')
    .description('Create a group: a name for a label selector. It contains the devices that match now.')
    .addOption(selectorOption('every device').makeOptionMandatory())
    .addOption(descriptionOption())
    .addOption(windowOption())
    .action((name, { selector, description, window }, command) =>
      runOperatorCommand(command, async (context) => {
        const body = {
          name,
          selector,
          ...(description === undefined ? {} : { description }),
          ...(window === undefined ? {} : { maintenanceWindows: [...window] }),
        };
        const created = unwrapResponse(await context.client.POST('/v1/groups', { body }));
        printResult(context, created, () => [
          `created the group ${created.name} (${created.id}): ${created.selector}`,
          ...windowLines(created),
        ]);
        return exitCodes.success;
      }),
    );
  addExamples(
    create,
    'patchbay group create north --selector "zone=north,!beta" --description "the northern sites"',
    'patchbay group create shops --selector tier=shop --window "mon-fri 22:00-06:00 Europe/Berlin" --window "sun 00:00-00:00 Europe/Berlin"',
  );
}

function addReadingCommands(group: Command): void {
  const list = group
    .command('list')
    .description('List groups, newest first.')
    .addOption(limitOption())
    .addOption(allOption())
    .action((pages, command) =>
      runOperatorCommand(command, async (context) => {
        const groups = await readPages(pages, async (query) =>
          unwrapResponse(await context.client.GET('/v1/groups', { params: { query } })),
        );
        printList(context, groups, {
          headings: ['NAME', 'GROUP', 'SELECTOR', 'DESCRIPTION'],
          row: (item) => [item.name, item.id, item.selector, item.description ?? '-'],
          empty: 'no groups found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay group list', 'patchbay group list --all --json');

  const show = group
    .command('show <group>')
    .description('Show a group, by its name or identifier, with its number of devices now.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { group: nameOrId };
        const found = unwrapResponse(await context.client.GET('/v1/groups/{group}', { params: { path } }));
        printResult(context, found, () => formatGroup(found));
        return exitCodes.success;
      }),
    );
  addExamples(show, 'patchbay group show north', 'patchbay group show north --json');
}

function addEditCommand(group: Command): void {
  const edit = group
    .command('edit <group>')
    .description(
      'Rename a group, or change its selector, its description or its maintenance windows. Fails if it changes at the same time.',
    )
    .option('--name <name>', 'new name')
    .addOption(selectorOption('every device'))
    .addOption(descriptionOption())
    .addOption(windowOption())
    .option('--no-windows', 'remove the maintenance windows: loads begin at any time')
    .action((nameOrId, { name, selector, description, window, windows }, command) =>
      runOperatorCommand(command, async (context) => {
        if (!windows && window !== undefined) throw new UsageError('--window cannot be combined with --no-windows');
        if (windows && [name, selector, description, window].every((one) => one === undefined))
          throw new UsageError('give what to change: --name, --selector, --description, --window or --no-windows');
        const path = { group: nameOrId };
        const read = await context.client.GET('/v1/groups/{group}', { params: { path } });
        const found = unwrapResponse(read);
        const text = description ?? found.description ?? '';
        const body = {
          name: name ?? found.name,
          selector: selector ?? found.selector,
          ...(text === '' ? {} : { description: text }),
          maintenanceWindows: windows ? [...(window ?? found.maintenanceWindows)] : [],
        };
        const header = { 'if-match': read.response.headers.get('etag') ?? '*' };
        const edited = unwrapResponse(
          await context.client.PUT('/v1/groups/{group}', { params: { path: { group: found.id }, header }, body }),
        );
        printResult(context, edited, () => [`changed the group ${edited.name} (${edited.id}): ${edited.selector}`, ...windowLines(edited)]);
        return exitCodes.success;
      }),
    );
  addExamples(
    edit,
    'patchbay group edit north --selector "zone in (north,north-east),!beta"',
    'patchbay group edit north --name northern-sites',
    'patchbay group edit north --window "sat,sun 22:00-04:00 Europe/Berlin"',
    'patchbay group edit north --no-windows',
  );
}

function addDeleteCommand(group: Command): void {
  const remove = group
    .command('delete <group>')
    .description('Delete a group that no signature policy and no assignment uses. Its devices are not changed.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { group: nameOrId };
        assertSuccess(await context.client.DELETE('/v1/groups/{group}', { params: { path } }));
        printResult(context, { group: nameOrId }, () => [`deleted the group ${nameOrId}`]);
        return exitCodes.success;
      }),
    );
  addExamples(remove, 'patchbay group delete north');
}

function formatGroup({ id, name, selector, description, maintenanceWindows, devices, createdAt }: Schemas['GroupDetail']): string[] {
  return [
    `${name}  ${id}`,
    `selector     ${selector}`,
    `devices      ${devices}`,
    `description  ${description ?? '-'}`,
    ...windowLines({ maintenanceWindows }),
    `created      ${formatTime(createdAt)}`,
  ];
}

/** Returns a line for each maintenance window of a group. */
function windowLines({ maintenanceWindows }: Pick<Schemas['Group'], 'maintenanceWindows'>): string[] {
  return maintenanceWindows.map((window) => `window       ${formatWindow(window)}`);
}
