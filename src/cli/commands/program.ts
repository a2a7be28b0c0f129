// `patchbay program`: programs are started, stopped, listed and measured.

import console from 'node:console';
import { setTimeout } from 'node:timers/promises';
import { type Command, Option } from '@commander-js/extra-typings';
import { addressings, recoveries } from '../../client/choices.ts';
import { answerOf, type Client, type Schemas } from '../../client/client.ts';
import { readInteger, UsageError } from '../command-line.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { deviceId } from '../operator/device-names.ts';
import { answer, type Operator, operate } from '../operator/operator.ts';
import { allOption, answerList, everyItem, limitOption, readPages } from '../operator/pages.ts';
import { coloured } from '../terminal/colours.ts';
import { percentText } from '../terminal/percent.ts';
import { tableLines } from '../terminal/table.ts';
import { durationText, timeText } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

type Program = Schemas['Program'];

export function addProgramCommands(program: Command): void {
  addStartCommand(program);
  const stop = program
    .command('stop <device> <program>')
    .description('Stop a program on a device, whatever its threads are inside of.')
    .action((given, id, _options, command) =>
      operate(command, async (operator) => {
        if (!id.startsWith('prg_'))
          throw new UsageError(`"${id}" is not the identifier of a program (prg_…): "patchbay program list ${given}" shows identifiers`);
        const path = { device: await deviceId(operator.client, given), program: id };
        const stopping = answerOf(await operator.client.POST('/v1/devices/{device}/programs/{program}/stop', { params: { path } }));
        answer(operator, stopping, () => [`${stopping.id} is ${stopping.state}`]);
        return exitCodes.done;
      }),
    );
  addExamples(stop, 'patchbay program stop rack-1-3 prg_019365a1c0de7b1e9d2f4c6a8b0d1e2f');
  const list = program
    .command('list <device>')
    .description('List the programs of a device, the newest first.')
    .addOption(limitOption())
    .addOption(allOption())
    .action((given, options, command) =>
      operate(command, async (operator) => {
        const path = { device: await deviceId(operator.client, given) };
        const programs = await readPages(options, async (query) =>
          answerOf(await operator.client.GET('/v1/devices/{device}/programs', { params: { path, query } })),
        );
        answerList(operator, programs, {
          headings: ['PROGRAM', 'NAME', 'STATE', 'CALLS', 'THREADS', 'STARTED', 'FAILURE'],
          row: (one) => [
            one.id,
            one.name,
            stateText(one.state),
            `${one.module}.${one.export}(${one.arguments.join(', ')})`,
            one.threads,
            timeText(one.createdAt),
            one.failure ?? '',
          ],
          none: 'there are no programs on this device',
        });
        return exitCodes.done;
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
      operate(command, async (operator) => {
        for (const value of values) {
          if (value.trim() === '' || Number.isNaN(Number(value))) throw new UsageError(`the argument "${value}" is not a number`);
        }
        const path = { device: await deviceId(operator.client, given) };
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
        const started = answerOf(await operator.client.POST('/v1/devices/{device}/programs', { params: { path }, body }));
        answer(operator, started, () => [`${started.id} is ${started.state}: ${started.name} on ${given}`]);
        return exitCodes.done;
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
      operate(command, async (operator) => {
        const device = await deviceId(operator.client, given);
        const read = () => readPrograms(operator.client, device, id);
        if (watch) return watchPrograms(operator, read, interval * 1_000);
        const items = await read();
        answer(operator, { items }, () => statisticsLines(items));
        return exitCodes.done;
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
    return [answerOf(await client.GET('/v1/devices/{device}/programs/{program}', { params: { path: { device, program } } }))];
  const path = { device };
  const ask = async (query: { limit: number }) => answerOf(await client.GET('/v1/devices/{device}/programs', { params: { path, query } }));
  return (await readPages(everyItem, ask)).items;
}

/** Shows them again and again: over what was shown before on a terminal, one below the other elsewhere. */
async function watchPrograms({ isJson, stopped }: Operator, read: () => Promise<readonly Program[]>, interval: number): Promise<ExitCode> {
  for (;;) {
    const items = await read().catch((error) => {
      if (stopped.aborted) return null;
      throw error;
    });
    if (items === null || stopped.aborted) return exitCodes.done;
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
  const totals = tableLines(
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
  return [...totals, '', ...tableLines(['NAME', 'VERSION', 'COMPLETED', 'FAILED', 'P50', 'P99', 'LONGEST'], versions)];
}

/** What came of the calls that each version has served, and how long half of them, all but a hundredth, and all took at most. */
function versionRows(programs: readonly Program[]): (string | number)[][] {
  return programs.flatMap(({ name, statistics }) =>
    (statistics?.versions ?? []).map(({ version, callsCompleted, callsFailed, latency }) => [
      name,
      version === '' ? '-' : version,
      callsCompleted,
      failureCount(callsFailed),
      durationText(latency?.p50Microseconds),
      durationText(latency?.p99Microseconds),
      durationText(latency?.maximumMicroseconds),
    ]),
  );
}

const failureCount = (count: number) => (count === 0 ? 0 : coloured('red', String(count)));

/** Returns the share of the completed calls that each version has. */
function versionMix(versions: NonNullable<Program['statistics']>['versions']): string {
  const total = versions.reduce((sum, { callsCompleted }) => sum + callsCompleted, 0);
  return versions
    .filter(({ callsCompleted }) => callsCompleted > 0)
    .map(({ version, callsCompleted }) => `${version} ${percentText(callsCompleted, total)}`)
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
const stateText = (state: Program['state']) => coloured(stateColours[state], state);
