// Follows one load until it ends, and prints each change of its progress.

import console from 'node:console';
import { setTimeout as delay } from 'node:timers/promises';
import { type Client, type Schemas, unwrapResponse } from '../../client/client.ts';
import { outcomeCategories } from '../../client/enum-values.ts';
import { WaitError } from '../errors.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { colourOutcome } from '../terminal/outcome-colours.ts';
import { formatTime } from '../terminal/times.ts';
import { formatHold } from './maintenance-windows.ts';
import type { CommandContext } from './operator.ts';

/** Interval between two requests, in milliseconds. */
const pollInterval = 500;
/** Maximum programs named in one line. */
const namedPrograms = 5;

/** Reads a load with its report. The return type is inferred, because the client omits members that can only be null. */
export async function readLoad(client: Client, id: string) {
  return unwrapResponse(await client.GET('/v1/loads/{load}', { params: { path: { load: id } } }));
}
export type LoadDetail = Awaited<ReturnType<typeof readLoad>>;

/** Prints the load whenever it changes, with `--json` as one line of JSON, until it ends. Returns the exit code for its outcome. */
export async function watchLoad({ client, isJson, signal }: CommandContext, id: string): Promise<ExitCode> {
  let printed = '';
  try {
    for (;;) {
      const load = await readLoad(client, id);
      signal.throwIfAborted();
      const text = isJson ? JSON.stringify(load) : formatProgress(load);
      if (text !== printed) console.log(text);
      printed = text;
      if (load.outcome !== null) return exitCodeOf(load.outcome);
      await delay(pollInterval, undefined, { signal });
    }
  } catch (error) {
    // The load may not exist if the first request failed.
    if (printed === '') throw error;
    throw new WaitError(error, `the load continues: patchbay load show ${id}`);
  }
}

function exitCodeOf(outcome: Schemas['LoadOutcome']): ExitCode {
  const category = outcomeCategories[outcome];
  if (category === 'succeeded') return exitCodes.success;
  return category === 'refused' ? exitCodes.loadsRefused : exitCodes.loadsFailed;
}

function formatProgress(load: LoadDetail): string {
  const { kind, module, version, state, outcome, reason, progress } = load;
  const name = `${kind === 'build' ? '' : `${kind} `}${module}@${version}`;
  if (outcome !== null) return `${name}  ${colourOutcome(outcome)}${reason === null ? '' : `: ${reason}`}`;
  return `${name}  ${progress ? formatDrain(progress) : (formatHold(load) ?? state)}`;
}

/** Returns the progress of a draining load in one line. */
export function formatDrain({ previousVersion, accesses, programs, since, requested }: Schemas['LoadProgress']): string {
  const named = programs.slice(0, namedPrograms).map(({ program, threads }) => `${program} ${threads}`);
  const more = programs.length > named.length ? [`${programs.length - named.length} more`] : [];
  const threads = named.length === 0 ? '' : ` (threads: ${[...named, ...more].join(', ')})`;
  const inside = `${accesses} ${accesses === 1 ? 'access' : 'accesses'} inside ${previousVersion}${threads}`;
  const asked = requested.length === 0 ? '' : `, requested: ${requested.join(', ')}`;
  return `draining since ${formatTime(since)}: ${inside}${asked}`;
}
