// `patchbay device-host`: lists, shows, renames and decommissions device hosts. `patchbay host` runs one.

import { type Command, Option } from '@commander-js/extra-typings';
import { type Schemas, unwrapResponse } from '../../client/client.ts';
import { hostStatuses } from '../../client/enum-values.ts';
import { exitCodes } from '../exit-codes.ts';
import { confirm, yesOption } from '../operator/confirmation.ts';
import { formatDecommissioned, formatDecommissioning } from '../operator/decommissioning.ts';
import { resolveHostId } from '../operator/host-names.ts';
import { formatMoves } from '../operator/moves.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addDeviceHostCommands(deviceHost: Command): void {
  addReadingCommands(deviceHost);
  addChangingCommands(deviceHost);
}

function addReadingCommands(deviceHost: Command): void {
  const list = deviceHost
    .command('list')
    .description('List device hosts, newest registration first.')
    .addOption(
      new Option('--status <status>', 'only hosts with this status (default: all except decommissioned ones)').choices(hostStatuses),
    )
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ status, ...options }, command) =>
      runOperatorCommand(command, async (context) => {
        const hosts = await readPages(options, async (page) =>
          unwrapResponse(await context.client.GET('/v1/hosts', { params: { query: { ...page, ...(status && { status }) } } })),
        );
        printList(context, hosts, {
          headings: ['NAME', 'HOST', 'STATUS', 'DEVICES', 'CAPACITY'],
          row: (host) => [host.name, host.id, host.status, host.devices, host.capacity],
          empty: 'no hosts found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay device-host list', 'patchbay device-host list --status unreachable --json');

  const show = deviceHost
    .command('show <host>')
    .description('Show a device host, by its name or identifier.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { host: await resolveHostId(context.client, nameOrId) };
        const host = unwrapResponse(await context.client.GET('/v1/hosts/{host}', { params: { path } }));
        printResult(context, host, () => formatHost(host));
        return exitCodes.success;
      }),
    );
  addExamples(show, 'patchbay device-host show rack-1');
}

function addChangingCommands(deviceHost: Command): void {
  const rename = deviceHost
    .command('rename <host> <name>')
    .description('Rename a device host. Its agent continues to register with the name that it is configured with.')
    .action((nameOrId, name, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { host: await resolveHostId(context.client, nameOrId) };
        const host = unwrapResponse(await context.client.PATCH('/v1/hosts/{host}', { params: { path }, body: { name } }));
        printResult(context, host, () => [`${nameOrId} is now called ${host.name}`]);
        return exitCodes.success;
      }),
    );
  addExamples(rename, 'patchbay device-host rename rack-1 rack-north-1');

  const move = deviceHost
    .command('move-devices <host>')
    .description('Move all devices of a host to another host, for example when hardware is replaced. A connected host drops them first.')
    .requiredOption('--to <host>', 'host to move to, by name or identifier')
    .option('--reason <text>', 'reason, recorded in the audit trail')
    .action((nameOrId, { to, reason }, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { host: await resolveHostId(context.client, nameOrId) };
        const body = { host: to, ...(reason === undefined ? {} : { reason }) };
        const result = unwrapResponse(await context.client.POST('/v1/hosts/{host}/move-devices', { params: { path }, body }));
        printResult(context, result, () => formatMoves([result], to));
        return exitCodes.success;
      }),
    );
  addExamples(move, 'patchbay device-host move-devices rack-1 --to rack-2 --reason "the rack died"');

  const decommission = deviceHost
    .command('decommission <host>')
    .description('Remove a host and its devices from the fleet. Their history remains, and their names are free. It cannot be undone.')
    .requiredOption('--reason <text>', 'reason, recorded with the host, its devices and the loads that it cancels')
    .addOption(yesOption())
    .action((nameOrId, { reason, yes }, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { host: await resolveHostId(context.client, nameOrId) };
        if (yes === undefined)
          await confirm(async () => {
            const { devices } = unwrapResponse(await context.client.GET('/v1/hosts/{host}', { params: { path } }));
            return `Decommission the host ${nameOrId} and its ${devices} devices? It cannot be undone.`;
          }, context.signal);
        const result = unwrapResponse(await context.client.POST('/v1/hosts/{host}/decommission', { params: { path }, body: { reason } }));
        printResult(context, result, () => [`the host ${nameOrId} is decommissioned`, formatDecommissioning(result)]);
        return exitCodes.success;
      }),
    );
  addExamples(decommission, 'patchbay device-host decommission rack-1 --reason "the rack was scrapped"');
}

function formatHost(host: Schemas['Host']): string[] {
  return [
    `${host.name}  ${host.id}  ${host.status}`,
    ...(host.registeredName === null ? [] : [`registers  as ${host.registeredName}`]),
    `devices    ${host.devices} of ${host.capacity}`,
    `registered ${formatTime(host.registeredAt)}`,
    ...(host.unreachableSince === null ? [] : [`silent     since ${formatTime(host.unreachableSince)}`]),
    ...formatDecommissioned(host.decommissioned),
  ];
}
