// `patchbay audit`: lists, follows, exports and verifies the audit trail.

import { existsSync } from 'node:fs';
import process from 'node:process';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Command, Option } from '@commander-js/extra-typings';
import { type Client, type Schemas, unwrapResponse } from '../../client/client.ts';
import { eventTypes } from '../../client/enum-values.ts';
import type { PublicKey } from '../../proof/ed25519.ts';
import { CommandError, UsageError } from '../errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { fileLines, serviceLines } from '../operator/audit-sources.ts';
import { formatVerification } from '../operator/audit-verification.ts';
import { printEvent, streamAndPrintEvents } from '../operator/event-output.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { createOutputFile } from '../operator/output-file.ts';
import { allItems, allOption, limitOption, listLimit, pageLimit, printList, readPages } from '../operator/pages.ts';
import { readInputFile, readInteger } from '../option-values.ts';
import { formatTime } from '../terminal/times.ts';
import { readTrustedKeys } from '../trusted-keys.ts';
import { addExamples } from './examples.ts';

/** Events that `tail` searches for the first lines, newest first. */
const searchLimit = 10_000;
const maxEventNumber = Number.MAX_SAFE_INTEGER;

export function addAuditCommands(audit: Command): void {
  const list = audit
    .command('list')
    .description('List audit events, newest first: who did what to which object, and when.')
    .option('--action <action>', 'only events with this action, like load.completed')
    .option('--object <identifier>', 'only events of this object')
    .addOption(
      new Option('--order <order>', 'asc: oldest first; desc: newest first').choices(['asc', 'desc'] as const).default('desc' as const),
    )
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ action, object, order, ...options }, command) =>
      runOperatorCommand(command, async (context) => {
        const filter = { order, ...(action && { action }), ...(object && { object }) };
        const events = await readPages(options, async (page) =>
          unwrapResponse(await context.client.GET('/v1/audit', { params: { query: { ...page, ...filter } } })),
        );
        printList(context, events, {
          headings: ['NUMBER', 'TIME', 'ACTOR', 'ACTION', 'OBJECT', 'REQUEST'],
          row: (event) => [event.number, formatTime(event.at), event.actor, event.action, event.object, event.request ?? '-'],
          empty: 'no events found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay audit list --limit 20', 'patchbay audit list --action load.completed --order asc --all --json');

  const tail = audit
    .command('tail')
    .description(
      'Show the newest events, newest last. With --follow, also show new events until Ctrl-C. With --json, print one JSON document per line.',
    )
    .option('-f, --follow', 'continue with new events')
    .option('-n, --lines <count>', 'number of events to start with', (text) => readInteger('lines', text, 0, listLimit), 10)
    .addOption(new Option('--type <type...>', 'only events about these types').choices(eventTypes))
    .action(({ follow, lines, type }, command) =>
      runOperatorCommand(command, async (context) => {
        const matches = ({ action }: Schemas['AuditEvent']) => type === undefined || type.some((name) => action.startsWith(`${name}.`));
        const { events, newest } = await readNewestEvents(context.client, lines, matches);
        for (const event of events) printEvent(context, event);
        if (!follow) return exitCodes.success;
        return streamAndPrintEvents(context, { after: newest, ...(type && { types: type }) }, matches);
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
      'Export the audit trail as lines of JSON, to verify it elsewhere. With --output, also write the newest checkpoint to FILE.checkpoint.',
    )
    .option('--output <file>', 'new file for the export (default: standard output)')
    .option('--after <number>', 'only events after this number, to continue an earlier export', (text) =>
      readInteger('after', text, 0, maxEventNumber),
    )
    .action(({ output, after }, command) =>
      runOperatorCommand(command, async ({ client, signal: stopped, isJson }) => {
        // Read first, so that the export contains every event of the checkpoint.
        const checkpoint = await readNewestCheckpoint(client);
        const lines = await serviceLines(client, after, stopped);
        if (output === undefined) {
          await writeLines(lines, process.stdout);
          return exitCodes.success;
        }
        await writeLines(lines, createOutputFile(output));
        const checkpointFile = `${output}.checkpoint`;
        if (checkpoint !== null) await writeLines([checkpoint.note.replace(/\n$/, '')], createOutputFile(checkpointFile));
        printResult({ isJson }, { file: output, checkpoint: checkpoint === null ? null : checkpointFile }, () => [
          `exported to ${output}${checkpoint === null ? '' : `, with a checkpoint of ${checkpoint.size} events in ${checkpointFile}`}`,
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
      'Show the newest checkpoint: the state of the audit trail, signed by the service. A checkpoint that you save elsewhere proves later that the trail was only extended.',
    )
    .option('--create', 'create a checkpoint of all current events')
    .action(({ create }, command) =>
      runOperatorCommand(command, async (context) => {
        const { client } = context;
        const checkpoint = create ? unwrapResponse(await client.POST('/v1/audit/checkpoints')) : await readNewestCheckpoint(client);
        if (checkpoint === null)
          throw new CommandError('there is no checkpoint yet: the service creates one every minute; to create one now, use --create');
        printResult(context, checkpoint, () => [checkpoint.note.replace(/\n$/, '')]);
        return exitCodes.success;
      }),
    );
  addExamples(complete, 'patchbay audit checkpoint > checkpoint.txt', 'patchbay audit checkpoint --create --json');
}

function addVerifyCommand(audit: Command): void {
  const complete = audit
    .command('verify')
    .argument('[files...]', 'consecutive exports, in order (default: the trail of the service)')
    .description(
      'Verify that the audit trail was not altered: the hash of each event links it to the event before, and a signed checkpoint covers the events. ' +
        'Files are verified without the service. Exit code 5: the trail was altered, or nothing is proven; the first invalid event is named.',
    )
    .option('--checkpoint <file...>', 'saved checkpoints (default: FILE.checkpoint of the first file, or the newest of the service)')
    .option(
      '--public-key <file...>',
      'trusted public keys in PEM; keys that they endorse in the trail are trusted too (default: the signing keys of the service)',
    )
    .option('--partial', 'accept an export that begins later than the trail')
    .action((files, { checkpoint, publicKey, partial = false }, command) =>
      runOperatorCommand(command, async (context) => {
        const { client, signal: stopped } = context;
        const { verifyExport } = await import('../../proof/audit-export.ts');
        const checkpoints = await readCheckpoints(client, files, checkpoint);
        const keys =
          publicKey === undefined && files.length === 0
            ? await readServiceKeys(client)
            : (publicKey ?? []).flatMap((file) => readTrustedKeys(file, '--public-key'));
        if (keys.length === 0 && checkpoints.length > 0)
          throw new UsageError('no public key to verify the checkpoint with: give the public key that you saved with --public-key');
        const lines = files.length === 0 ? await serviceLines(client, undefined, stopped) : fileLines(files);
        const verification = await verifyExport(lines, { checkpoints, keys, isPartial: partial });
        printResult(context, verification, () => formatVerification(verification, publicKey !== undefined));
        return verification.kind === 'intact' ? exitCodes.success : exitCodes.unhealthy;
      }),
    );
  addExamples(
    complete,
    'patchbay audit verify --public-key service.pem --checkpoint last-month.txt',
    'patchbay audit verify trail.ndjson --public-key service.pem',
  );
}

/** Returns the notes of the checkpoints to verify the trail with. */
async function readCheckpoints(client: Client, files: readonly string[], given: readonly string[] | undefined): Promise<string[]> {
  const [first] = files;
  if (first !== undefined) return readTexts(given ?? (existsSync(`${first}.checkpoint`) ? [`${first}.checkpoint`] : []));
  const newest = await readNewestCheckpoint(client);
  return [...readTexts(given ?? []), ...(newest === null ? [] : [newest.note])];
}

const readTexts = (files: readonly string[]) => files.map((file) => readInputFile(file, '--checkpoint').toString());

async function readNewestCheckpoint(client: Client): Promise<Schemas['Checkpoint'] | null> {
  const { items } = unwrapResponse(await client.GET('/v1/audit/checkpoints', { params: { query: { limit: 1 } } }));
  return items[0] ?? null;
}

/** Returns the signing keys that the service names, which nothing else confirms. */
async function readServiceKeys(client: Client): Promise<PublicKey[]> {
  const { items } = await readPages(allItems, async (query) => unwrapResponse(await client.GET('/v1/signing-keys', { params: { query } })));
  return items.map(({ keyId, publicKey }) => ({ keyId, pem: publicKey }));
}

/** Writes lines with backpressure; closes the output unless it is standard output. */
async function writeLines(lines: AsyncIterable<string> | Iterable<string>, output: Writable): Promise<void> {
  await pipeline(
    async function* () {
      for await (const line of lines) yield `${line}\n`;
    },
    output,
    { end: output !== process.stdout },
  );
}

/** Returns the newest events that match, oldest first, and the number of the newest of all events. */
async function readNewestEvents(
  client: Client,
  count: number,
  matches: (event: Schemas['AuditEvent']) => boolean,
): Promise<{ events: Schemas['AuditEvent'][]; newest: number }> {
  const found: Schemas['AuditEvent'][] = [];
  let newest = 0;
  for await (const event of iterateEvents(client)) {
    newest = Math.max(newest, event.number);
    if (found.length >= count || newest - event.number >= searchLimit) break;
    if (matches(event)) found.push(event);
  }
  return { events: found.toReversed(), newest };
}

/** Yields all events, newest first; only one page at a time is in memory. */
async function* iterateEvents(client: Client): AsyncGenerator<Schemas['AuditEvent']> {
  let cursor: string | null = null;
  do {
    const query: { limit: number; cursor?: string } = { limit: pageLimit, ...(cursor !== null && { cursor }) };
    const { items, next }: Schemas['AuditPage'] = unwrapResponse(await client.GET('/v1/audit', { params: { query } }));
    yield* items;
    cursor = next;
  } while (cursor !== null);
}
