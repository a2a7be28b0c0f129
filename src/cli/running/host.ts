// `patchbay host`: a process of simulated devices that joins a service over the network.

import console from 'node:console';
import { hostname } from 'node:os';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { RegistrationRefused, runHost } from '../../host/host.ts';
import { defaultImageMemory } from '../../machine/index.ts';
import { agentLimits, Registration } from '../../protocol/agent.ts';
import { createLogger, survivingStream } from '../../protocol/logging.ts';
import { readImageMemory, readInteger, readLabels, readLogLevel, StartError, UsageError } from '../command-line.ts';
import { readConfiguration } from '../configuration.ts';
import { readTrustedKeys } from '../trusted-keys.ts';
import { exposedFiles } from './exposed-files.ts';
import { readJoinToken } from './join-token.ts';

const hostHelp = `Usage: npm run host -- [options]

Runs simulated devices and joins them to a control service.

Options, each also as an environment variable, or in the file of --config by its name:
  --control URL      the service (PATCHBAY_CONTROL, http://127.0.0.1:7070)
  --name NAME        name of the host; the same name is the same host again (PATCHBAY_HOST_NAME, this machine's name)
  --devices N        devices to bring along, called NAME-1 to NAME-N (PATCHBAY_DEVICES, 4)
  --labels k=v       a label of these devices; may be repeated (PATCHBAY_LABELS, separated by commas)
  --ram-pages N      executable memory of each device, in pages of 4 KiB (PATCHBAY_RAM_PAGES, 256)
  --capacity N       devices that the service may place here in all (PATCHBAY_CAPACITY, 1000)
  --image-memory N   bytes that the memories of all images on this host may have together (PATCHBAY_IMAGE_MEMORY, 4294967296, which is 4 GiB)
  --token-file FILE  where the service's join token is (PATCHBAY_TOKEN_FILE, data/join-token; PATCHBAY_TOKEN gives the token itself)
  --trusted-keys FILE  public keys in PEM: only builds that one of them has signed, or a key that they vouch for, are loaded
                     (PATCHBAY_TRUSTED_KEYS; without it, the host trusts the keys that the service says are its own)
  --log-level L      fatal, error, warn, info or debug (PATCHBAY_LOG_LEVEL, info)
  --config FILE      a JSON file with any of these (PATCHBAY_HOST_CONFIG)
  --help

Flags count before environment variables, and these before the file.

Examples:
  npm run host -- --control http://127.0.0.1:7070 --name rack-1 --devices 8 --labels zone=north --labels tier=edge
  npm run host -- --config rack-1.json     with  {"name": "rack-1", "devices": 8, "labels": {"zone": "north"}, "token-file": "join-token"}
`;

/** Each option, and its environment variable. */
const variables = {
  control: 'PATCHBAY_CONTROL',
  name: 'PATCHBAY_HOST_NAME',
  devices: 'PATCHBAY_DEVICES',
  labels: 'PATCHBAY_LABELS',
  'ram-pages': 'PATCHBAY_RAM_PAGES',
  capacity: 'PATCHBAY_CAPACITY',
  'image-memory': 'PATCHBAY_IMAGE_MEMORY',
  'token-file': 'PATCHBAY_TOKEN_FILE',
  'trusted-keys': 'PATCHBAY_TRUSTED_KEYS',
  'log-level': 'PATCHBAY_LOG_LEVEL',
} as const;

/** Runs the host until the signal is aborted. @throws {UsageError} */
export async function host(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      control: { type: 'string' },
      name: { type: 'string' },
      devices: { type: 'string' },
      labels: { type: 'string', multiple: true },
      'ram-pages': { type: 'string' },
      capacity: { type: 'string' },
      'image-memory': { type: 'string' },
      'token-file': { type: 'string' },
      'trusted-keys': { type: 'string' },
      'log-level': { type: 'string' },
      config: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(hostHelp);
  const flags = { ...values, labels: values.labels?.join(',') };
  const configured = readConfiguration(values.config ?? process.env['PATCHBAY_HOST_CONFIG'], Object.keys(variables));
  const setting = (option: keyof typeof variables, otherwise: string) =>
    flags[option] ?? process.env[variables[option]] ?? configured.get(option) ?? otherwise;
  const control = setting('control', 'http://127.0.0.1:7070');
  if (!URL.canParse(control) || !/^https?:/.test(control))
    throw new UsageError(`--control is "${control}": give an address like http://127.0.0.1:7070`);
  const name = setting('name', hostname().toLowerCase());
  const labels = readLabels(
    setting('labels', '')
      .split(',')
      .filter((text) => text !== ''),
  );
  const ramPages = readInteger('ram-pages', setting('ram-pages', '256'), 16, 65_536);
  const count = readInteger('devices', setting('devices', '4'), 0, agentLimits.devicesPerHost);
  const capacity = Math.max(count, readInteger('capacity', setting('capacity', '1000'), 1, agentLimits.devicesPerHost));
  const imageMemory = readImageMemory(setting('image-memory', String(defaultImageMemory)));
  const devices = Array.from({ length: count }, (_, index) => ({ name: `${name}-${index + 1}`, labels, ramPages }));
  const checked = Registration.safeParse({ name, bootId: 'not-yet-made', capacity, devices });
  if (!checked.success) throw new UsageError(z.prettifyError(checked.error));
  const keysFile = setting('trusted-keys', '');
  const trustedKeys = keysFile === '' ? null : readTrustedKeys(keysFile, '--trusted-keys');
  const level = readLogLevel(setting('log-level', 'info'));
  const joinToken = readJoinToken(process.env['PATCHBAY_TOKEN'], setting('token-file', 'data/join-token'));
  if (process.env['PATCHBAY_TOKEN'] === undefined)
    for (const exposed of exposedFiles([setting('token-file', 'data/join-token')])) console.error(`warning: ${exposed}`);
  const logger = createLogger({ level, name, stream: survivingStream(2), secrets: [joinToken] });
  console.log(`Device host ${name} with ${count} ${count === 1 ? 'device' : 'devices'} joins ${control}.`);
  try {
    await runHost({ controlUrl: control, joinToken, name, devices, capacity, imageMemory, trustedKeys, signal, logger });
  } catch (error) {
    throw error instanceof RegistrationRefused ? new StartError(error.message) : error;
  }
}
