// Loads are requested, waited for and summed up: what `load` and `rollback` have in common.

import console from 'node:console';
import { outcomeMeanings, outcomes } from '../client/choices.ts';
import { answerOf, type Client, type Schemas } from '../client/client.ts';
import { followEvents, newestEvent } from '../client/event-stream.ts';
import { StartError } from '../command-line.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { colouredOutcome } from '../terminal/colours.ts';
import { type Progress, ProgressBars } from '../terminal/progress.ts';
import { tableLines } from '../terminal/table.ts';
import { deviceNames } from './device-names.ts';
import { answer, type Operator } from './operator.ts';
import { everyItem, readPages } from './pages.ts';

/** Loads that did not succeed and are told one by one; `load list` has them all. */
const rowsTold = 100;

/** Loads of one version, requested and waited for together. */
export type Wave = { readonly name: string; readonly request: Schemas['NewLoads'] };
type AcceptedWave = { readonly name: string; readonly batch: string; readonly loads: readonly { readonly id: string }[] };
type Load = Schemas['Load'];

/**
 * Requests the loads of all waves, waits until each has its outcome, and tells what came of them.
 * @returns What the outcomes are for the exit code.
 */
export async function carryOut(operator: Operator, waves: readonly Wave[], isWaiting: boolean): Promise<ExitCode> {
  const { client, isJson, stopped } = operator;
  // Before anything is requested: whatever completes has a greater number.
  const after = isWaiting ? await newestEvent(client) : 0;
  const accepted: AcceptedWave[] = [];
  let loads: Load[];
  try {
    for (const { name, request } of waves) accepted.push({ name, ...answerOf(await client.POST('/v1/loads', { body: request })) });
    if (!isWaiting) return answerAccepted(operator, accepted);
    await waitFor(client, accepted, after, stopped);
    stopped.throwIfAborted();
    loads = await readLoads(client, accepted);
  } catch (error) {
    for (const { batch } of accepted) console.error(`not waiting any longer; the loads go on: patchbay load list --batch ${batch}`);
    throw error;
  }
  const lines = isJson ? [] : await summaryLines(client, loads);
  answer(operator, { batches: accepted.map(({ batch }) => batch), outcomes: countOutcomes(loads), loads }, () => lines);
  return exitCodeOf(loads);
}

function answerAccepted(operator: Operator, accepted: readonly AcceptedWave[]): ExitCode {
  const batches = accepted.map(({ batch, loads }) => ({ batch, loads }));
  answer(operator, { batches }, () =>
    accepted.map(({ name, batch, loads }) => `${name}: requested ${countText(loads.length)} as the batch ${batch}`),
  );
  return exitCodes.done;
}

const countText = (loads: number) => (loads === 1 ? '1 load' : `${loads} loads`);

/** Follows the events until each load has completed, and draws how far they are. */
async function waitFor(client: Client, waves: readonly AcceptedWave[], after: number, stopped: AbortSignal): Promise<void> {
  const waveOf = new Map(waves.flatMap((wave) => wave.loads.map(({ id }) => [id, wave] as const)));
  const progress = new Map(waves.map((wave) => [wave, { done: 0, unsuccessful: 0 }]));
  const draw = (): Progress[] =>
    [...progress].map(([{ name, loads }, { done, unsuccessful }]) => {
      return { name, done, total: loads.length, remark: unsuccessful === 0 ? '' : `${unsuccessful} without success` };
    });
  const bars = new ProgressBars();
  for (const { batch, loads } of waves) bars.say(`waiting for ${countText(loads.length)} of the batch ${batch}`);
  bars.update(draw());
  const onConnection = (isThere: boolean) =>
    bars.say(isThere ? 'the service is there again' : 'the service is away: the loads go on, and so does the wait when it is back');
  const following = { after, types: ['load'] as const, signal: stopped, wasThere: true, onConnection };
  for await (const { action, object, detail } of followEvents(client, following)) {
    const wave = action === 'load.completed' ? waveOf.get(object) : undefined;
    const counts = wave === undefined ? undefined : progress.get(wave);
    if (counts === undefined) continue;
    waveOf.delete(object);
    counts.done++;
    if (outcomes.some((outcome) => outcome === detail['outcome'] && outcomeMeanings[outcome] !== 'loaded')) counts.unsuccessful++;
    bars.update(draw());
    if (waveOf.size === 0) break;
  }
  bars.end(draw());
}

async function readLoads(client: Client, waves: readonly AcceptedWave[]): Promise<Load[]> {
  const lists = await Promise.all(
    waves.map(({ batch }) =>
      readPages(everyItem, async (page) => answerOf(await client.GET('/v1/loads', { params: { query: { ...page, batch } } }))),
    ),
  );
  const loads = lists.flatMap(({ items }) => items);
  if (loads.some(({ outcome }) => outcome === null)) throw new StartError('a load has no outcome although it was said to have completed');
  return loads;
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
    return [[colouredOutcome(outcome), some.length, sum(some, 'interrupted'), sum(some, 'retried'), sum(some, 'failed')]];
  });
  const lines = tableLines(['OUTCOME', 'LOADS', 'INTERRUPTED', 'RETRIED', 'FAILED'], rows);
  const unsuccessful = loads.filter(({ outcome }) => outcome !== null && outcomeMeanings[outcome] !== 'loaded');
  if (unsuccessful.length === 0) return lines;
  const names = await deviceNames(client);
  const told = unsuccessful.slice(0, rowsTold).map(({ id, device, outcome, reason }) => {
    return [id, names.get(device) ?? device, outcome === null ? '' : colouredOutcome(outcome), reason ?? ''];
  });
  const more = unsuccessful.length > rowsTold ? [`and ${unsuccessful.length - rowsTold} more: patchbay load list --batch BATCH --all`] : [];
  return [...lines, '', ...tableLines(['LOAD', 'DEVICE', 'OUTCOME', 'REASON'], told), ...more];
}

/** What failed counts before what was refused. */
function exitCodeOf(loads: readonly Load[]): ExitCode {
  const meanings = new Set(loads.map(({ outcome }) => outcome !== null && outcomeMeanings[outcome]));
  if (meanings.has('failed')) return exitCodes.loadsFailed;
  return meanings.has('refused') ? exitCodes.loadsRefused : exitCodes.done;
}
