// Loads are requested, waited for and summed up: what `load` and `rollback` have in common.

import console from 'node:console';
import { type Client, type Schemas, unwrapResponse } from '../../client/client.ts';
import { outcomeCategories, outcomes } from '../../client/enum-values.ts';
import { type Connection, readNewestEventNumber, streamEvents } from '../../client/event-stream.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { CommandError } from '../option-values.ts';
import { colourOutcome } from '../terminal/colours.ts';
import { describeConnection } from '../terminal/connection.ts';
import { type Progress, ProgressBars } from '../terminal/progress.ts';
import { formatTable } from '../terminal/table.ts';
import { readDeviceNames } from './device-names.ts';
import { type CommandContext, printResult } from './operator.ts';
import { allItems, readPages } from './pages.ts';

/** Loads that did not succeed and are told one by one; `load list` has them all. */
const rowsTold = 100;

type Accepted = Schemas['AcceptedLoads'];
type Load = Schemas['Load'];

/**
 * Requests loads of a module, waits until each has its outcome, and tells what came of them.
 * @param request Asks for them, and answers what was accepted.
 * @returns What the outcomes are for the exit code.
 */
export async function requestLoads(
  operator: CommandContext,
  module: string,
  request: () => Promise<Accepted>,
  isWaiting: boolean,
): Promise<ExitCode> {
  const { client, isJson, signal: stopped } = operator;
  // Before anything is requested: whatever completes has a greater number.
  const after = isWaiting ? await readNewestEventNumber(client) : 0;
  const accepted = await request();
  const { batch } = accepted;
  if (!isWaiting) {
    printResult(operator, accepted, () =>
      [...byVersion(accepted)].map(([version, some]) => `${module}@${version}: requested ${countText(some.length)} as the batch ${batch}`),
    );
    return exitCodes.success;
  }
  let loads: Load[];
  try {
    await waitFor(client, module, accepted, after, stopped);
    stopped.throwIfAborted();
    loads = await readLoads(client, batch);
  } catch (error) {
    console.error(`not waiting any longer; the loads go on: patchbay load list --batch ${batch}`);
    throw error;
  }
  const lines = isJson ? [] : await summaryLines(client, loads);
  printResult(operator, { batch, outcomes: countOutcomes(loads), loads }, () => lines);
  return exitCodeOf(loads);
}

const byVersion = ({ loads }: Accepted) => Map.groupBy(loads, ({ version }) => version);

const countText = (loads: number) => (loads === 1 ? '1 load' : `${loads} loads`);

/** Follows the events until each load has completed, and draws how far those of each version are. */
async function waitFor(client: Client, module: string, accepted: Accepted, after: number, stopped: AbortSignal): Promise<void> {
  const versionOf = new Map(accepted.loads.map(({ id, version }) => [id, version]));
  const progress = new Map([...byVersion(accepted)].map(([version, { length: total }]) => [version, { total, done: 0, unsuccessful: 0 }]));
  const draw = (): Progress[] =>
    [...progress].map(([version, { total, done, unsuccessful }]) => {
      return { name: `${module}@${version}`, done, total, remark: unsuccessful === 0 ? '' : `${unsuccessful} without success` };
    });
  const bars = new ProgressBars();
  bars.log(`waiting for ${countText(accepted.loads.length)} of the batch ${accepted.batch}`);
  bars.update(draw());
  const onConnection = (connection: Connection) =>
    bars.log(describeConnection(connection, 'the loads go on, and so does the wait when it is back'));
  const following = { after, types: ['load'] as const, signal: stopped, wasThere: true, onConnection };
  for await (const { action, object, detail } of streamEvents(client, following)) {
    const version = action === 'load.completed' ? versionOf.get(object) : undefined;
    const counts = version === undefined ? undefined : progress.get(version);
    if (counts === undefined) continue;
    versionOf.delete(object);
    counts.done++;
    if (outcomes.some((outcome) => outcome === detail['outcome'] && outcomeCategories[outcome] !== 'loaded')) counts.unsuccessful++;
    bars.update(draw());
    if (versionOf.size === 0) break;
  }
  bars.finish(draw());
}

async function readLoads(client: Client, batch: string): Promise<Load[]> {
  const { items } = await readPages(allItems, async (page) =>
    unwrapResponse(await client.GET('/v1/loads', { params: { query: { ...page, batch } } })),
  );
  if (items.some(({ outcome }) => outcome === null)) throw new CommandError('a load has no outcome although it was said to have completed');
  return items;
}

function countOutcomes(loads: readonly Load[]): Record<string, number> {
  return Object.fromEntries([...Map.groupBy(loads, ({ outcome }) => outcome ?? '')].map(([outcome, some]) => [outcome, some.length]));
}

async function summaryLines(client: Client, loads: readonly Load[]): Promise<string[]> {
  const sum = (some: readonly Load[], count: 'interrupted' | 'retried' | 'failed') =>
    some.reduce((total, load) => total + (load[count] ?? 0), 0);
  const rows = outcomes.flatMap((outcome) => {
    const some = loads.filter((load) => load.outcome === outcome);
    if (some.length === 0) return [];
    return [[colourOutcome(outcome), some.length, sum(some, 'interrupted'), sum(some, 'retried'), sum(some, 'failed')]];
  });
  const lines = formatTable(['OUTCOME', 'LOADS', 'INTERRUPTED', 'RETRIED', 'FAILED'], rows);
  const unsuccessful = loads.filter(({ outcome }) => outcome !== null && outcomeCategories[outcome] !== 'loaded');
  if (unsuccessful.length === 0) return lines;
  const names = await readDeviceNames(client);
  const told = unsuccessful.slice(0, rowsTold).map(({ id, device, outcome, reason }) => {
    return [id, names.get(device) ?? device, outcome === null ? '' : colourOutcome(outcome), reason ?? ''];
  });
  const more = unsuccessful.length > rowsTold ? [`and ${unsuccessful.length - rowsTold} more: patchbay load list --batch BATCH --all`] : [];
  return [...lines, '', ...formatTable(['LOAD', 'DEVICE', 'OUTCOME', 'REASON'], told), ...more];
}

/** What failed counts before what was refused. */
function exitCodeOf(loads: readonly Load[]): ExitCode {
  const meanings = new Set(loads.map(({ outcome }) => outcome !== null && outcomeCategories[outcome]));
  if (meanings.has('failed')) return exitCodes.loadsFailed;
  return meanings.has('refused') ? exitCodes.loadsRefused : exitCodes.success;
}
