// `patchbay channel`: creates, lists, shows, edits and deletes channels, promotes versions to them and withdraws versions.

import { type Command, Option } from '@commander-js/extra-typings';
import { assertSuccess, type Schemas, unwrapResponse } from '../../client/client.ts';
import { UsageError } from '../errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { readContent } from '../operator/load-content.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { formatTable } from '../terminal/table.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addChannelCommands(channel: Command): void {
  addCreateCommand(channel);
  addReadingCommands(channel);
  addEditCommand(channel);
  addPromotionCommands(channel);
  addDeleteCommand(channel);
}

const descriptionOption = () => new Option('--description <text>', 'description, for readers');

function addCreateCommand(channel: Command): void {
  const create = channel
    .command('create <name>')
    .description('Create a channel: a name for promoted versions, which assignments follow.')
    .addOption(descriptionOption())
    .action((name, { description }, command) =>
      runOperatorCommand(command, async (context) => {
        const body = { name, ...(description === undefined ? {} : { description }) };
        const created = unwrapResponse(await context.client.POST('/v1/channels', { body }));
        printResult(context, created, () => [`created the channel ${created.name} (${created.id})`]);
        return exitCodes.success;
      }),
    );
  addExamples(create, 'patchbay channel create stable --description "versions that have passed the tests in the lab"');
}

function addReadingCommands(channel: Command): void {
  const list = channel
    .command('list')
    .description('List channels, newest first.')
    .addOption(limitOption())
    .addOption(allOption())
    .action((pages, command) =>
      runOperatorCommand(command, async (context) => {
        const channels = await readPages(pages, async (query) =>
          unwrapResponse(await context.client.GET('/v1/channels', { params: { query } })),
        );
        printList(context, channels, {
          headings: ['NAME', 'CHANNEL', 'DESCRIPTION'],
          row: (item) => [item.name, item.id, item.description ?? '-'],
          empty: 'no channels found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay channel list', 'patchbay channel list --all --json');

  const show = channel
    .command('show <channel>')
    .description('Show a channel, by its name or identifier, with its promoted versions.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { channel: nameOrId };
        const found = unwrapResponse(await context.client.GET('/v1/channels/{channel}', { params: { path } }));
        printResult(context, found, () => formatChannel(found));
        return exitCodes.success;
      }),
    );
  addExamples(show, 'patchbay channel show stable', 'patchbay channel show stable --json');
}

function addEditCommand(channel: Command): void {
  const edit = channel
    .command('edit <channel>')
    .description('Rename a channel, or change its description. Fails if it changes at the same time.')
    .option('--name <name>', 'new name')
    .addOption(descriptionOption())
    .action((nameOrId, { name, description }, command) =>
      runOperatorCommand(command, async (context) => {
        if (name === undefined && description === undefined) throw new UsageError('give what to change: --name or --description');
        const path = { channel: nameOrId };
        const read = await context.client.GET('/v1/channels/{channel}', { params: { path } });
        const found = unwrapResponse(read);
        const text = description ?? found.description ?? '';
        const body = { name: name ?? found.name, ...(text === '' ? {} : { description: text }) };
        const header = { 'if-match': read.response.headers.get('etag') ?? '*' };
        const edited = unwrapResponse(
          await context.client.PUT('/v1/channels/{channel}', { params: { path: { channel: found.id }, header }, body }),
        );
        printResult(context, edited, () => [`changed the channel ${edited.name} (${edited.id})`]);
        return exitCodes.success;
      }),
    );
  addExamples(edit, 'patchbay channel edit stable --name released');
}

function addPromotionCommands(channel: Command): void {
  const promote = channel
    .command('promote <channel>')
    .description('Promote a version to a channel. Starts a rollout for each enforced assignment of which it is the newest version.')
    .option('--module <name>', 'the module')
    .option('--version <version>', 'the version of the module')
    .option('--patch-set <name@version>', 'the patch set, instead of --module and --version')
    .action((nameOrId, options, command) =>
      runOperatorCommand(command, async (context) => {
        const { name, version, request } = readContent(options);
        const path = { channel: nameOrId };
        const promoted = unwrapResponse(
          await context.client.POST('/v1/channels/{channel}/promotions', { params: { path }, body: request }),
        );
        printResult(context, promoted, () => [
          `promoted ${name}@${version} to the channel ${nameOrId}`,
          ...promoted.assignments.map(({ name: assignment, rollout, reason }) =>
            rollout === null ? `${assignment}: no rollout, because ${reason}` : `${assignment}: started the rollout ${rollout}`,
          ),
        ]);
        return exitCodes.success;
      }),
    );
  addExamples(
    promote,
    'patchbay channel promote stable --module tcp --version 1.1.0',
    'patchbay channel promote stable --patch-set net-2026-11@1.0.0',
  );

  const withdraw = channel
    .command('withdraw <channel> <version>')
    .description('Withdraw a version, like tcp@1.1.0, or a promotion by its identifier. Devices that have the version keep it.')
    .action((nameOrId, version, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { channel: nameOrId };
        const found = unwrapResponse(await context.client.GET('/v1/channels/{channel}', { params: { path } }));
        const promotion = findPromotion(found, version);
        const promotionPath = { channel: found.id, promotion: promotion.id };
        assertSuccess(await context.client.DELETE('/v1/channels/{channel}/promotions/{promotion}', { params: { path: promotionPath } }));
        printResult(context, { promotion: promotion.id }, () => [
          `withdrew ${promotion.module}@${promotion.version} from the channel ${found.name}`,
        ]);
        return exitCodes.success;
      }),
    );
  addExamples(withdraw, 'patchbay channel withdraw stable tcp@1.1.0');
}

/** Returns the promotion of a version, or with an identifier. @throws {UsageError} unless there is exactly one. */
function findPromotion({ name, promotions }: Schemas['ChannelDetail'], version: string): Schemas['Promotion'] {
  const found = promotions.filter((promotion) => promotion.id === version || `${promotion.module}@${promotion.version}` === version);
  const [first] = found;
  if (first === undefined) throw new UsageError(`the channel ${name} does not have ${version}: see "patchbay channel show ${name}"`);
  if (found.length > 1)
    throw new UsageError(
      `${version} is a build and a patch set: give the identifier of the promotion, ${found.map(({ id }) => id).join(' or ')}`,
    );
  return first;
}

function addDeleteCommand(channel: Command): void {
  const remove = channel
    .command('delete <channel>')
    .description('Delete a channel that no assignment follows. Devices are not changed.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { channel: nameOrId };
        assertSuccess(await context.client.DELETE('/v1/channels/{channel}', { params: { path } }));
        printResult(context, { channel: nameOrId }, () => [`deleted the channel ${nameOrId}`]);
        return exitCodes.success;
      }),
    );
  addExamples(remove, 'patchbay channel delete stable');
}

function formatChannel({ id, name, description, promotions, createdAt }: Schemas['ChannelDetail']): string[] {
  return [
    `${name}  ${id}`,
    `description  ${description ?? '-'}`,
    `created      ${formatTime(createdAt)}`,
    '',
    ...(promotions.length === 0
      ? ['no promoted versions']
      : formatTable(
          ['MODULE OR PATCH SET', 'VERSION', 'KIND', 'PROMOTED', 'PROMOTION'],
          promotions.map((promotion) => [
            promotion.module,
            promotion.version,
            promotion.patchSet === null ? 'build' : 'patch set',
            formatTime(promotion.promotedAt),
            promotion.id,
          ]),
        )),
  ];
}
