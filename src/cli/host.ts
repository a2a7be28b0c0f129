// `patchbay host`: a process of simulated devices that joins a service over the network.

import console from 'node:console';
import { hostname } from 'node:os';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { z } from 'zod';
import { runHost } from '../host/host.ts';
import { agentLimits, Registration } from '../protocol/agent.ts';
import { readInteger, readLabels, readLogLevel, UsageError } from './command-line.ts';

const hostHelp = `Usage: npm run host -- [options]

Runs simulated devices and joins them to a control service.

Options (each also as an environment variable):
  --control URL      the service (PATCHBAY_CONTROL, http://127.0.0.1:7070)
  --name NAME        name of the host; the same name is the same host again (PATCHBAY_HOST_NAME, this machine's name)
  --devices N        devices to bring along, called NAME-1 to NAME-N (PATCHBAY_DEVICES, 4)
  --labels k=v       a label of these devices; may be repeated
  --ram-pages N      executable memory of each device, in pages of 4 KiB (256)
  --capacity N       devices that the service may place here in all (1000)
  --log-level L      fatal, error, warn, info or debug (PATCHBAY_LOG_LEVEL, info)
  --help

Example:
  npm run host -- --control http://127.0.0.1:7070 --name rack-1 --devices 8 --labels zone=north --labels tier=edge
`;

/** Runs the host until the signal is aborted. @throws {UsageError} */
export async function host(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      control: { type: 'string', default: process.env['PATCHBAY_CONTROL'] ?? 'http://127.0.0.1:7070' },
      name: { type: 'string', default: process.env['PATCHBAY_HOST_NAME'] ?? hostname().toLowerCase() },
      devices: { type: 'string', default: process.env['PATCHBAY_DEVICES'] ?? '4' },
      labels: { type: 'string', multiple: true, default: [] },
      'ram-pages': { type: 'string', default: '256' },
      capacity: { type: 'string', default: '1000' },
      'log-level': { type: 'string', default: process.env['PATCHBAY_LOG_LEVEL'] ?? 'info' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(hostHelp);
  if (!URL.canParse(values.control) || !/^https?:/.test(values.control))
    throw new UsageError(`--control is "${values.control}": give an address like http://127.0.0.1:7070`);
  const { name } = values;
  const labels = readLabels(values.labels);
  const ramPages = readInteger('ram-pages', values['ram-pages'], 16, 65_536);
  const count = readInteger('devices', values.devices, 0, agentLimits.devicesPerHost);
  const capacity = Math.max(count, readInteger('capacity', values.capacity, 1, agentLimits.devicesPerHost));
  const devices = Array.from({ length: count }, (_, index) => ({ name: `${name}-${index + 1}`, labels, ramPages }));
  const checked = Registration.safeParse({ name, bootId: 'not-yet-made', capacity, devices });
  if (!checked.success) throw new UsageError(z.prettifyError(checked.error));
  const logger = pino({ level: readLogLevel(values['log-level']), name }, pino.destination(2));
  console.log(`Device host ${name} with ${count} devices joins ${values.control}.`);
  await runHost({ controlUrl: values.control, name, devices, capacity, signal, logger });
}
