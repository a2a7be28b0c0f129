// `patchbay webhook`: creates, lists, shows, changes and deletes webhooks, rotates their secrets, tests them and replays events.

import { type Command, Option } from '@commander-js/extra-typings';
import { assertSuccess, type Client, type Schemas, unwrapResponse } from '../../client/client.ts';
import { webhookFormats } from '../../client/enum-values.ts';
import { UsageError } from '../errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { resolveIdentifier } from '../operator/identifiers.ts';
import { groupOption, selectorOption } from '../operator/load-options.ts';
import { printNote, printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { collectValues, readInteger } from '../option-values.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addWebhookCommands(webhook: Command): void {
  addCreateCommand(webhook);
  addReadingCommands(webhook);
  addEditCommand(webhook);
  addDeleteCommand(webhook);
  addRotateCommand(webhook);
  addTestCommand(webhook);
  addReplayCommand(webhook);
}

const eventOption = () =>
  new Option('--event <type>', 'event type: an action like load.completed, a kind like "load.*", or "*"; may be repeated').argParser(
    collectValues,
  );
const formatOption = () => new Option('--format <format>', 'format of the messages').choices(webhookFormats);

function addCreateCommand(webhook: Command): void {
  const create = webhook
    .command('create <name>')
    .description('Create a webhook, and print its secret. The service cannot show the secret again.')
    .addOption(new Option('--url <url>', 'URL that events are posted to').makeOptionMandatory())
    .addOption(eventOption().makeOptionMandatory())
    .addOption(selectorOption('only events about every device'))
    .addOption(groupOption('only events about every device'))
    .addOption(formatOption())
    .option('--disabled', 'do not send events yet')
    .action((name, { url, event, selector, group, format, disabled }, command) =>
      runOperatorCommand(command, async (context) => {
        const selection = { ...(selector === undefined ? {} : { selector }), ...(group === undefined ? {} : { group }) };
        const optional = { ...selection, ...(format === undefined ? {} : { format }) };
        const body = { name, url, eventTypes: [...event], ...optional, enabled: disabled !== true };
        const created = unwrapResponse(await context.client.POST('/v1/webhooks', { body }));
        printNote(context, `created the webhook ${created.name} (${created.id}); its secret is shown only once:`);
        printResult(context, created, () => [created.secret]);
        return exitCodes.success;
      }),
    );
  addExamples(
    create,
    'patchbay webhook create fleet-events --url https://example.com/hooks/patchbay --event "load.*" --event "rollout.*" > fleet-events.secret',
    'patchbay webhook create north --url https://example.com/north --event "*" --selector "zone in (north)"',
    'patchbay webhook create alerts --url https://hooks.slack.com/services/T0/B0/x --event device.drifted --format slack',
  );
}

function addReadingCommands(webhook: Command): void {
  const list = webhook
    .command('list')
    .description('List webhooks, newest first, without their secrets.')
    .addOption(limitOption())
    .addOption(allOption())
    .action((pages, command) =>
      runOperatorCommand(command, async (context) => {
        printList(context, await readPages(pages, (page) => readWebhooks(context.client, page)), {
          headings: ['WEBHOOK', 'NAME', 'STATUS', 'PARKED', 'EVENTS', 'URL'],
          row: ({ id, name, url, eventTypes, delivery }) => [
            id,
            name,
            delivery.status,
            String(delivery.parkedEvents),
            eventTypes.join(' '),
            url,
          ],
          empty: 'no webhooks found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay webhook list', 'patchbay webhook list --json');

  const show = webhook
    .command('show <webhook>')
    .description('Show a webhook, the progress of its deliveries, and its parked events.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const found = await readWebhook(context.client, nameOrId);
        const parked = await readParked(context.client, found.id);
        printResult(context, { ...found, parkedEvents: parked }, () => [...describeWebhook(found), ...parked.map(describeParked)]);
        return exitCodes.success;
      }),
    );
  addExamples(show, 'patchbay webhook show fleet-events');
}

function addEditCommand(webhook: Command): void {
  const edit = webhook
    .command('edit <webhook>')
    .description('Change a webhook. Options that are not given keep their values. Undelivered events follow.')
    .option('--name <name>', 'new name')
    .option('--url <url>', 'URL that events are posted to')
    .addOption(eventOption())
    .addOption(selectorOption('only events about every device'))
    .option('--no-selector', 'events about devices with any labels, or about any object without --group')
    .addOption(groupOption('only events about every device'))
    .option('--no-group', 'events about devices of any group, or about any object without --selector')
    .addOption(formatOption())
    .option('--enable', 'send events')
    .option('--disable', 'do not send events; the webhook keeps its position')
    .action((nameOrId, { name, url, event, selector, group, format, enable, disable }, command) =>
      runOperatorCommand(command, async (context) => {
        if (enable === true && disable === true) throw new UsageError('--enable and --disable cannot be combined');
        if ([name, url, event, selector, group, format, enable, disable].every((one) => one === undefined))
          throw new UsageError(
            'give what to change: --name, --url, --event, --selector, --no-selector, --group, --no-group, --format, --enable or --disable',
          );
        const path = { webhook: (await readWebhook(context.client, nameOrId)).id };
        const read = await context.client.GET('/v1/webhooks/{webhook}', { params: { path } });
        const current = unwrapResponse(read);
        const newSelector = typeof selector === 'string' ? selector : selector === false ? null : current.selector;
        const newGroup = typeof group === 'string' ? group : group === false ? null : current.group;
        const body = {
          name: name ?? current.name,
          url: url ?? current.url,
          eventTypes: [...(event ?? current.eventTypes)],
          ...(newSelector === null ? {} : { selector: newSelector }),
          ...(newGroup === null ? {} : { group: newGroup }),
          format: format ?? current.format,
          enabled: enable === true || (disable !== true && current.enabled),
        };
        const header = { 'if-match': read.response.headers.get('etag') ?? '*' };
        const changed = unwrapResponse(await context.client.PUT('/v1/webhooks/{webhook}', { params: { path, header }, body }));
        printResult(context, changed, () => describeWebhook(changed));
        return exitCodes.success;
      }),
    );
  addExamples(
    edit,
    'patchbay webhook edit fleet-events --event "load.completed" --event "rollout.*"',
    'patchbay webhook edit fleet-events --disable',
  );
}

function addDeleteCommand(webhook: Command): void {
  const remove = webhook
    .command('delete <webhook>')
    .description('Delete a webhook, by its name or identifier, with its parked events.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const { id, name } = await readWebhook(context.client, nameOrId);
        assertSuccess(await context.client.DELETE('/v1/webhooks/{webhook}', { params: { path: { webhook: id } } }));
        printResult(context, { id }, () => [`deleted the webhook ${name}`]);
        return exitCodes.success;
      }),
    );
  addExamples(remove, 'patchbay webhook delete fleet-events');
}

function addRotateCommand(webhook: Command): void {
  const rotate = webhook
    .command('rotate-secret <webhook>')
    .description('Replace the secret of a webhook, and print the new one. The previous secret signs too for 24 hours.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { webhook: await resolveWebhook(context.client, nameOrId) };
        const rotated = unwrapResponse(await context.client.POST('/v1/webhooks/{webhook}/rotate-secret', { params: { path } }));
        const until = rotated.previousSecretUntil === null ? 'now' : formatTime(rotated.previousSecretUntil);
        printNote(
          context,
          `rotated the secret of ${rotated.name}; the previous secret signs too until ${until}. The new one is shown only once:`,
        );
        printResult(context, rotated, () => [rotated.secret]);
        return exitCodes.success;
      }),
    );
  addExamples(rotate, 'patchbay webhook rotate-secret fleet-events > fleet-events.secret');
}

function addTestCommand(webhook: Command): void {
  const test = webhook
    .command('test <webhook>')
    .description('Send a test event now, and print the result. The exit code is 1 if it was not delivered.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { webhook: await resolveWebhook(context.client, nameOrId) };
        const result = unwrapResponse(await context.client.POST('/v1/webhooks/{webhook}/test', { params: { path } }));
        const line = result.delivered
          ? `delivered the test event in ${result.milliseconds} ms: the receiver responded with ${result.status}`
          : `the test event was not delivered: ${result.error}`;
        printResult(context, result, () => [line]);
        return result.delivered ? exitCodes.success : exitCodes.failed;
      }),
    );
  addExamples(test, 'patchbay webhook test fleet-events');
}

function addReplayCommand(webhook: Command): void {
  const replay = webhook
    .command('replay <webhook>')
    .description('Send parked events again, or all events after one. Give one of the options.')
    .option('--parked', 'all parked events, once each')
    .option('--event <number>', 'the parked event with this number; may be repeated', collectValues)
    .option('--after <number>', 'all events after the audit event with this number')
    .action((nameOrId, { parked, event, after }, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { webhook: await resolveWebhook(context.client, nameOrId) };
        const body = {
          ...(parked === true ? { parked: 'all' as const } : {}),
          ...(event === undefined ? {} : { events: event.map((number) => readInteger('event', number, 1, maxNumber)) }),
          ...(after === undefined ? {} : { after: readInteger('after', after, 0, maxNumber) }),
        };
        if (Object.keys(body).length !== 1) throw new UsageError('expected one of --parked, --event and --after');
        const requested = unwrapResponse(await context.client.POST('/v1/webhooks/{webhook}/replay', { params: { path }, body }));
        const parkedEvents = `${requested.parkedEvents} parked ${requested.parkedEvents === 1 ? 'event' : 'events'}`;
        const what = after === undefined ? parkedEvents : `the events after ${after}`;
        printResult(context, requested, () => [`the service sends ${what} to ${requested.webhook.name} again`]);
        return exitCodes.success;
      }),
    );
  addExamples(replay, 'patchbay webhook replay fleet-events --parked', 'patchbay webhook replay fleet-events --after 1000');
}

/** Highest number of an event. */
const maxNumber = 2 ** 31 - 1;
/** Parked events that `show` prints. */
const parkedLimit = 20;

async function readWebhooks(client: Client, query: { readonly limit: number }): Promise<Schemas['WebhookPage']> {
  return unwrapResponse(await client.GET('/v1/webhooks', { params: { query } }));
}

function resolveWebhook(client: Client, nameOrId: string): Promise<string> {
  return resolveIdentifier(nameOrId, {
    prefix: 'whk_',
    noun: 'webhook',
    listCommand: 'patchbay webhook list',
    readPage: (query) => readWebhooks(client, query),
  });
}

async function readWebhook(client: Client, nameOrId: string): Promise<Schemas['Webhook']> {
  const path = { webhook: await resolveWebhook(client, nameOrId) };
  return unwrapResponse(await client.GET('/v1/webhooks/{webhook}', { params: { path } }));
}

async function readParked(client: Client, id: string): Promise<readonly Schemas['ParkedEvent'][]> {
  const params = { path: { webhook: id }, query: { limit: parkedLimit } };
  return unwrapResponse(await client.GET('/v1/webhooks/{webhook}/parked-events', { params })).items;
}

function describeWebhook({ id, name, url, eventTypes, selector, group, format, disabledReason, delivery }: Schemas['Webhook']): string[] {
  const { status, deliveredThrough, lastDeliveredAt, lastError, nextAttemptAt, parkedEvents, skipped } = delivery;
  return [
    `${name} (${id})`,
    `  url        ${url}`,
    `  events     ${eventTypes.join(' ')}`,
    ...(selector === null ? [] : [`  selector   ${selector}`]),
    ...(group === null ? [] : [`  group      ${group}`]),
    `  format     ${format}`,
    `  status     ${status}${disabledReason === null ? '' : `: ${disabledReason}`}`,
    `  position   event ${deliveredThrough}, last delivery ${lastDeliveredAt === null ? 'never' : formatTime(lastDeliveredAt)}`,
    ...(lastError === null ? [] : [`  last error ${lastError}`]),
    ...(nextAttemptAt === null ? [] : [`  next try   ${formatTime(nextAttemptAt)}`]),
    ...(skipped === null ? [] : [`  gap        events after ${skipped.after} up to ${skipped.through} were pruned before they were sent`]),
    `  parked     ${parkedEvents}`,
  ];
}

function describeParked({ number, action, parkedAt, lastError }: Schemas['ParkedEvent']): string {
  return `    ${number} ${action}, parked ${formatTime(parkedAt)}: ${lastError}`;
}
