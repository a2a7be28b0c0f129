// `patchbay health`: whether the fleet is well, and why not.

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
      runOperatorCommand(command, async (operator) => {
        const fleet = unwrapResponse(await operator.client.GET('/v1/health'));
        printResult(operator, fleet, () => healthLines(fleet));
        return fleet.status === 'healthy' ? exitCodes.success : exitCodes.unhealthy;
      }),
    );
  addExamples(complete, 'patchbay health', 'patchbay health --service http://10.0.0.5:7070 --json');
}

function healthLines({ status, reasons, hosts, devices, loads, accesses, unsettledOrders }: Schemas['FleetHealth']): string[] {
  const counts = (some: Readonly<Record<string, number>>) =>
    Object.entries(some)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ');
  const { outcomes, ...states } = loads;
  return [
    `The fleet is ${colour(status === 'healthy' ? 'green' : 'red', status)}.`,
    ...reasons.map((reason) => `  ${reason}`),
    `hosts     ${counts(hosts)}`,
    `devices   ${counts(devices)}`,
    `loads     ${counts(states)}`,
    `outcomes  ${counts(outcomes) || '-'}`,
    `accesses  ${counts(accesses)}`,
    `orders    ${unsettledOrders} not settled`,
  ];
}
