// Requests loads, waits for their outcomes, and summarizes them: shared by `load` and `rollback`.

import { setTimeout } from 'node:timers/promises';
import { type Client, ResponseError, type Schemas, unwrapResponse } from '../../client/client.ts';
import { outcomeCategories, outcomes } from '../../client/enum-values.ts';
import { type Connection, readNewestEventNumber, streamEvents } from '../../client/event-stream.ts';
import { CommandError, WaitError } from '../errors.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { describeConnection } from '../terminal/connection.ts';
import { colourOutcome } from '../terminal/outcome-colours.ts';
import { type Progress, ProgressBars } from '../terminal/progress.ts';
import { formatTable } from '../terminal/table.ts';
import { readDeviceNames } from './device-names.ts';
import { firstOpening } from './maintenance-windows.ts';
import { type CommandContext, printNote, printResult } from './operator.ts';
import { allItems, readPages } from './pages.ts';

/** Milliseconds between reads of a batch, if the key cannot read events. */
const pollInterval = 1_000;
/** Maximum number of unsuccessful loads that the summary lists; `load list` lists all. */
const rowLimit = 100;

type Accepted = Schemas['AcceptedLoads'];
type Load = Schemas['Load'];
/** What loads do, as messages name them. */
type Action = 'load' | 'unload';
/** What to wait for; `after` is the number of the last event before the request. */
type Wait = { readonly module: string; readonly action: Action; readonly after: number };

/**
 * Requests loads of a module, waits for their outcomes, and prints a summary.
 * @param request Sends the request, and returns the accepted loads. Its other members are printed with `--json`.
 * @param options Whether to wait for the outcomes, and what the loads do.
 * @returns The exit code for the outcomes.
 */
export async function requestLoads<Response extends Accepted>(
  context: CommandContext,
  module: string,
  request: () => Promise<Response>,
  { isWaiting, action = 'load' }: { readonly isWaiting: boolean; readonly action?: Action },
): Promise<ExitCode> {
  const { client, isJson, signal } = context;
  // Read before the request: every event about these loads has a greater number.
  const after = isWaiting ? await findNewestEventNumber(client) : null;
  const accepted = await request();
  noteHeld(context, accepted);
  const { batch, ...others } = accepted;
  if (!isWaiting) {
    printResult(context, accepted, () =>
      [...groupByVersion(accepted)].map(
        ([version, { length }]) => `requested ${countLoads(length, action)} of ${module}@${version} in batch ${batch}`,
      ),
    );
    return exitCodes.success;
  }
  let loads: Load[];
  try {
    if (after === null) await pollBatch(context, { module, action }, accepted);
    else await waitForLoads(context, { module, action, after }, accepted);
    signal.throwIfAborted();
    loads = await readLoads(client, batch);
  } catch (error) {
    throw new WaitError(error, `the loads continue: patchbay load list --batch ${batch}`);
  }
  const lines = isJson ? [] : await formatSummary(client, loads, batch);
  printResult(context, { ...others, batch, outcomes: countOutcomes(loads), loads }, () => lines);
  return exitCodeOf(loads);
}

/** Notes how many loads are held, and until when. */
function noteHeld(context: CommandContext, { loads, batch }: Accepted): void {
  const held = loads.filter((load) => load.held);
  if (held.length === 0) return;
  const first = firstOpening(held);
  const opens = first === null ? 'they do not open within 30 days' : `the first opens at ${first}`;
  printNote(
    context,
    `held, because the maintenance windows of their devices are closed: ${held.length} of ${loads.length} loads (${opens}); --override-maintenance-window sends loads at once, patchbay load-batch cancel ${batch} cancels them`,
  );
}

const groupByVersion = ({ loads }: Accepted) => Map.groupBy(loads, ({ version }) => version);

const countLoads = (count: number, action: Action) => (count === 1 ? `1 ${action}` : `${count} ${action}s`);

/** Follows the events until each load has completed, and draws the progress of each version. */
async function waitForLoads(
  { client, isJson, signal }: CommandContext,
  { module, action, after }: Wait,
  accepted: Accepted,
): Promise<void> {
  const versionOf = new Map(accepted.loads.map(({ id, version }) => [id, version]));
  const progress = new Map(
    [...groupByVersion(accepted)].map(([version, { length: total }]) => [version, { total, done: 0, unsuccessful: 0 }]),
  );
  const currentBars = (): Progress[] =>
    [...progress].map(([version, { total, done, unsuccessful }]) => {
      return { name: `${module}@${version}`, done, total, remark: unsuccessful === 0 ? '' : `${unsuccessful} unsuccessful` };
    });
  const bars = new ProgressBars(isJson);
  bars.log(`waiting for ${countLoads(accepted.loads.length, action)} in batch ${accepted.batch}`);
  bars.update(currentBars());
  const onConnection = (connection: Connection) => bars.log(describeConnection(connection, 'the loads continue; reconnecting'));
  const options = { after, types: ['load'] as const, signal, isExpected: true, onConnection };
  for await (const { action: event, object, detail } of streamEvents(client, options)) {
    const version = event === 'load.completed' ? versionOf.get(object) : undefined;
    const counts = version === undefined ? undefined : progress.get(version);
    if (counts === undefined) continue;
    versionOf.delete(object);
    counts.done++;
    if (outcomes.some((outcome) => outcome === detail['outcome'] && outcomeCategories[outcome] !== 'succeeded')) counts.unsuccessful++;
    bars.update(currentBars());
    if (versionOf.size === 0) break;
  }
  bars.finish(currentBars());
}

/** Returns the number of the newest event; null for a key with a scope, which cannot read events. */
async function findNewestEventNumber(client: Client): Promise<number | null> {
  try {
    return await readNewestEventNumber(client);
  } catch (error) {
    if (error instanceof ResponseError && error.problem?.type === 'urn:patchbay:problem:out-of-scope') return null;
    throw error;
  }
}

/** Reads a batch until each load has completed, and draws their progress. */
async function pollBatch(
  { client, isJson, signal }: CommandContext,
  { module, action }: Omit<Wait, 'after'>,
  accepted: Accepted,
): Promise<void> {
  const { batch } = accepted;
  const bars = new ProgressBars(isJson);
  bars.log(`waiting for ${countLoads(accepted.loads.length, action)} in batch ${batch}`);
  for (let isDone = false; !isDone; ) {
    const {
      loads,
      states,
      outcomes: counts,
    } = unwrapResponse(await client.GET('/v1/load-batches/{batch}', { params: { path: { batch } } }));
    const unsuccessful = outcomes.reduce(
      (sum, outcome) => sum + (outcomeCategories[outcome] === 'succeeded' ? 0 : (counts[outcome] ?? 0)),
      0,
    );
    const progress = [
      { name: module, done: states.completed, total: loads, remark: unsuccessful === 0 ? '' : `${unsuccessful} unsuccessful` },
    ];
    isDone = states.completed === loads;
    if (isDone) bars.finish(progress);
    else {
      bars.update(progress);
      await setTimeout(pollInterval, undefined, { signal });
    }
  }
}

async function readLoads(client: Client, batch: string): Promise<Load[]> {
  const { items } = await readPages(allItems, async (page) =>
    unwrapResponse(await client.GET('/v1/loads', { params: { query: { ...page, batch } } })),
  );
  const pending = items.find(({ outcome }) => outcome === null);
  if (pending !== undefined) throw new CommandError(`the load ${pending.id} has no outcome, although the service reported its completion`);
  return items;
}

function countOutcomes(loads: readonly Load[]): Record<string, number> {
  return Object.fromEntries([...Map.groupBy(loads, ({ outcome }) => outcome ?? '')].map(([outcome, { length }]) => [outcome, length]));
}

async function formatSummary(client: Client, loads: readonly Load[], batch: string): Promise<string[]> {
  const sum = (group: readonly Load[], count: 'interrupted' | 'retried' | 'failed') =>
    group.reduce((total, load) => total + (load[count] ?? 0), 0);
  const rows = outcomes.flatMap((outcome) => {
    const group = loads.filter((load) => load.outcome === outcome);
    if (group.length === 0) return [];
    return [[colourOutcome(outcome), group.length, sum(group, 'interrupted'), sum(group, 'retried'), sum(group, 'failed')]];
  });
  const lines = formatTable(['OUTCOME', 'LOADS', 'INTERRUPTED', 'RETRIED', 'FAILED'], rows);
  const unsuccessful = loads.filter(({ outcome }) => outcome !== null && outcomeCategories[outcome] !== 'succeeded');
  if (unsuccessful.length === 0) return lines;
  const names = await readDeviceNames(client);
  const listed = unsuccessful.slice(0, rowLimit).map(({ id, device, outcome, reason }) => {
    return [id, names.get(device) ?? device, outcome === null ? '' : colourOutcome(outcome), reason ?? ''];
  });
  const more =
    unsuccessful.length > rowLimit ? [`and ${unsuccessful.length - rowLimit} more: patchbay load list --batch ${batch} --all`] : [];
  return [...lines, '', ...formatTable(['LOAD', 'DEVICE', 'OUTCOME', 'REASON'], listed), ...more];
}

/** Returns the exit code for outcomes: failed loads take precedence over refused loads. */
function exitCodeOf(loads: readonly Load[]): ExitCode {
  const categories = new Set(loads.map(({ outcome }) => outcome !== null && outcomeCategories[outcome]));
  if (categories.has('failed')) return exitCodes.loadsFailed;
  return categories.has('refused') ? exitCodes.loadsRefused : exitCodes.success;
}
