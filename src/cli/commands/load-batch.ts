// `patchbay load-batch`: lists, shows, cancels and retries the loads of one request for several devices.

import type { Command } from '@commander-js/extra-typings';
import { type Schemas, unwrapResponse } from '../../client/client.ts';
import { outcomes as loadOutcomes } from '../../client/enum-values.ts';
import { exitCodes } from '../exit-codes.ts';
import { formatPolicy } from '../operator/load-options.ts';
import { requestLoads } from '../operator/load-requests.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { formatUnreachableDevices } from '../operator/unreachable-choice.ts';
import { formatLabels } from '../terminal/labels.ts';
import { colourOutcome } from '../terminal/outcome-colours.ts';
import { formatTable } from '../terminal/table.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';
import { loadExitCodesText } from './load.ts';

type Batch = Schemas['LoadBatch'];
type Detail = Schemas['LoadBatchDetail'];

const exampleBatch = 'bat_019365a1c0de7b1e9d2f4c6a8b0d1e2f';

export function addLoadBatchCommands(batch: Command): void {
  addListCommand(batch);
  addShowCommand(batch);
  addCancelCommand(batch);
  addRetryCommand(batch);
}

function addListCommand(batch: Command): void {
  const list = batch
    .command('list')
    .description('List the requests for loads on several devices, newest first.')
    .option('--module <name>', 'only batches of this module, or of the patch set with this name')
    .option('--version <version>', 'only batches whose loads all have this version')
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ module, version, ...options }, command) =>
      runOperatorCommand(command, async (context) => {
        const filter = { ...(module && { module }), ...(version && { version }) };
        const batches = await readPages(options, async (page) =>
          unwrapResponse(await context.client.GET('/v1/load-batches', { params: { query: { ...page, ...filter } } })),
        );
        printList(context, batches, {
          headings: ['BATCH', 'KIND', 'CONTENT', 'LOADS', 'DEVICES', 'REQUESTED', 'REQUESTER'],
          row: (item) => [
            item.id,
            formatKind(item),
            formatContent(item),
            item.loads,
            formatSelection(item),
            formatTime(item.requestedAt),
            item.requestedBy ?? '-',
          ],
          empty: 'no batches found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay load-batch list', 'patchbay load-batch list --module tcp --version 1.1.0 --all --json');
}

function addShowCommand(batch: Command): void {
  const show = batch
    .command('show <batch>')
    .description('Show what was requested, and the number of loads in each state and with each outcome.')
    .action((id, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const params = { path: { batch: id } };
        const detail = unwrapResponse(await context.client.GET('/v1/load-batches/{batch}', { params }));
        printResult(context, detail, () => formatBatch(detail));
        return exitCodes.success;
      }),
    );
  addExamples(show, `patchbay load-batch show ${exampleBatch}`);
}

function addCancelCommand(batch: Command): void {
  const cancel = batch
    .command('cancel <batch>')
    .description('Cancel the loads of a batch that were not sent to their hosts yet. The others continue.')
    .action((id, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const params = { path: { batch: id } };
        const detail = unwrapResponse(await context.client.POST('/v1/load-batches/{batch}/cancel', { params }));
        printResult(context, detail, () => formatBatch(detail));
        return exitCodes.success;
      }),
    );
  addExamples(cancel, `patchbay load-batch cancel ${exampleBatch}`);
}

function addRetryCommand(batch: Command): void {
  const retry = batch
    .command('retry <batch>')
    .description('Repeat the loads of a batch that failed, expired or were refused, as a new batch, and wait for the outcomes.')
    .option('--no-wait', 'do not wait for the outcomes')
    .addHelpText('after', loadExitCodesText)
    .action((id, { wait }, command) =>
      runOperatorCommand(command, async (context) => {
        const params = { path: { batch: id } };
        const { module } = unwrapResponse(await context.client.GET('/v1/load-batches/{batch}', { params }));
        const request = async () => unwrapResponse(await context.client.POST('/v1/load-batches/{batch}/retry', { params }));
        return requestLoads(context, module, request, { isWaiting: wait });
      }),
    );
  addExamples(retry, `patchbay load-batch retry ${exampleBatch}`);
}

const formatKind = ({ kind, rollback }: Batch) => (rollback ? `${kind} (rollback)` : kind);
const formatContent = ({ module, version }: Batch) => (version === null ? module : `${module}@${version}`);

function formatSelection({ selection, retryOf }: Batch): string {
  if (retryOf !== null) return `failed in ${retryOf}`;
  if (selection === null) return '-';
  const { labels, selector, group } = selection;
  const parts = [labels === null ? '' : formatLabels(labels), selector ?? '', group === null ? '' : `group ${group}`];
  return parts.filter((part) => part !== '').join(', ') || 'named';
}

function formatBatch(batch: Detail): string[] {
  const { id, kind, states, outcomes, loads, rollout, requestedAt, requestedBy, deadlineAt } = batch;
  const unreachable = formatUnreachableDevices(batch.unreachableDevices);
  const counts = loadOutcomes.flatMap((outcome) => {
    const count = outcomes[outcome];
    return count === undefined ? [] : [[colourOutcome(outcome), count]];
  });
  return [
    `${id}  ${formatKind(batch)} ${formatContent(batch)}`,
    `devices    ${loads}, selected by: ${formatSelection(batch)}`,
    ...(unreachable === null ? [] : [`unreachable ${unreachable}`]),
    `requester  ${requestedBy ?? '-'}`,
    `time       requested ${requestedAt}, deadline ${deadlineAt ?? '-'}`,
    ...(kind === 'unload' ? [`policy     ${batch.strategy}, ${batch.invalidation}`] : [`policy     ${formatPolicy(batch)}`]),
    ...(rollout === null ? [] : [`rollout    ${rollout}`]),
    `loads      ${states.queued} queued, ${states.dispatched} dispatched, ${states.completed} completed`,
    ...(counts.length === 0 ? [] : ['', ...formatTable(['OUTCOME', 'LOADS'], counts)]),
  ];
}
