// `patchbay device`: devices are listed, looked into and watched.

import { type Command, Option } from '@commander-js/extra-typings';
import { type Schemas, unwrapResponse } from '../../client/client.ts';
import { deviceStatuses } from '../../client/enum-values.ts';
import { readNewestEventNumber } from '../../client/event-stream.ts';
import { exitCodes } from '../exit-codes.ts';
import { resolveDeviceId, resolveDeviceIds } from '../operator/device-names.ts';
import { streamAndPrintEvents } from '../operator/event-output.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { collectValues, readLabels } from '../option-values.ts';
import { colour } from '../terminal/colours.ts';
import { formatLabels } from '../terminal/labels.ts';
import { formatTable } from '../terminal/table.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addDeviceCommands(device: Command): void {
  const list = device
    .command('list')
    .description('List devices, the newest first.')
    .option('--label <key=value>', 'only devices with this label; may be repeated', collectValues)
    .option('--host <host>', 'only devices of this host, by its identifier')
    .addOption(new Option('--status <status>', 'only devices of this status').choices(deviceStatuses))
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ label = [], host, status, ...options }, command) =>
      runOperatorCommand(command, async (operator) => {
        readLabels(label, '--label');
        const filter = { ...(label.length === 0 ? {} : { label: [...label] }), ...(host ? { host } : {}), ...(status ? { status } : {}) };
        const devices = await readPages(options, async (page) =>
          unwrapResponse(await operator.client.GET('/v1/devices', { params: { query: { ...page, ...filter } } })),
        );
        printList(operator, devices, {
          headings: ['NAME', 'DEVICE', 'STATUS', 'HOST', 'LABELS'],
          row: (one) => [one.name, one.id, listedStatus(one), one.host, formatLabels(one.labels)],
          none: 'there are no such devices',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay device list', 'patchbay device list --label zone=north --status connected --all --json');

  const show = device
    .command('show <device>')
    .description('Show a device, by its name or identifier, with its module table and its memory.')
    .action((given, _options, command) =>
      runOperatorCommand(command, async (operator) => {
        const path = { device: await resolveDeviceId(operator.client, given) };
        const detail = unwrapResponse(await operator.client.GET('/v1/devices/{device}', { params: { path } }));
        printResult(operator, detail, () => detailLines(detail));
        return exitCodes.success;
      }),
    );
  addExamples(show, 'patchbay device show rack-1-3', 'patchbay device show dev_019365a1c0de7b1e9d2f4c6a8b0d1e2f --json');

  const violations = device
    .command('violations <device>')
    .description('List ABI violations (programs that called removed code by a stale address), the newest first.')
    .option('--program <program>', 'only of this program, by its identifier')
    .option('--module <name>', 'only calls of this module')
    .addOption(limitOption())
    .addOption(allOption())
    .action((given, { program, module, ...options }, command) =>
      runOperatorCommand(command, async (operator) => {
        const path = { device: await resolveDeviceId(operator.client, given) };
        const filter = { ...(program && { program }), ...(module && { module }) };
        const found = await readPages(options, async (page) =>
          unwrapResponse(
            await operator.client.GET('/v1/devices/{device}/abi-violations', { params: { path, query: { ...page, ...filter } } }),
          ),
        );
        printList(operator, found, {
          headings: ['PROGRAM', 'NAME', 'HELD', 'ADDRESS', 'PAGE', 'FLAG', 'FIRST', 'LAST', 'FAULTS'],
          row: (one) => [
            one.program,
            one.programName,
            `${one.module}@${one.version}`,
            one.address,
            one.page,
            one.flag,
            formatTime(one.firstFaultAt),
            formatTime(one.lastFaultAt),
            one.faults,
          ],
          none: 'there are no ABI violations',
        });
        return exitCodes.success;
      }),
    );
  addExamples(violations, 'patchbay device violations rack-1-3', 'patchbay device violations rack-1-3 --module tcp --all --json');

  const watch = device
    .command('watch [device...]')
    .description(
      'Show what happens to devices, programs, loads and hosts as it happens, until Ctrl-C; of the devices that are named, or of all.',
    )
    .action((given, _options, command) =>
      runOperatorCommand(command, async (operator) => {
        const wanted = new Set(await resolveDeviceIds(operator.client, given));
        const concerns = ({ object, detail }: Schemas['AuditEvent']) =>
          wanted.size === 0 || wanted.has(object) || wanted.has(String(detail['device']));
        return streamAndPrintEvents(
          operator,
          { after: await readNewestEventNumber(operator.client), types: ['device', 'host', 'program', 'load'] },
          concerns,
        );
      }),
    );
  addExamples(watch, 'patchbay device watch', 'patchbay device watch rack-1-3 rack-1-4 --json');
}

function statusText(status: Schemas['Device']['status']): string {
  return colour(status === 'connected' ? 'green' : status === 'attaching' ? 'yellow' : 'red', status);
}

/** The status of a device in a list, which also names the devices that `device show` says more about. */
function listedStatus({ status, drift }: Schemas['Device']): string {
  return drift.length === 0 ? statusText(status) : `${statusText(status)}, ${colour('yellow', 'drifted')}`;
}

function driftLine({ module, expected, observed, since }: Schemas['Drift']): string {
  return `drifted   ${module}: expected ${expected ?? 'none'}, found ${observed ?? 'none'}, since ${formatTime(since)}`;
}

/** Whether accesses ended abnormally inside a module with state, and how many. */
function taintText({ tainted }: Schemas['ModuleTableEntry']): string {
  return tainted ? `tainted (${tainted.reason}, ${tainted.accesses})` : '-';
}

function detailLines({
  id,
  name,
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
}: Schemas['DeviceDetail']): string[] {
  const table = moduleTable.map((entry) => [
    entry.module,
    entry.version,
    entry.address,
    entry.referenceCount,
    taintText(entry),
    entry.image.slice(0, 19),
  ]);
  const ranges = (memoryMap?.ranges ?? []).map(({ address, pages, owner, ...flags }) => {
    const set = (['present', 'valid', 'nx'] as const).filter((flag) => flags[flag]);
    return [address, pages, `${owner.module}@${owner.version}`, set.join(' ')];
  });
  return [
    `${name}  ${id}  ${statusText(status)}`,
    `host      ${host}`,
    `labels    ${formatLabels(labels) || '-'}`,
    `created   ${formatTime(createdAt)}`,
    `reported  ${formatTime(reportedAt)}`,
    ...(attachFailure === null ? [] : [`failure   ${attachFailure}`]),
    ...drift.map(driftLine),
    ...(abiViolations === 0 ? [] : [`held on   ${abiViolations} to code that had gone: patchbay device violations ${name}`]),
    '',
    ...(table.length === 0
      ? ['no modules are in memory']
      : formatTable(['MODULE', 'VERSION', 'ADDRESS', 'ACCESSES', 'STATE', 'IMAGE'], table)),
    ...(memoryMap === null ? [] : ['', `memory: ${memoryMap.usedPages} of ${memoryMap.pages} pages are used`]),
    ...(ranges.length === 0 ? [] : formatTable(['ADDRESS', 'PAGES', 'OWNER', 'FLAGS'], ranges)),
  ];
}
