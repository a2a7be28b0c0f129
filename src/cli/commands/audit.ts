// `patchbay audit`: the audit trail is listed, followed and verified.

import console from 'node:console';
import { type Command, Option } from '@commander-js/extra-typings';
import { eventTypes } from '../client/choices.ts';
import { answerOf, type Client, type Schemas } from '../client/client.ts';
import { readInteger } from '../command-line.ts';
import { exitCodes } from '../exit-codes.ts';
import { verifyTrail } from '../operator/audit-verification.ts';
import { printEvent, printEvents } from '../operator/event-lines.ts';
import { answer, operate } from '../operator/operator.ts';
import { allOption, answerList, limitOption, listLimit, pageLimit, readPages } from '../operator/pages.ts';
import { timeText } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

/** Newest events among which `tail` looks for those that it begins with. */
const lookedBack = 10_000;

export function addAuditCommands(audit: Command): void {
  const list = audit
    .command('list')
    .description('List the audit trail: who did what to which object, when; the newest first.')
    .option('--action <action>', 'only events of this action, like load.completed')
    .option('--object <identifier>', 'only events of this object')
    .addOption(new Option('--order <order>', 'desc: the newest first').choices(['asc', 'desc'] as const).default('desc' as const))
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ action, object, order, ...options }, command) =>
      operate(command, async (operator) => {
        const filter = { order, ...(action && { action }), ...(object && { object }) };
        const events = await readPages(options, async (page) =>
          answerOf(await operator.client.GET('/v1/audit', { params: { query: { ...page, ...filter } } })),
        );
        answerList(operator, events, {
          headings: ['NUMBER', 'AT', 'ACTOR', 'ACTION', 'OBJECT', 'REQUEST'],
          row: (event) => [event.number, timeText(event.at), event.actor, event.action, event.object, event.request ?? '-'],
          none: 'there are no such events',
        });
        return exitCodes.done;
      }),
    );
  addExamples(list, 'patchbay audit list --limit 20', 'patchbay audit list --action load.completed --order asc --all --json');

  const tail = audit
    .command('tail')
    .description('Show the newest events, the newest last, and with -f those to come, until Ctrl-C. With --json, one JSON document a line.')
    .option('-f, --follow', 'go on with what happens')
    .option('-n, --lines <count>', 'events to begin with', (text) => readInteger('lines', text, 0, listLimit), 10)
    .addOption(new Option('--type <type...>', 'only events about these').choices(eventTypes))
    .action(({ follow, lines, type }, command) =>
      operate(command, async (operator) => {
        const concerns = ({ action }: Schemas['AuditEvent']) => type === undefined || type.some((one) => action.startsWith(`${one}.`));
        const { before, newest } = await newestEvents(operator.client, lines, concerns);
        for (const event of before) printEvent(operator, event);
        if (!follow) return exitCodes.done;
        return printEvents(operator, { after: newest, ...(type && { types: type }) }, concerns);
      }),
    );
  addExamples(tail, 'patchbay audit tail -n 50', 'patchbay audit tail -f --type load device --json');

  const verify = audit
    .command('verify')
    .description(
      'Read the whole trail and verify that it is whole: the numbers rise by one, and times do not run backwards. Exit code 5 where it is not.',
    )
    .action((_options, command) =>
      operate(command, async (operator) => {
        const verification = await verifyTrail(wholeTrail(operator.client));
        const { events, bad } = verification;
        answer(operator, verification, () => [
          bad === null
            ? `the trail is whole: ${events} events`
            : `the trail is broken at event ${bad.event.number} (${bad.event.action} of ${bad.event.object}): ${bad.why}; the ${events} before it are good`,
        ]);
        return bad === null ? exitCodes.done : exitCodes.notWell;
      }),
    );
  addExamples(verify, 'patchbay audit verify', 'patchbay audit verify --json');
}

/** Of the newest events those that concern somebody, in their order; and the number of the newest of all. */
async function newestEvents(
  client: Client,
  wanted: number,
  concerns: (event: Schemas['AuditEvent']) => boolean,
): Promise<{ before: Schemas['AuditEvent'][]; newest: number }> {
  const found: Schemas['AuditEvent'][] = [];
  let newest = 0;
  for await (const event of trail(client, 'desc')) {
    newest = Math.max(newest, event.number);
    if (found.length >= wanted || newest - event.number >= lookedBack) break;
    if (concerns(event)) found.push(event);
  }
  return { before: found.toReversed(), newest };
}

/** Every event there is, from the first on. */
async function* wholeTrail(client: Client): AsyncGenerator<Schemas['AuditEvent']> {
  let read = 0;
  for await (const event of trail(client, 'asc')) {
    if (++read % 10_000 === 0) console.error(`${read} events are read`);
    yield event;
  }
}

/** The events page after page, none of which is kept. */
async function* trail(client: Client, order: 'asc' | 'desc'): AsyncGenerator<Schemas['AuditEvent']> {
  let cursor: string | null = null;
  do {
    const query: { order: 'asc' | 'desc'; limit: number; cursor?: string } = {
      order,
      limit: pageLimit,
      ...(cursor !== null && { cursor }),
    };
    const { items, next }: Schemas['AuditPage'] = answerOf(await client.GET('/v1/audit', { params: { query } }));
    yield* items;
    cursor = next;
  } while (cursor !== null);
}
