// `patchbay program`: programs are started, stopped, listed and measured.

import console from 'node:console';
import { setTimeout } from 'node:timers/promises';
import { type Command, Option } from '@commander-js/extra-typings';
import { type Client, type Schemas, unwrapResponse } from '../../client/client.ts';
import { addressings, recoveries } from '../../client/enum-values.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { resolveDeviceId } from '../operator/device-names.ts';
import { type CommandContext, printResult, runOperatorCommand } from '../operator/operator.ts';
import { allItems, allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { readInteger, UsageError } from '../option-values.ts';
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
    .description('Stop a program on a device, whatever its threads are inside of.')
    .action((given, id, _options, command) =>
      runOperatorCommand(command, async (operator) => {
        if (!id.startsWith('prg_'))
          throw new UsageError(`"${id}" is not the identifier of a program (prg_…): "patchbay program list ${given}" shows identifiers`);
        const path = { device: await resolveDeviceId(operator.client, given), program: id };
        const stopping = unwrapResponse(await operator.client.POST('/v1/devices/{device}/programs/{program}/stop', { params: { path } }));
        printResult(operator, stopping, () => [`${stopping.id} is ${stopping.state}`]);
        return exitCodes.success;
      }),
    );
  addExamples(stop, 'patchbay program stop rack-1-3 prg_019365a1c0de7b1e9d2f4c6a8b0d1e2f');
  const list = program
    .command('list <device>')
    .description('List the programs of a device, the newest first.')
    .addOption(limitOption())
    .addOption(allOption())
    .action((given, options, command) =>
      runOperatorCommand(command, async (operator) => {
        const path = { device: await resolveDeviceId(operator.client, given) };
        const programs = await readPages(options, async (query) =>
          unwrapResponse(await operator.client.GET('/v1/devices/{device}/programs', { params: { path, query } })),
        );
        printList(operator, programs, {
          headings: ['PROGRAM', 'NAME', 'STATE', 'CALLS', 'THREADS', 'STARTED', 'FAILURE'],
          row: (one) => [
            one.id,
            one.name,
            stateText(one.state),
            `${one.module}.${one.export}(${one.arguments.join(', ')})`,
            one.threads,
            formatTime(one.createdAt),
            one.failure ?? '',
          ],
          none: 'there are no programs on this device',
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
    .description('Start threads on a device that call an export of a module again and again, with these numbers as its arguments.')
    .requiredOption('--module <name>', 'the module')
    .requiredOption('--export <name>', 'its export')
    .option('--name <name>', 'name of the program')
    .option('--threads <count>', 'threads that call it', (text) => readInteger('threads', text, 1, 10_000), 1)
    .option('--calls <count>', 'calls of each thread (default: until the program is stopped)', (text) =>
      readInteger('calls', text, 1, Number.MAX_SAFE_INTEGER),
    )
    .option('--pause <milliseconds>', 'pause after each call', (text) => readInteger('pause', text, 0, Number.MAX_SAFE_INTEGER), 0)
    .addOption(
      new Option('--recovery <recovery>', 'what retries where an error is injected: the access itself, or with percolate the whole call')
        .choices(recoveries)
        .default('module' as const),
    )
    .addOption(
      new Option('--addressing <addressing>', 'find the module through its table at every call, or keep its address, which is the ABI test')
        .choices(addressings)
        .default('via-table' as const),
    )
    .option(
      '--deadline <milliseconds>',
      'how long one call may take, up to an hour; a longer call fails, and taints the image that it was in (default: no deadline)',
      (text) => readInteger('deadline', text, 1, 3_600_000),
    )
    .action((given, values, { module, export: exported, name, threads, calls, pause, recovery, addressing, deadline }, command) =>
      runOperatorCommand(command, async (operator) => {
        for (const value of values) {
          if (value.trim() === '' || Number.isNaN(Number(value))) throw new UsageError(`the argument "${value}" is not a number`);
        }
        const path = { device: await resolveDeviceId(operator.client, given) };
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
        const started = unwrapResponse(await operator.client.POST('/v1/devices/{device}/programs', { params: { path }, body }));
        printResult(operator, started, () => [`${started.id} is ${started.state}: ${started.name} on ${given}`]);
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
      'Show what programs have done: calls completed and failed, faults, accesses interrupted and retried, and of each version that served them how many failed and how long they took.',
    )
    .option('--watch', 'show it again and again, until Ctrl-C')
    .option('--interval <seconds>', 'how often, with --watch', (text) => readInteger('interval', text, 1, 3_600), 1)
    .action((given, id, { watch, interval }, command) =>
      runOperatorCommand(command, async (operator) => {
        const device = await resolveDeviceId(operator.client, given);
        const read = () => readPrograms(operator.client, device, id);
        if (watch) return watchPrograms(operator, read, interval * 1_000);
        const items = await read();
        printResult(operator, { items }, () => statisticsLines(items));
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
  const ask = async (query: { limit: number }) =>
    unwrapResponse(await client.GET('/v1/devices/{device}/programs', { params: { path, query } }));
  return (await readPages(allItems, ask)).items;
}

/** Shows them again and again: over what was shown before on a terminal, one below the other elsewhere. */
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
      console.log([`${new Date().toISOString()}`, ...statisticsLines(items), ''].join('\n'));
    }
    await setTimeout(interval, undefined, { signal: stopped }).catch(() => {});
  }
}

function statisticsLines(programs: readonly Program[]): string[] {
  if (programs.length === 0) return ['there are no programs on this device'];
  const totals = formatTable(
    ['NAME', 'STATE', 'COMPLETED', 'FAILED', 'FAULTS', 'INTERRUPTED', 'RETRIED', 'VERSIONS', 'LAST FAILURE'],
    programs.map(({ name, state, statistics }) =>
      statistics === null
        ? [name, stateText(state), '-', '-', '-', '-', '-', '-', '']
        : [
            name,
            stateText(state),
            statistics.callsCompleted,
            failureCount(statistics.callsFailed),
            failureCount(statistics.faults),
            statistics.accessesInterrupted,
            statistics.accessesRetried,
            versionMix(statistics.versions),
            statistics.lastFailure ?? '',
          ],
    ),
  );
  const versions = versionRows(programs);
  if (versions.length === 0) return totals;
  return [...totals, '', ...formatTable(['NAME', 'VERSION', 'COMPLETED', 'FAILED', 'P50', 'P99', 'LONGEST'], versions)];
}

/** What came of the calls that each version has served, and how long half of them, all but a hundredth, and all took at most. */
function versionRows(programs: readonly Program[]): (string | number)[][] {
  return programs.flatMap(({ name, statistics }) =>
    (statistics?.versions ?? []).map(({ version, callsCompleted, callsFailed, latency }) => [
      name,
      version === '' ? '-' : version,
      callsCompleted,
      failureCount(callsFailed),
      formatDuration(latency?.p50Microseconds),
      formatDuration(latency?.p99Microseconds),
      formatDuration(latency?.maximumMicroseconds),
    ]),
  );
}

const failureCount = (count: number) => (count === 0 ? 0 : colour('red', String(count)));

/** Returns the share of the completed calls that each version has. */
function versionMix(versions: NonNullable<Program['statistics']>['versions']): string {
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
const stateText = (state: Program['state']) => colour(stateColours[state], state);
