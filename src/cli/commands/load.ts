// `patchbay load`: a build is put on devices, and what comes of it is waited for, listed, shown and cancelled.

import { type Command, Option } from '@commander-js/extra-typings';
import { type Client, type Schemas, unwrapResponse } from '../../client/client.ts';
import { loadStates, outcomes } from '../../client/enum-values.ts';
import { exitCodes } from '../exit-codes.ts';
import { readDeviceNames, resolveDeviceId } from '../operator/device-names.ts';
import {
  addLoadOptions,
  deadlineOption,
  formatPolicy,
  resolveSelection,
  supersedeOption,
  toLoadRequest,
  toVersionRequest,
  versionPolicyOption,
} from '../operator/load-options.ts';
import { requestLoads } from '../operator/load-requests.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { collectValues, UsageError } from '../option-values.ts';
import { colourOutcome } from '../terminal/colours.ts';
import { formatTable } from '../terminal/table.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

/** What the exit code of a command that waits for loads tells. */
export const loadExitCodesText = `
Exit codes:
  0  every device has the version
  1  the command or the service failed
  2  the command line is wrong
  3  some loads were refused by their devices
  4  some loads failed, expired, or were cancelled or superseded (whether or not others were refused)`;

export function addLoadCommands(load: Command): void {
  addLoadOptions(
    load
      .usage('[options] | list | show LOAD | cancel LOAD')
      .option('--module <name>', 'the module')
      .option('--version <version>', 'the version to load')
      .option('--device <device>', 'load it on this device, by name or identifier; may be repeated', collectValues)
      .option('--label <key=value>', 'load it on every device with this label; repeat it to require several labels', collectValues),
    'require',
  )
    .addOption(versionPolicyOption())
    .option('--reason <text>', 'why, with --version-policy downgrade')
    .addOption(deadlineOption())
    .addOption(supersedeOption())
    .option('--no-wait', 'do not wait for the outcomes')
    .addHelpText('after', loadExitCodesText)
    .allowExcessArguments()
    .action((options, command) =>
      runOperatorCommand(command, async (operator) => {
        const [unexpected] = command.args;
        if (unexpected !== undefined)
          throw new UsageError(
            `there is no "load ${unexpected}": there is ${load.commands.map((one) => one.name()).join(', ')}, or load with its options`,
          );
        const { module, version, device, label, versionPolicy, reason, ...terms } = options;
        if (module === undefined || version === undefined) throw new UsageError('give --module and --version: what to load');
        const body = {
          module,
          version,
          ...toVersionRequest(versionPolicy, reason),
          ...(await resolveSelection(operator.client, device, label)),
          ...toLoadRequest(terms),
        };
        return requestLoads(operator, module, async () => unwrapResponse(await operator.client.POST('/v1/loads', { body })), options.wait);
      }),
    );
  addExamples(
    load,
    'patchbay load --module tcp --version 1.1.0 --label zone=north',
    'patchbay load --module tcp --version 1.1.0 --device rack-1-3 --strategy drain-then-inject --drain-milliseconds 5000',
    'patchbay load --module tcp --version 1.0.0 --device rack-1-3 --version-policy downgrade --reason "1.1.0 drops packets"',
  );
  addListCommand(load);
  addShowCommand(load);
  addCancelCommand(load);
}

function addListCommand(load: Command): void {
  const list = load
    .command('list')
    .description('List loads, the newest first.')
    .option('--batch <batch>', 'only loads that were requested together')
    .option('--device <device>', 'only loads of this device, by name or identifier')
    .option('--module <name>', 'only loads of this module')
    .addOption(new Option('--state <state>', 'only loads in this state').choices(loadStates))
    .addOption(new Option('--outcome <outcome>', 'only loads that ended so').choices(outcomes))
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ batch, device, module, state, outcome, ...options }, command) =>
      runOperatorCommand(command, async (operator) => {
        const { client } = operator;
        const filter = {
          ...(batch && { batch }),
          ...(device && { device: await resolveDeviceId(client, device) }),
          ...(module && { module }),
          ...(state && { state }),
          ...(outcome && { outcome }),
        };
        const loads = await readPages(options, async (page) =>
          unwrapResponse(await client.GET('/v1/loads', { params: { query: { ...page, ...filter } } })),
        );
        const names = operator.isJson || loads.items.length === 0 ? new Map<string, string>() : await readDeviceNames(client);
        printList(operator, loads, {
          headings: ['LOAD', 'DEVICE', 'VERSION', 'OUTCOME', 'REQUESTED', 'REASON'],
          row: (one) => [
            one.id,
            names.get(one.device) ?? one.device,
            `${one.module}@${one.version}`,
            stateText(one),
            formatTime(one.requestedAt),
            one.reason ?? '',
          ],
          none: 'there are no such loads',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay load list --state queued', 'patchbay load list --device rack-1-3 --outcome failed --all --json');
}

function addShowCommand(load: Command): void {
  const show = load
    .command('show <load>')
    .description('Show a load with every step of the isolation workflow: its operation in the patent, its time and its facts.')
    .action((id, _options, command) =>
      runOperatorCommand(command, async (operator) => {
        const detail = await readLoad(operator.client, id);
        printResult(operator, detail, () => detailLines(detail));
        return exitCodes.success;
      }),
    );
  addExamples(show, 'patchbay load show lod_019365a1c0de7b1e9d2f4c6a8b0d1e2f');
}

/** A load with its report; of the client's own type, which leaves out what can only be null. */
async function readLoad(client: Client, id: string) {
  return unwrapResponse(await client.GET('/v1/loads/{load}', { params: { path: { load: id } } }));
}
type LoadDetail = Awaited<ReturnType<typeof readLoad>>;

function addCancelCommand(load: Command): void {
  const cancel = load
    .command('cancel <load>')
    .description('Cancel a load that waits for its host.')
    .action((id, _options, command) =>
      runOperatorCommand(command, async (operator) => {
        const cancelled = unwrapResponse(await operator.client.POST('/v1/loads/{load}/cancel', { params: { path: { load: id } } }));
        printResult(operator, cancelled, () => [`${cancelled.id} is cancelled`]);
        return exitCodes.success;
      }),
    );
  addExamples(cancel, 'patchbay load cancel lod_019365a1c0de7b1e9d2f4c6a8b0d1e2f');
}

const stateText = ({ outcome, state }: Pick<Schemas['Load'], 'outcome' | 'state'>) => (outcome === null ? state : colourOutcome(outcome));

function detailLines(load: LoadDetail): string[] {
  const { id, batch, device, module, version, reason, report } = load;
  const counts =
    load.interrupted === null ? [] : [`accesses  ${load.interrupted} interrupted, ${load.retried} retried, ${load.failed} failed`];
  return [
    `${id}  ${module}@${version}  ${stateText(load)}`,
    `device    ${device}`,
    `batch     ${batch}`,
    `requester ${load.requestedBy ?? '-'}${load.rollback ? ', to roll back' : ''}`,
    `policy    ${formatPolicy(load)}`,
    `time      requested ${load.requestedAt}, dispatched ${load.dispatchedAt ?? '-'}, completed ${load.completedAt ?? '-'}`,
    ...(load.downgradeReason === null ? [] : [`because   ${load.downgradeReason}`]),
    ...(reason === null ? [] : [`reason    ${reason}`]),
    ...counts,
    ...taintLines(report),
    ...(report === null ? [] : ['', ...stepLines(report.steps)]),
  ];
}

/** Whether accesses that ended abnormally may have left shared state half changed in the replaced image. */
function taintLines(report: LoadDetail['report']): string[] {
  const previous = report?.previous;
  if (!previous?.tainted) return [];
  const { reason, accesses } = previous.tainted;
  return [`tainted   the replaced image of ${previous.version}: ${reason}, ${counted(accesses)}`];
}

const counted = (accesses: number) => (accesses === 1 ? '1 access' : `${accesses} accesses`);

function stepLines(steps: NonNullable<LoadDetail['report']>['steps']): string[] {
  return formatTable(
    ['OPERATION', 'STEP', 'AT', 'START µs', 'TOOK µs', 'FACTS'],
    steps.map(({ step, at, startedMicroseconds, microseconds, facts, ...figure }) => [
      'operation' in figure && figure.operation !== null ? String(figure.operation) : '-',
      step,
      at,
      Math.round(startedMicroseconds),
      Math.round(microseconds),
      Object.entries(facts)
        .map(([name, value]) => `${name}=${typeof value === 'object' ? JSON.stringify(value) : value}`)
        .join(' '),
    ]),
  );
}
