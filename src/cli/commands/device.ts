// `patchbay device`: lists, shows, watches, labels, renames, moves and decommissions devices, and lists their ABI violations.

import { type Command, Option } from '@commander-js/extra-typings';
import { type Client, type Schemas, unwrapResponse } from '../../client/client.ts';
import { deviceStatuses } from '../../client/enum-values.ts';
import { readNewestEventNumber } from '../../client/event-stream.ts';
import { UsageError } from '../errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { confirm, yesOption } from '../operator/confirmation.ts';
import { formatDecommissioned, formatDecommissioning } from '../operator/decommissioning.ts';
import { formatDesiredState } from '../operator/desired-state.ts';
import { resolveDeviceId, resolveDeviceIds } from '../operator/device-names.ts';
import { streamAndPrintEvents } from '../operator/event-output.ts';
import { groupOption, resolveSelection, selectorOption, toLabelFilter } from '../operator/load-options.ts';
import { formatMoves } from '../operator/moves.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { collectValues, readLabelEdit } from '../option-values.ts';
import { colour } from '../terminal/colours.ts';
import { formatLabels } from '../terminal/labels.ts';
import { formatTable } from '../terminal/table.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addDeviceCommands(device: Command): void {
  const list = device
    .command('list')
    .description('List devices, newest first.')
    .option('--label <key=value>', 'only devices with this label; repeat it to require several labels', collectValues)
    .addOption(selectorOption('only devices'))
    .addOption(groupOption('only devices'))
    .option('--host <host>', 'only devices of this host, by name or identifier')
    .addOption(
      new Option('--status <status>', 'only devices with this status (default: all except decommissioned ones)').choices(deviceStatuses),
    )
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ label, selector, group, host, status, ...options }, command) =>
      runOperatorCommand(command, async (context) => {
        const filter = { ...toLabelFilter({ label, selector, group }), ...(host ? { host } : {}), ...(status ? { status } : {}) };
        const devices = await readPages(options, async (page) =>
          unwrapResponse(await context.client.GET('/v1/devices', { params: { query: { ...page, ...filter } } })),
        );
        printList(context, devices, {
          headings: ['NAME', 'DEVICE', 'STATUS', 'HOST', 'LABELS'],
          row: (item) => [item.name, item.id, formatListStatus(item), item.host, formatLabels(item.labels)],
          empty: 'no devices found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(
    list,
    'patchbay device list',
    'patchbay device list --label zone=north --status connected --all --json',
    'patchbay device list --selector "zone in (north,south),!beta"',
  );

  const show = device
    .command('show <device>')
    .description('Show a device, by its name or identifier, with its module table, desired versions and memory map.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { device: await resolveDeviceId(context.client, nameOrId) };
        const detail = unwrapResponse(await context.client.GET('/v1/devices/{device}', { params: { path } }));
        const desired = unwrapResponse(await context.client.GET('/v1/devices/{device}/desired-state', { params: { path } }));
        printResult(context, { ...detail, desiredVersions: desired.versions }, () => formatDevice(detail, desired));
        return exitCodes.success;
      }),
    );
  addExamples(show, 'patchbay device show rack-1-3', 'patchbay device show dev_019365a1c0de7b1e9d2f4c6a8b0d1e2f --json');

  const violations = device
    .command('violations <device>')
    .description('List ABI violations, newest first: programs that called removed code through a stale address.')
    .option('--program <program>', 'only violations of this program, by its identifier')
    .option('--module <name>', 'only calls of this module')
    .addOption(limitOption())
    .addOption(allOption())
    .action((nameOrId, { program, module, ...options }, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { device: await resolveDeviceId(context.client, nameOrId) };
        const filter = { ...(program && { program }), ...(module && { module }) };
        const found = await readPages(options, async (page) =>
          unwrapResponse(
            await context.client.GET('/v1/devices/{device}/abi-violations', { params: { path, query: { ...page, ...filter } } }),
          ),
        );
        printList(context, found, {
          headings: ['PROGRAM', 'NAME', 'STALE VERSION', 'ADDRESS', 'PAGE', 'FLAG', 'FIRST FAULT', 'LAST FAULT', 'FAULTS'],
          row: (violation) => [
            violation.program,
            violation.programName,
            `${violation.module}@${violation.version}`,
            violation.address,
            violation.page,
            violation.flag,
            formatTime(violation.firstFaultAt),
            formatTime(violation.lastFaultAt),
            violation.faults,
          ],
          empty: 'no ABI violations found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(violations, 'patchbay device violations rack-1-3', 'patchbay device violations rack-1-3 --module tcp --all --json');

  const watch = device
    .command('watch [device...]')
    .description('Show events of devices, programs, loads and hosts as they happen, until Ctrl-C; of the given devices, or of all.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const selected = new Set(await resolveDeviceIds(context.client, nameOrId));
        const matches = ({ object, detail }: Schemas['AuditEvent']) =>
          selected.size === 0 || selected.has(object) || selected.has(String(detail['device']));
        return streamAndPrintEvents(
          context,
          { after: await readNewestEventNumber(context.client), types: ['device', 'host', 'program', 'load'] },
          matches,
        );
      }),
    );
  addExamples(watch, 'patchbay device watch', 'patchbay device watch rack-1-3 rack-1-4 --json');
  addLabelCommand(device);
  addChangingCommands(device);
}

function addLabelCommand(device: Command): void {
  const label = device
    .command('label [word...]')
    .description(
      'Set and remove labels of devices: "zone=north" sets a label, "beta-" removes one, and any other word is the name or identifier of a device.',
    )
    .option('--label <key=value>', 'every device with this label; repeat it to require several labels', collectValues)
    .addOption(selectorOption())
    .addOption(groupOption())
    .option('--dry-run', 'print how many devices would change, and change nothing')
    .action((words, { label: labels, selector, group, dryRun = false }, command) =>
      runOperatorCommand(command, async (context) => {
        const { devices, ...edit } = readLabelEdit(words);
        const device = devices.length === 0 ? undefined : devices;
        if ([device, labels, selector, group].every((one) => one === undefined))
          throw new UsageError('name devices, or select them with --label, --selector or --group');
        const selection = await resolveSelection(context.client, { device, label: labels, selector, group });
        const body = { ...selection, ...edit, dryRun };
        const result = unwrapResponse(await context.client.POST('/v1/devices/labels', { body }));
        printResult(context, result, () => [formatLabelEdit(result)]);
        return exitCodes.success;
      }),
    );
  addExamples(
    label,
    'patchbay device label rack-1-3 zone=north beta-',
    'patchbay device label --selector "rack in (seven,eight)" zone=north --dry-run',
    'patchbay device label --group north owner=network-team',
  );
}

function formatLabelEdit({ devices, unchanged, dryRun }: Schemas['LabelEditResult']): string {
  const changed = `${devices.length} ${devices.length === 1 ? 'device' : 'devices'}`;
  return dryRun ? `would change ${changed}, ${unchanged} unchanged` : `changed ${changed}, ${unchanged} unchanged`;
}

function addChangingCommands(device: Command): void {
  const rename = device
    .command('rename <device> <name>')
    .description('Rename a device. Its host continues to register it with the name that it is configured with.')
    .action((nameOrId, name, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { device: await resolveDeviceId(context.client, nameOrId) };
        const renamed = unwrapResponse(await context.client.PATCH('/v1/devices/{device}', { params: { path }, body: { name } }));
        printResult(context, renamed, () => [`${nameOrId} is now called ${renamed.name}`]);
        return exitCodes.success;
      }),
    );
  addExamples(rename, 'patchbay device rename rack-1-3 router-7');

  const move = device
    .command('move <device...>')
    .description('Move devices to another host, for example when hardware is replaced. A connected host drops them first.')
    .requiredOption('--to <host>', 'host to move to, by name or identifier')
    .option('--reason <text>', 'reason, recorded in the audit trail')
    .action((nameOrId, { to, reason }, command) =>
      runOperatorCommand(command, async (context) => {
        const results: Schemas['MovedDevices'][] = [];
        for (const id of await resolveDeviceIds(context.client, nameOrId)) {
          const body = { host: to, ...(reason === undefined ? {} : { reason }) };
          const params = { path: { device: id } };
          results.push(unwrapResponse(await context.client.POST('/v1/devices/{device}/move', { params, body })));
        }
        printResult(context, results, () => formatMoves(results, to));
        return exitCodes.success;
      }),
    );
  addExamples(move, 'patchbay device move rack-1-3 --to rack-2 --reason "the rack died"');

  const decommission = device
    .command('decommission [device...]')
    .description('Remove devices from the fleet. Their history remains, and their names are free. It cannot be undone.')
    .option('--label <key=value>', 'every device with this label; repeat it to require several labels', collectValues)
    .addOption(selectorOption('every device'))
    .addOption(groupOption('every device'))
    .requiredOption('--reason <text>', 'reason, recorded with the devices and the loads that it cancels')
    .addOption(yesOption())
    .action((nameOrId, { label, selector, group, reason, yes }, command) =>
      runOperatorCommand(command, async (context) => {
        const device = nameOrId.length === 0 ? undefined : nameOrId;
        if ([device, label, selector, group].every((one) => one === undefined))
          throw new UsageError('name devices, or select them with --label, --selector or --group');
        const selection = await resolveSelection(context.client, { device, label, selector, group });
        if (yes === undefined) await confirm(() => decommissionQuestion(context.client, selection), context.signal);
        const body = { ...selection, reason };
        const result = unwrapResponse(await context.client.POST('/v1/devices/decommission', { body }));
        printResult(context, result, () => [formatDecommissioning(result)]);
        return exitCodes.success;
      }),
    );
  addExamples(
    decommission,
    'patchbay device decommission rack-1-3 --reason "the board is broken"',
    'patchbay device decommission --label rack=seven --reason "the rack was scrapped"',
  );
}

/** Devices that the question counts. */
const countedDevices = 200;

/** Returns the question before devices are decommissioned, with their number. */
async function decommissionQuestion(client: Client, selection: Awaited<ReturnType<typeof resolveSelection>>): Promise<string> {
  if ('devices' in selection) return questionOf(String(selection.devices.length));
  const { labels = {}, ...filter } = selection;
  const label = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  const query = { ...filter, ...(label.length === 0 ? {} : { label }), limit: countedDevices };
  const { items, next } = unwrapResponse(await client.GET('/v1/devices', { params: { query } }));
  return questionOf(next === null ? String(items.length) : `more than ${items.length}`);
}

const questionOf = (count: string) => `Decommission ${count} ${count === '1' ? 'device' : 'devices'}? It cannot be undone.`;

function formatStatus(status: Schemas['Device']['status']): string {
  return colour(status === 'connected' ? 'green' : status === 'attaching' ? 'yellow' : 'red', status);
}

/** Returns the status of a device in a list, with a mark if it has drifted: `device show` has the details. */
function formatListStatus({ status, drift }: Schemas['Device']): string {
  return drift.length === 0 ? formatStatus(status) : `${formatStatus(status)}, ${colour('yellow', 'drifted')}`;
}

function formatDrift({ module, expected, observed, since }: Schemas['Drift']): string {
  return `drift      ${module}: expected ${expected ?? 'none'}, found ${observed ?? 'none'}, since ${formatTime(since)}`;
}

/** Returns whether accesses ended abnormally inside a module with state, and how many. */
function formatTaint({ tainted }: Schemas['ModuleTableEntry']): string {
  return tainted ? `tainted (${tainted.reason}, ${tainted.accesses})` : '-';
}

function formatDevice(
  {
    id,
    name,
    registeredName,
    decommissioned,
    movingTo,
    labels,
    host,
    status,
    createdAt,
    reportedAt,
    attachFailure,
    drift,
    moduleTable,
    memoryMap,
    abiViolations,
    links,
  }: Schemas['DeviceDetail'],
  desired: Schemas['DeviceDesiredState'],
): string[] {
  const table = moduleTable.map((entry) => [
    entry.module,
    entry.version,
    entry.address,
    entry.referenceCount,
    formatTaint(entry),
    entry.image.slice(0, 19),
  ]);
  const ranges = (memoryMap?.ranges ?? []).map(({ address, pages, owner, ...flags }) => {
    const set = (['present', 'valid', 'nx'] as const).filter((flag) => flags[flag]);
    return [address, pages, `${owner.module}@${owner.version}`, set.join(' ')];
  });
  return [
    `${name}  ${id}  ${formatStatus(status)}`,
    `host       ${host}`,
    `labels     ${formatLabels(labels) || '-'}`,
    `created    ${formatTime(createdAt)}`,
    `reported   ${formatTime(reportedAt)}`,
    ...(registeredName === null ? [] : [`registers  as ${registeredName}`]),
    ...(movingTo === null ? [] : [`moves      to ${movingTo}`]),
    ...formatDecommissioned(decommissioned),
    ...(attachFailure === null ? [] : [`failure    ${attachFailure}`]),
    ...drift.map(formatDrift),
    ...(links.some(({ resolved }) => resolved === false)
      ? [`links      ${colour('red', 'unresolved')}: patchbay module graph ${name}`]
      : []),
    ...(abiViolations === 0 ? [] : [`violations ${abiViolations}: patchbay device violations ${name}`]),
    '',
    ...(table.length === 0
      ? ['no modules are installed']
      : formatTable(['MODULE', 'VERSION', 'ADDRESS', 'ACCESSES', 'STATE', 'IMAGE'], table)),
    ...(desired.versions.length === 0 ? [] : ['', ...formatDesiredState(desired)]),
    ...(memoryMap === null ? [] : ['', `memory: ${memoryMap.usedPages} of ${memoryMap.pages} pages used`]),
    ...(ranges.length === 0 ? [] : formatTable(['ADDRESS', 'PAGES', 'OWNER', 'FLAGS'], ranges)),
  ];
}
