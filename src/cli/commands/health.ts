// `patchbay health`: shows the health of the fleet, with the reasons if it is degraded.

import type { Command } from '@commander-js/extra-typings';
import { type Schemas, unwrapResponse } from '../../client/client.ts';
import { exitCodes } from '../exit-codes.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { colour } from '../terminal/colours.ts';
import { addExamples } from './examples.ts';

export function addHealthCommand(health: Command): void {
  const complete = health
    .addHelpText('after', '\nExit codes:\n  0  the fleet is healthy\n  1  the command or the service failed\n  5  the fleet is degraded')
    .action((_options, command) =>
      runOperatorCommand(command, async (context) => {
        const fleet = unwrapResponse(await context.client.GET('/v1/health'));
        printResult(context, fleet, () => formatHealth(fleet));
        return fleet.status === 'healthy' ? exitCodes.success : exitCodes.unhealthy;
      }),
    );
  addExamples(complete, 'patchbay health', 'patchbay health --service http://10.0.0.5:7070 --json');
}

function formatHealth({ status, reasons, hosts, devices, loads, accesses, unsettledOrders }: Schemas['FleetHealth']): string[] {
  const formatCounts = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ');
  const { outcomes, ...states } = loads;
  return [
    `The fleet is ${colour(status === 'healthy' ? 'green' : 'red', status)}.`,
    ...reasons.map((reason) => `  ${reason}`),
    `hosts     ${formatCounts(hosts)}`,
    `devices   ${formatCounts(devices)}`,
    `loads     ${formatCounts(states)}`,
    `outcomes  ${formatCounts(outcomes) || '-'}`,
    `accesses  ${formatCounts(accesses)}`,
    `orders    ${unsettledOrders} unsettled`,
  ];
}
