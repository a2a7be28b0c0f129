// `patchbay host`: runs simulated devices in a process that joins a service over the network.

import console from 'node:console';
import { hostname } from 'node:os';
import { z } from 'zod';
import { RegistrationRejectedError, runHost } from '../../host/host.ts';
import { defaultImageMemory } from '../../machine/index.ts';
import { agentLimits, HostRegistration } from '../../protocol/agent.ts';
import { createLogger, createLossyStream } from '../../protocol/logging.ts';
import { readConfiguration } from '../configuration.ts';
import { CommandError, UsageError } from '../errors.ts';
import { readImageMemory, readInteger, readLabels, readLogLevel } from '../option-values.ts';
import { readTrustedKeys } from '../trusted-keys.ts';
import { findExposedFiles } from './exposed-files.ts';
import { readJoinToken } from './join-token.ts';
import { openConfiguredTracer } from './tracing.ts';

/** The environment variable of each option. */
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

type HostOptions = {
  readonly labels?: readonly string[] | undefined;
} & {
  readonly [option in
    | 'control'
    | 'name'
    | 'devices'
    | 'ramPages'
    | 'capacity'
    | 'imageMemory'
    | 'tokenFile'
    | 'trustedKeys'
    | 'logLevel'
    | 'config']?: string | undefined;
};

/** Runs the host until the signal is aborted. @throws {UsageError} {CommandError} */
export async function runHostCommand(options: HostOptions, signal: AbortSignal): Promise<void> {
  const flags = {
    ...options,
    labels: options.labels?.join(','),
    'ram-pages': options.ramPages,
    'image-memory': options.imageMemory,
    'token-file': options.tokenFile,
    'trusted-keys': options.trustedKeys,
    'log-level': options.logLevel,
  };
  const configured = readConfiguration(options.config ?? process.env['PATCHBAY_HOST_CONFIG'], Object.keys(variables));
  const setting = (option: keyof typeof variables, defaultValue: string) =>
    flags[option] ?? process.env[variables[option]] ?? configured.get(option) ?? defaultValue;
  const control = setting('control', 'http://127.0.0.1:7070');
  if (!URL.canParse(control) || !/^https?:/.test(control))
    throw new UsageError(`--control: expected a URL like http://127.0.0.1:7070, received "${control}"`);
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
  const checked = HostRegistration.safeParse({ name, bootId: 'not-yet-created', capacity, devices });
  if (!checked.success) throw new UsageError(z.prettifyError(checked.error));
  const keysFile = setting('trusted-keys', '');
  const trustedKeys = keysFile === '' ? null : readTrustedKeys(keysFile, '--trusted-keys');
  const level = readLogLevel(setting('log-level', 'info'));
  const joinToken = readJoinToken(process.env['PATCHBAY_TOKEN'], setting('token-file', 'data/join-token'));
  if (process.env['PATCHBAY_TOKEN'] === undefined)
    for (const exposed of findExposedFiles([setting('token-file', 'data/join-token')])) console.error(`warning: ${exposed}`);
  const tracer = await openConfiguredTracer('patchbay-host');
  const logger = createLogger({ level, name, stream: createLossyStream(2), secrets: [joinToken] });
  console.log(`Device host ${name} with ${count} ${count === 1 ? 'device' : 'devices'} joins ${control}.`);
  try {
    await runHost({ controlUrl: control, joinToken, name, devices, capacity, imageMemory, trustedKeys, signal, logger, tracer });
  } catch (error) {
    throw error instanceof RegistrationRejectedError ? new CommandError(error.message) : error;
  } finally {
    await tracer?.close();
  }
}
