// `patchbay load`: loads a build on devices and waits for the outcomes; lists, shows and watches loads, and ends drains early.

import { type Command, Option } from '@commander-js/extra-typings';
import { type Schemas, unwrapAccepted, unwrapResponse } from '../../client/client.ts';
import { loadStates, outcomes } from '../../client/enum-values.ts';
import { CommandError, UsageError } from '../errors.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { yesOption } from '../operator/confirmation.ts';
import { readDeviceNames, resolveDeviceId } from '../operator/device-names.ts';
import { type NamedContent, readContent } from '../operator/load-content.ts';
import {
  addLoadOptions,
  deadlineOption,
  formatPolicy,
  groupOption,
  resolveSelection,
  selectorOption,
  supersedeOption,
  toLabelFilter,
  toLoadRequest,
  toVersionRequest,
  versionPolicyOption,
} from '../operator/load-options.ts';
import { formatRefusals, formatUnreachable, formatWarnings } from '../operator/load-preview.ts';
import { requestLoads } from '../operator/load-requests.ts';
import { formatDrain, type LoadDetail, readLoad, watchLoad } from '../operator/load-watch.ts';
import { formatHeld, formatHold } from '../operator/maintenance-windows.ts';
import { type CommandContext, printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { chooseUnreachable, noteUnreachable, unreachableOption } from '../operator/unreachable-choice.ts';
import { collectValues } from '../option-values.ts';
import { formatDeviceCount } from '../terminal/device-count.ts';
import { colourOutcome } from '../terminal/outcome-colours.ts';
import { formatTable } from '../terminal/table.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

/** The exit codes of commands that wait for loads, for their help. */
export const loadExitCodesText = `
Exit codes:
  0  every load succeeded
  1  the command or the service failed
  2  the command line is invalid
  3  devices refused some loads
  4  some loads failed, expired, or were cancelled or superseded (takes precedence over 3)`;

export function addLoadCommands(load: Command): void {
  addLoadOptions(
    load
      .usage('[options] | list | show LOAD | watch LOAD | inject LOAD | cancel LOAD')
      .option('--module <name>', 'the module')
      .option('--version <version>', 'the version to load')
      .option('--patch-set <name@version>', 'the patch set to load, instead of --module and --version')
      .option('--device <device>', 'device, by name or identifier; may be repeated', collectValues)
      .option('--label <key=value>', 'every device with this label; repeat it to require several labels', collectValues)
      .addOption(selectorOption())
      .addOption(groupOption()),
    'require',
  )
    .addOption(versionPolicyOption())
    .option('--reason <text>', 'reason for --version-policy downgrade')
    .addOption(deadlineOption())
    .addOption(supersedeOption())
    .addOption(unreachableOption())
    .option('--dry-run', 'only show the expected outcomes')
    .addOption(yesOption())
    .option('--no-wait', 'do not wait for the outcomes')
    .addHelpText('after', loadExitCodesText)
    .allowExcessArguments()
    .action((options, command) =>
      runOperatorCommand(command, async (context) => {
        const [unexpected] = command.args;
        if (unexpected !== undefined)
          throw new UsageError(
            `unknown command "load ${unexpected}": expected ${load.commands.map((subcommand) => subcommand.name()).join(', ')}, or load with options`,
          );
        const { device, label, selector, group, versionPolicy, reason, dryRun, ...terms } = options;
        const content = readContent(options);
        const body: Schemas['NewLoads'] = {
          ...content.request,
          ...toVersionRequest(versionPolicy, reason),
          ...(await resolveSelection(context.client, { device, label, selector, group })),
          ...toLoadRequest(terms),
        };
        if (dryRun) return previewLoads(context, content, { ...body, ...(options.unreachable && { unreachable: options.unreachable }) });
        const unreachable = await chooseUnreachable(context, options, async () => (await readPreview(context, body)).items);
        const request = async () => {
          const accepted = unwrapAccepted(
            await context.client.POST('/v1/loads', { body: { ...body, ...(unreachable && { unreachable }) } }),
          );
          noteUnreachable(context, accepted.unreachableDevices, unreachable);
          return accepted;
        };
        return requestLoads(context, content.name, request, { isWaiting: options.wait });
      }),
    );
  addExamples(
    load,
    'patchbay load --module tcp --version 1.1.0 --label zone=north',
    'patchbay load --module tcp --version 1.1.0 --label zone=north --dry-run',
    'patchbay load --module tcp --version 1.1.0 --label zone=north --unreachable skip',
    'patchbay load --patch-set net-2026-11@1.0.0 --label zone=north',
    'patchbay load --module tcp --version 1.1.0 --selector "zone in (north,south),model!=x,!beta"',
    'patchbay load --module tcp --version 1.1.0 --device rack-1-3 --strategy drain-then-inject --drain-milliseconds 5000',
    'patchbay load --module tcp --version 1.1.0 --device rack-1-3 --override-maintenance-window "security fix"',
    'patchbay load --module tcp --version 1.0.0 --device rack-1-3 --version-policy downgrade --reason "1.1.0 drops packets"',
  );
  addListCommand(load);
  addShowCommand(load);
  addWatchCommand(load);
  addInjectCommand(load);
  addCancelCommand(load);
}

type Preview = Schemas['LoadPreview'];

async function readPreview({ client }: CommandContext, body: Schemas['NewLoads']): Promise<Preview> {
  const preview = unwrapResponse(await client.POST('/v1/loads', { body: { ...body, dryRun: true } }));
  if (!('items' in preview)) throw new CommandError('the service created loads instead of a preview');
  return preview;
}

/** Prints the expected outcomes of a request. */
async function previewLoads(context: CommandContext, content: NamedContent, body: Schemas['NewLoads']): Promise<ExitCode> {
  const preview = await readPreview(context, body);
  printResult(context, preview, () => formatPreview(preview, content));
  return preview.refused > 0 ? exitCodes.loadsRefused : exitCodes.success;
}

function formatPreview(preview: Preview, { name, version }: NamedContent): string[] {
  const { devices, alreadyInstalled, skipped, refused, held, items } = preview;
  const loaded = items.filter((item) => !item.skipped);
  return [
    `${name}@${version} would go to ${formatDeviceCount(devices - skipped)}`,
    ...(alreadyInstalled === 0 ? [] : [`already have it: ${alreadyInstalled}`]),
    ...formatUnreachable(preview),
    ...formatHeld(held, loaded),
    ...(refused === 0 ? [] : [`would refuse it: ${refused}`]),
    ...formatRefusals(loaded),
    ...formatWarnings(loaded),
  ];
}

function addListCommand(load: Command): void {
  const list = load
    .command('list')
    .description('List loads, newest first.')
    .option('--batch <batch>', 'only loads of this batch, which one request created')
    .option('--device <device>', 'only loads of this device, by name or identifier')
    .option('--label <key=value>', 'only loads of devices with this label; repeat it to require several labels', collectValues)
    .addOption(selectorOption('only loads of devices'))
    .addOption(groupOption('only loads of devices'))
    .option('--module <name>', 'only loads of this module')
    .addOption(new Option('--state <state>', 'only loads in this state').choices(loadStates))
    .addOption(new Option('--outcome <outcome>', 'only loads with this outcome').choices(outcomes))
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ batch, device, label, selector, group, module, state, outcome, ...options }, command) =>
      runOperatorCommand(command, async (context) => {
        const { client } = context;
        const filter = {
          ...(batch && { batch }),
          ...(device && { device: await resolveDeviceId(client, device) }),
          ...toLabelFilter({ label, selector, group }),
          ...(module && { module }),
          ...(state && { state }),
          ...(outcome && { outcome }),
        };
        const loads = await readPages(options, async (page) =>
          unwrapResponse(await client.GET('/v1/loads', { params: { query: { ...page, ...filter } } })),
        );
        const names = context.isJson || loads.items.length === 0 ? new Map<string, string>() : await readDeviceNames(client);
        printList(context, loads, {
          headings: ['LOAD', 'KIND', 'DEVICE', 'VERSION', 'OUTCOME', 'REQUESTED', 'REASON'],
          row: (item) => [
            item.id,
            item.kind,
            names.get(item.device) ?? item.device,
            `${item.module}@${item.version}`,
            item.heldSince === null ? formatState(item) : 'held',
            formatTime(item.requestedAt),
            item.reason ?? formatHold(item) ?? '',
          ],
          empty: 'no loads found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay load list --state queued', 'patchbay load list --device rack-1-3 --outcome failed --all --json');
}

function addShowCommand(load: Command): void {
  const show = load
    .command('show <load>')
    .description('Show a load with every step of the isolation workflow: operation in the patent, time and facts.')
    .action((id, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const detail = await readLoad(context.client, id);
        printResult(context, detail, () => formatLoad(detail));
        return exitCodes.success;
      }),
    );
  addExamples(show, 'patchbay load show lod_019365a1c0de7b1e9d2f4c6a8b0d1e2f');
}

function addWatchCommand(load: Command): void {
  const watch = load
    .command('watch <load>')
    .description('Follow a load until it ends: the accesses that a draining load waits for, and the outcome.')
    .addHelpText('after', loadExitCodesText)
    .action((id, _options, command) => runOperatorCommand(command, (context) => watchLoad(context, id)));
  addExamples(
    watch,
    'patchbay load watch lod_019365a1c0de7b1e9d2f4c6a8b0d1e2f',
    'patchbay load watch lod_019365a1c0de7b1e9d2f4c6a8b0d1e2f --json',
  );
}

function addInjectCommand(load: Command): void {
  const inject = load
    .command('inject <load>')
    .description('Stop waiting for a draining load: interrupt the accesses still inside the old version now.')
    .action((id, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const requested = unwrapResponse(await context.client.POST('/v1/loads/{load}/inject', { params: { path: { load: id } } }));
        printResult(context, requested, () => [`requested to inject ${requested.id} now: patchbay load watch ${requested.id}`]);
        return exitCodes.success;
      }),
    );
  addExamples(inject, 'patchbay load inject lod_019365a1c0de7b1e9d2f4c6a8b0d1e2f');
}

function addCancelCommand(load: Command): void {
  const cancel = load
    .command('cancel <load>')
    .description('Cancel a queued or draining load. The device of a draining load returns to the old version.')
    .action((id, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const cancelled = unwrapResponse(await context.client.POST('/v1/loads/{load}/cancel', { params: { path: { load: id } } }));
        printResult(context, cancelled, () => [
          cancelled.outcome === null
            ? `requested to cancel ${cancelled.id}: patchbay load watch ${cancelled.id}`
            : `cancelled ${cancelled.id}`,
        ]);
        return exitCodes.success;
      }),
    );
  addExamples(cancel, 'patchbay load cancel lod_019365a1c0de7b1e9d2f4c6a8b0d1e2f');
}

/** Unloads have fewer options. */
const formatLoadPolicy = (load: LoadDetail) => (load.kind === 'unload' ? `${load.strategy}, ${load.invalidation}` : formatPolicy(load));

const formatState = ({ outcome, state }: Pick<Schemas['Load'], 'outcome' | 'state'>) => (outcome === null ? state : colourOutcome(outcome));

function formatLoad(load: LoadDetail): string[] {
  const { id, batch, device, kind, module, version, reason, progress, report, overrideMaintenanceWindow: override } = load;
  const hold = formatHold(load);
  const counts =
    load.interrupted === null ? [] : [`accesses   ${load.interrupted} interrupted, ${load.retried} retried, ${load.failed} failed`];
  return [
    `${id}  ${kind === 'build' ? '' : `${kind} `}${module}@${version}  ${formatState(load)}`,
    `device     ${device}`,
    `batch      ${batch}`,
    `requester  ${load.requestedBy ?? '-'}${load.rollback ? ' (rollback)' : ''}`,
    `policy     ${formatLoadPolicy(load)}`,
    `time       requested ${load.requestedAt}, dispatched ${load.dispatchedAt ?? '-'}, completed ${load.completedAt ?? '-'}`,
    ...(hold === null ? [] : [`held       ${hold}`]),
    ...(override === null ? [] : [`override   of maintenance windows: ${override.reason}`]),
    ...(load.forceReason === null ? [] : [`forced     ${load.forceReason}`]),
    ...(load.downgradeReason === null ? [] : [`downgrade  ${load.downgradeReason}`]),
    ...(reason === null ? [] : [`reason     ${reason}`]),
    ...(progress ? [`progress   ${formatDrain(progress)}`] : []),
    ...counts,
    ...formatMembers(report),
    ...formatTaint(report),
    ...(report === null ? [] : ['', ...formatSteps(report.steps)]),
  ];
}

/** Returns a line for each member of a patch set. */
function formatMembers(report: LoadDetail['report']): string[] {
  return (report?.members ?? []).map(({ module, previous, current }) => {
    return `member     ${module}: ${previous?.version ?? 'none'} to ${current?.version ?? 'none'}`;
  });
}

/** Returns a line for each replaced image in which accesses that ended abnormally may have left inconsistent state. */
function formatTaint(report: LoadDetail['report']): string[] {
  const members = report?.members?.map(({ module, previous }) => ({ name: `${module}@${previous?.version}`, previous })) ?? [];
  const replaced = [{ name: report?.previous?.version ?? '', previous: report?.previous ?? null }, ...members];
  return replaced.flatMap(({ name, previous }) => {
    if (!previous?.tainted) return [];
    const { reason, accesses } = previous.tainted;
    return [`tainted    replaced image of ${name}: ${reason}, ${formatAccesses(accesses)}`];
  });
}

const formatAccesses = (accesses: number) => (accesses === 1 ? '1 access' : `${accesses} accesses`);

function formatSteps(steps: NonNullable<LoadDetail['report']>['steps']): string[] {
  return formatTable(
    ['OPERATION', 'STEP', 'TIME', 'START µs', 'DURATION µs', 'FACTS'],
    steps.map(({ step, at, startedMicroseconds, microseconds, facts, module, ...figure }) => [
      'operation' in figure && figure.operation !== null ? String(figure.operation) : '-',
      module === undefined ? step : `${step} ${module}`,
      at,
      Math.round(startedMicroseconds),
      Math.round(microseconds),
      Object.entries(facts)
        .map(([name, value]) => `${name}=${typeof value === 'object' ? JSON.stringify(value) : value}`)
        .join(' '),
    ]),
  );
}
