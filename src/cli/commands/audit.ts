// `patchbay audit`: the audit trail is listed, followed, exported and verified.

import { existsSync } from 'node:fs';
import process from 'node:process';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Command, Option } from '@commander-js/extra-typings';
import { type Client, type Schemas, unwrapResponse } from '../../client/client.ts';
import { eventTypes } from '../../client/enum-values.ts';
import type { PublicKey } from '../../proof/ed25519.ts';
import { exitCodes } from '../exit-codes.ts';
import { fileLines, serviceLines } from '../operator/audit-sources.ts';
import { formatVerification } from '../operator/audit-verification.ts';
import { printEvent, streamAndPrintEvents } from '../operator/event-output.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { createOutputFile } from '../operator/output-file.ts';
import { allItems, allOption, limitOption, listLimit, pageLimit, printList, readPages } from '../operator/pages.ts';
import { CommandError, readInputFile, readInteger, UsageError } from '../option-values.ts';
import { formatTime } from '../terminal/times.ts';
import { readTrustedKeys } from '../trusted-keys.ts';
import { addExamples } from './examples.ts';

/** Newest events among which `tail` looks for those that it begins with. */
const lookedBack = 10_000;
const mostEvents = Number.MAX_SAFE_INTEGER;

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
      runOperatorCommand(command, async (operator) => {
        const filter = { order, ...(action && { action }), ...(object && { object }) };
        const events = await readPages(options, async (page) =>
          unwrapResponse(await operator.client.GET('/v1/audit', { params: { query: { ...page, ...filter } } })),
        );
        printList(operator, events, {
          headings: ['NUMBER', 'AT', 'ACTOR', 'ACTION', 'OBJECT', 'REQUEST'],
          row: (event) => [event.number, formatTime(event.at), event.actor, event.action, event.object, event.request ?? '-'],
          none: 'there are no such events',
        });
        return exitCodes.success;
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
      runOperatorCommand(command, async (operator) => {
        const concerns = ({ action }: Schemas['AuditEvent']) => type === undefined || type.some((one) => action.startsWith(`${one}.`));
        const { before, newest } = await newestEvents(operator.client, lines, concerns);
        for (const event of before) printEvent(operator, event);
        if (!follow) return exitCodes.success;
        return streamAndPrintEvents(operator, { after: newest, ...(type && { types: type }) }, concerns);
      }),
    );
  addExamples(tail, 'patchbay audit tail -n 50', 'patchbay audit tail -f --type load device --json');

  addExportCommand(audit);
  addCheckpointCommand(audit);
  addVerifyCommand(audit);
}

function addExportCommand(audit: Command): void {
  const complete = audit
    .command('export')
    .description(
      'Write the whole trail as lines of JSON, to be kept elsewhere and verified there. Into a file, the newest checkpoint is written beside it, as FILE.checkpoint.',
    )
    .option('--output <file>', 'where to write it; it must not be there (standard output)')
    .option('--after <number>', 'only events after this one, to go on with an earlier export', (text) =>
      readInteger('after', text, 0, mostEvents),
    )
    .action(({ output, after }, command) =>
      runOperatorCommand(command, async ({ client, signal: stopped, isJson }) => {
        // Before the events are read: then all of its events are among them.
        const checkpoint = await newestCheckpoint(client);
        const lines = await serviceLines(client, after, stopped);
        if (output === undefined) {
          await writeLines(lines, process.stdout);
          return exitCodes.success;
        }
        await writeLines(lines, createOutputFile(output));
        const beside = `${output}.checkpoint`;
        if (checkpoint !== null) await writeLines([checkpoint.note.replace(/\n$/, '')], createOutputFile(beside));
        printResult({ isJson }, { file: output, checkpoint: checkpoint === null ? null : beside }, () => [
          `written to ${output}${checkpoint === null ? '' : `, and a checkpoint of ${checkpoint.size} events to ${beside}`}`,
        ]);
        return exitCodes.success;
      }),
    );
  addExamples(complete, 'patchbay audit export --output trail.ndjson', 'patchbay audit export --after 25600 --output trail-2.ndjson');
}

function addCheckpointCommand(audit: Command): void {
  const complete = audit
    .command('checkpoint')
    .description(
      'Show the newest checkpoint: what the trail is, signed by the service. Kept elsewhere, it proves later that the trail has only grown since.',
    )
    .option('--make', 'have one made of all events that there are now')
    .action(({ make }, command) =>
      runOperatorCommand(command, async (operator) => {
        const { client } = operator;
        const checkpoint = make ? unwrapResponse(await client.POST('/v1/audit/checkpoints')) : await newestCheckpoint(client);
        if (checkpoint === null)
          throw new CommandError('there is no checkpoint yet: the service makes one every minute, or now with --make');
        printResult(operator, checkpoint, () => [checkpoint.note.replace(/\n$/, '')]);
        return exitCodes.success;
      }),
    );
  addExamples(complete, 'patchbay audit checkpoint > checkpoint.txt', 'patchbay audit checkpoint --make --json');
}

function addVerifyCommand(audit: Command): void {
  const complete = audit
    .command('verify')
    .argument('[files...]', 'exports, each beginning where the one before ends; without one, the trail is read from the service')
    .description(
      'Verify that the trail is as it was written: each event linked to the one before by its hash, and all of them those that a signed checkpoint was made of. ' +
        'Files are verified without the service. Exit code 5 where the trail is not whole, or nothing is proven; the first bad event is named.',
    )
    .option('--checkpoint <file...>', 'checkpoints that were kept (of the first file FILE.checkpoint; of the service its newest)')
    .option(
      '--public-key <file...>',
      'public keys in PEM that are trusted; those that they vouch for in the trail are too (of the service its own)',
    )
    .option('--partial', 'take an export that begins later than the trail for what it is')
    .action((files, { checkpoint, publicKey, partial = false }, command) =>
      runOperatorCommand(command, async (operator) => {
        const { client, signal: stopped } = operator;
        const { verifyExport } = await import('../../proof/audit-export.ts');
        const checkpoints = await givenCheckpoints(client, files, checkpoint);
        const keys =
          publicKey === undefined && files.length === 0
            ? await serviceKeys(client)
            : (publicKey ?? []).flatMap((file) => readTrustedKeys(file, '--public-key'));
        if (keys.length === 0 && checkpoints.length > 0)
          throw new UsageError('a checkpoint is worth what its key is worth: give the public key that you have kept with --public-key');
        const lines = files.length === 0 ? await serviceLines(client, undefined, stopped) : fileLines(files);
        const verification = await verifyExport(lines, { checkpoints, keys, isPartial: partial });
        printResult(operator, verification, () => formatVerification(verification, publicKey !== undefined));
        return verification.kind === 'intact' ? exitCodes.success : exitCodes.unhealthy;
      }),
    );
  addExamples(
    complete,
    'patchbay audit verify --public-key service.pem --checkpoint last-month.txt',
    'patchbay audit verify trail.ndjson --public-key service.pem',
  );
}

/** The notes of checkpoints to hold the trail against. */
async function givenCheckpoints(client: Client, files: readonly string[], given: readonly string[] | undefined): Promise<string[]> {
  const [first] = files;
  if (first !== undefined) return readTexts(given ?? (existsSync(`${first}.checkpoint`) ? [`${first}.checkpoint`] : []));
  const newest = await newestCheckpoint(client);
  return [...readTexts(given ?? []), ...(newest === null ? [] : [newest.note])];
}

const readTexts = (files: readonly string[]) => files.map((file) => readInputFile(file, '--checkpoint').toString());

async function newestCheckpoint(client: Client): Promise<Schemas['Checkpoint'] | null> {
  const { items } = unwrapResponse(await client.GET('/v1/audit/checkpoints', { params: { query: { limit: 1 } } }));
  return items[0] ?? null;
}

/** The keys that the service says it signs with, which is as good as its word. */
async function serviceKeys(client: Client): Promise<PublicKey[]> {
  const { items } = await readPages(allItems, async (query) => unwrapResponse(await client.GET('/v1/signing-keys', { params: { query } })));
  return items.map(({ keyId, publicKey }) => ({ keyId, pem: publicKey }));
}

/** Writes lines as fast as they are taken; closes what is no standard output. */
async function writeLines(lines: AsyncIterable<string> | Iterable<string>, output: Writable): Promise<void> {
  await pipeline(
    async function* () {
      for await (const line of lines) yield `${line}\n`;
    },
    output,
    { end: output !== process.stdout },
  );
}

/** Of the newest events those that concern somebody, in their order; and the number of the newest of all. */
async function newestEvents(
  client: Client,
  wanted: number,
  concerns: (event: Schemas['AuditEvent']) => boolean,
): Promise<{ before: Schemas['AuditEvent'][]; newest: number }> {
  const found: Schemas['AuditEvent'][] = [];
  let newest = 0;
  for await (const event of trail(client)) {
    newest = Math.max(newest, event.number);
    if (found.length >= wanted || newest - event.number >= lookedBack) break;
    if (concerns(event)) found.push(event);
  }
  return { before: found.toReversed(), newest };
}

/** The events, the newest first, page after page, none of which is kept. */
async function* trail(client: Client): AsyncGenerator<Schemas['AuditEvent']> {
  let cursor: string | null = null;
  do {
    const query: { limit: number; cursor?: string } = { limit: pageLimit, ...(cursor !== null && { cursor }) };
    const { items, next }: Schemas['AuditPage'] = unwrapResponse(await client.GET('/v1/audit', { params: { query } }));
    yield* items;
    cursor = next;
  } while (cursor !== null);
}
