// `patchbay program`: starts, stops, lists and measures programs.

import console from 'node:console';
import { setTimeout } from 'node:timers/promises';
import { type Command, Option } from '@commander-js/extra-typings';
import { type Client, type Schemas, unwrapResponse } from '../../client/client.ts';
import { addressings, recoveries } from '../../client/enum-values.ts';
import { UsageError } from '../errors.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { resolveDeviceId } from '../operator/device-names.ts';
import { type CommandContext, printResult, runOperatorCommand } from '../operator/operator.ts';
import { allItems, allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { readInteger } from '../option-values.ts';
import { colour } from '../terminal/colours.ts';
import { formatPercent } from '../terminal/percent.ts';
import { formatTable } from '../terminal/table.ts';
import { formatDuration, formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

type Program = Schemas['Program'];

export function addProgramCommands(program: Command): void {
  addStartCommand(program);
  const stop = program
    .command('stop <device> <program>')
    .description('Stop a program on a device, even if its threads are inside a module.')
    .action((nameOrId, id, _options, command) =>
      runOperatorCommand(command, async (context) => {
        if (!id.startsWith('prg_'))
          throw new UsageError(
            `expected the identifier of a program (prg_…), received "${id}": "patchbay program list ${nameOrId}" lists programs`,
          );
        const path = { device: await resolveDeviceId(context.client, nameOrId), program: id };
        const stopping = unwrapResponse(await context.client.POST('/v1/devices/{device}/programs/{program}/stop', { params: { path } }));
        printResult(context, stopping, () => [`${stopping.id} is ${stopping.state}`]);
        return exitCodes.success;
      }),
    );
  addExamples(stop, 'patchbay program stop rack-1-3 prg_019365a1c0de7b1e9d2f4c6a8b0d1e2f');
  const list = program
    .command('list <device>')
    .description('List the programs of a device, newest first.')
    .addOption(limitOption())
    .addOption(allOption())
    .action((nameOrId, options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { device: await resolveDeviceId(context.client, nameOrId) };
        const programs = await readPages(options, async (query) =>
          unwrapResponse(await context.client.GET('/v1/devices/{device}/programs', { params: { path, query } })),
        );
        printList(context, programs, {
          headings: ['PROGRAM', 'NAME', 'STATE', 'CALLS', 'THREADS', 'STARTED', 'FAILURE'],
          row: (item) => [
            item.id,
            item.name,
            formatState(item.state),
            `${item.module}.${item.export}(${item.arguments.join(', ')})`,
            item.threads,
            formatTime(item.createdAt),
            item.failure ?? '',
          ],
          empty: 'no programs on this device',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay program list rack-1-3');
  addStatsCommand(program);
}

function addStartCommand(program: Command): void {
  const start = program
    .command('start <device> [arguments...]')
    .description('Start a program: threads on a device that call an export of a module repeatedly, with these numbers as arguments.')
    .requiredOption('--module <name>', 'the module')
    .requiredOption('--export <name>', 'export of the module')
    .option('--name <name>', 'name of the program (default: MODULE.EXPORT)')
    .option('--threads <count>', 'number of threads', (text) => readInteger('threads', text, 1, 10_000), 1)
    .option('--calls <count>', 'calls per thread (default: until the program is stopped)', (text) =>
      readInteger('calls', text, 1, Number.MAX_SAFE_INTEGER),
    )
    .option('--pause <milliseconds>', 'pause after each call', (text) => readInteger('pause', text, 0, Number.MAX_SAFE_INTEGER), 0)
    .addOption(
      new Option('--recovery <recovery>', 'what is retried after an injected error: the access (module) or the whole call (percolate)')
        .choices(recoveries)
        .default('module' as const),
    )
    .addOption(
      new Option('--addressing <addressing>', 'look the module up in the module table at every call, or keep its address (for ABI tests)')
        .choices(addressings)
        .default('via-table' as const),
    )
    .option(
      '--deadline <milliseconds>',
      'maximum duration of a call, up to an hour; a longer call fails and taints the image that it is in (default: no deadline)',
      (text) => readInteger('deadline', text, 1, 3_600_000),
    )
    .action((nameOrId, values, { module, export: exported, name, threads, calls, pause, recovery, addressing, deadline }, command) =>
      runOperatorCommand(command, async (context) => {
        for (const value of values) {
          if (value.trim() === '' || Number.isNaN(Number(value)))
            throw new UsageError(`expected a number as argument, received "${value}"`);
        }
        const path = { device: await resolveDeviceId(context.client, nameOrId) };
        const body = {
          ...(name && { name }),
          module,
          export: exported,
          arguments: values,
          threads,
          calls: calls ?? null,
          pauseMilliseconds: pause,
          recovery,
          addressing,
          deadlineMilliseconds: deadline ?? null,
        };
        const started = unwrapResponse(await context.client.POST('/v1/devices/{device}/programs', { params: { path }, body }));
        printResult(context, started, () => [`${started.id} is ${started.state}: ${started.name} on ${nameOrId}`]);
        return exitCodes.success;
      }),
    );
  addExamples(
    start,
    'patchbay program start rack-1-3 1480 1 --module tcp --export checksum --threads 4',
    'patchbay program start rack-1-3 1480 1 --module tcp --export checksum --calls 1000 --pause 5 --json',
    'patchbay program start rack-1-3 1480 1 --module tcp --export checksum --name abi-test --addressing hard-coded --pause 100',
    'patchbay program start rack-1-3 1480 1 --module tcp --export checksum --recovery percolate --deadline 2000',
  );
}

function addStatsCommand(program: Command): void {
  const stats = program
    .command('stats <device> [program]')
    .description(
      'Show statistics of programs: completed and failed calls, faults, interrupted and retried accesses; and for each version its calls, failures and latency.',
    )
    .option('--watch', 'repeat until Ctrl-C')
    .option('--interval <seconds>', 'with --watch: seconds between updates', (text) => readInteger('interval', text, 1, 3_600), 1)
    .action((nameOrId, id, { watch, interval }, command) =>
      runOperatorCommand(command, async (context) => {
        const device = await resolveDeviceId(context.client, nameOrId);
        const read = () => readPrograms(context.client, device, id);
        if (watch) return watchPrograms(context, read, interval * 1_000);
        const items = await read();
        printResult(context, { items }, () => formatStatistics(items));
        return exitCodes.success;
      }),
    );
  addExamples(
    stats,
    'patchbay program stats rack-1-3',
    'patchbay program stats rack-1-3 prg_019365a1c0de7b1e9d2f4c6a8b0d1e2f --watch --interval 5 --json',
  );
}

async function readPrograms(client: Client, device: string, program: string | undefined): Promise<readonly Program[]> {
  if (program !== undefined)
    return [unwrapResponse(await client.GET('/v1/devices/{device}/programs/{program}', { params: { path: { device, program } } }))];
  const path = { device };
  const readPage = async (query: { limit: number }) =>
    unwrapResponse(await client.GET('/v1/devices/{device}/programs', { params: { path, query } }));
  return (await readPages(allItems, readPage)).items;
}

/** Prints the statistics at intervals: on a terminal over the previous output, elsewhere below it. */
async function watchPrograms(
  { isJson, signal: stopped }: CommandContext,
  read: () => Promise<readonly Program[]>,
  interval: number,
): Promise<ExitCode> {
  for (;;) {
    const items = await read().catch((error) => {
      if (stopped.aborted) return null;
      throw error;
    });
    if (items === null || stopped.aborted) return exitCodes.success;
    if (isJson) console.log(JSON.stringify({ at: new Date().toISOString(), items }));
    else {
      if (process.stdout.isTTY) console.clear();
      console.log([`${new Date().toISOString()}`, ...formatStatistics(items), ''].join('\n'));
    }
    await setTimeout(interval, undefined, { signal: stopped }).catch(() => {});
  }
}

function formatStatistics(programs: readonly Program[]): string[] {
  if (programs.length === 0) return ['no programs on this device'];
  const totals = formatTable(
    ['NAME', 'STATE', 'COMPLETED', 'FAILED', 'FAULTS', 'INTERRUPTED', 'RETRIED', 'VERSIONS', 'LAST FAILURE'],
    programs.map(({ name, state, statistics }) =>
      statistics === null
        ? [name, formatState(state), '-', '-', '-', '-', '-', '-', '']
        : [
            name,
            formatState(state),
            statistics.callsCompleted,
            formatFailures(statistics.callsFailed),
            formatFailures(statistics.faults),
            statistics.accessesInterrupted,
            statistics.accessesRetried,
            formatVersionShares(statistics.versions),
            statistics.lastFailure ?? '',
          ],
    ),
  );
  const versions = versionRows(programs);
  if (versions.length === 0) return totals;
  return [...totals, '', ...formatTable(['NAME', 'VERSION', 'COMPLETED', 'FAILED', 'P50', 'P99', 'MAX'], versions)];
}

/** Returns a row per program and version: its calls, and their latency. */
function versionRows(programs: readonly Program[]): (string | number)[][] {
  return programs.flatMap(({ name, statistics }) =>
    (statistics?.versions ?? []).map(({ version, callsCompleted, callsFailed, latency }) => [
      name,
      version === '' ? '-' : version,
      callsCompleted,
      formatFailures(callsFailed),
      formatDuration(latency?.p50Microseconds),
      formatDuration(latency?.p99Microseconds),
      formatDuration(latency?.maximumMicroseconds),
    ]),
  );
}

const formatFailures = (count: number) => (count === 0 ? 0 : colour('red', String(count)));

/** Returns the share of each version in the completed calls. */
function formatVersionShares(versions: NonNullable<Program['statistics']>['versions']): string {
  const total = versions.reduce((sum, { callsCompleted }) => sum + callsCompleted, 0);
  return versions
    .filter(({ callsCompleted }) => callsCompleted > 0)
    .map(({ version, callsCompleted }) => `${version} ${formatPercent(callsCompleted, total)}`)
    .join(', ');
}

const stateColours = {
  starting: 'yellow',
  running: 'green',
  stopping: 'yellow',
  finished: 'green',
  stopped: 'dim',
  failed: 'red',
} as const;
const formatState = (state: Program['state']) => colour(stateColours[state], state);
