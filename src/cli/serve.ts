// `patchbay serve`: the service, with a device host of its own unless it is told otherwise.

import console from 'node:console';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { createService } from '../api/service.ts';
import { readInteger, readLogLevel, StartError, UsageError } from './command-line.ts';
import type { EmbeddedHostData } from './embedded-host.ts';
import { keepJoinToken } from './join-token.ts';

const serveHelp = `Usage: npm start -- [options]

Starts the control service, and in it a device host with a few devices.

Options (each also as an environment variable):
  --port N               port to listen on; 0: any free one (PATCHBAY_PORT, 7070)
  --address A            address to listen on (PATCHBAY_ADDRESS, 127.0.0.1)
  --database FILE        SQLite file, made if it is not there (PATCHBAY_DATABASE, data/patchbay.db)
  --embedded-devices N   devices of the embedded host (PATCHBAY_EMBEDDED_DEVICES, 4)
  --no-embedded-host     do not run devices in this process
  --unprotected          listen beyond this machine, where anyone who reaches the port may do anything (PATCHBAY_UNPROTECTED=1)
  --token-file FILE      where the token is kept that device hosts register with (PATCHBAY_TOKEN_FILE, join-token beside the database;
                         PATCHBAY_TOKEN gives the token itself)
  --unreachable-after S  seconds of silence after which a host and its devices are unreachable (PATCHBAY_UNREACHABLE_AFTER, 15)
  --log-level L          fatal, error, warn, info or debug (PATCHBAY_LOG_LEVEL, warn)
  --help

Examples:
  npm start
  npm start -- --port 8080 --database /var/lib/patchbay/patchbay.db
  npm start -- --no-embedded-host      and then  npm run host -- --control http://127.0.0.1:7070 --name rack-1
`;

const loopback = new Set(['127.0.0.1', '::1', 'localhost']);

type ServeSettings = {
  readonly port: number;
  readonly address: string;
  readonly database: string;
  readonly embeddedDevices: number;
  /** As it is given; otherwise it is kept in the file. */
  readonly token: string | undefined;
  readonly tokenFile: string;
  readonly unreachableAfter: number;
  readonly logLevel: string;
};

function readSettings(args: readonly string[], environment: NodeJS.ProcessEnv): ServeSettings | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      port: { type: 'string', default: environment['PATCHBAY_PORT'] ?? '7070' },
      address: { type: 'string', default: environment['PATCHBAY_ADDRESS'] ?? '127.0.0.1' },
      database: { type: 'string', default: environment['PATCHBAY_DATABASE'] ?? 'data/patchbay.db' },
      'embedded-devices': { type: 'string', default: environment['PATCHBAY_EMBEDDED_DEVICES'] ?? '4' },
      'no-embedded-host': { type: 'boolean', default: false },
      'token-file': { type: 'string', default: environment['PATCHBAY_TOKEN_FILE'] ?? '' },
      'unreachable-after': { type: 'string', default: environment['PATCHBAY_UNREACHABLE_AFTER'] ?? '15' },
      unprotected: { type: 'boolean', default: environment['PATCHBAY_UNPROTECTED'] === '1' },
      'log-level': { type: 'string', default: environment['PATCHBAY_LOG_LEVEL'] ?? 'warn' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  if (!loopback.has(values.address) && !values.unprotected) {
    throw new UsageError(
      `--address ${values.address} can be reached from other machines, and the service asks nobody for a key yet: use 127.0.0.1, or add --unprotected on a network that you trust`,
    );
  }
  return {
    port: readInteger('port', values.port, 0, 65_535),
    address: values.address,
    database: values.database,
    embeddedDevices: values['no-embedded-host'] ? 0 : readInteger('embedded-devices', values['embedded-devices'], 0, 1_000),
    token: environment['PATCHBAY_TOKEN'],
    tokenFile: values['token-file'] || join(dirname(values.database), 'join-token'),
    unreachableAfter: readInteger('unreachable-after', values['unreachable-after'], 1, 3_600) * 1_000,
    logLevel: readLogLevel(values['log-level']),
  };
}

/** Serves until the signal is aborted. @throws {UsageError} {StartError} */
export async function serve(args: readonly string[], signal: AbortSignal): Promise<void> {
  const settings = readSettings(args, process.env);
  if (settings === 'help') return console.log(serveHelp);
  makeFolder(settings.database);
  const joinToken = keepJoinToken(settings.token, settings.tokenFile);
  const { app, url } = await startService(settings, joinToken);
  const host = settings.embeddedDevices > 0 ? startEmbeddedHost(url, joinToken, settings) : null;
  console.log(`Patchbay is running${host === null ? '' : ` with ${settings.embeddedDevices} embedded devices`}.`);
  console.log(`  API            ${url}/v1`);
  console.log(`  documentation  ${url}/documentation`);
  console.log(`  health         ${url}/v1/health`);
  if (settings.token === undefined) console.log(`  join token     ${settings.tokenFile}`);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  await host?.terminate();
  await app.close();
}

async function startService(settings: ServeSettings, joinToken: string) {
  const { port, address } = settings;
  const app = await openService(settings, joinToken);
  try {
    return { app, url: await app.listen({ port, host: address }) };
  } catch (error) {
    await app.close();
    if (!isSystemError(error)) throw error;
    throw new StartError(
      error.code === 'EADDRINUSE'
        ? `port ${port} on ${address} is taken: stop what listens there, or choose another with --port`
        : `cannot listen on ${address}: ${error.message}`,
    );
  }
}

async function openService({ database, logLevel, unreachableAfter }: ServeSettings, joinToken: string) {
  try {
    // Logs go to standard error, so that standard output is what the command says to its user.
    return await createService({
      databaseFile: database,
      joinToken,
      unreachableAfter,
      logger: { level: logLevel, stream: process.stderr },
    });
  } catch (error) {
    throw cannotOpen(database, error);
  }
}

function makeFolder(database: string): void {
  try {
    mkdirSync(dirname(database), { recursive: true });
  } catch (error) {
    throw cannotOpen(database, error);
  }
}

function cannotOpen(database: string, error: unknown): unknown {
  if (!isSystemError(error)) return error;
  return new StartError(`cannot open the database ${database}: ${error.message}: choose another file with --database`);
}

/** What the operating system or SQLite refuses; anything else is a mistake of ours, shown with its stack. */
function isSystemError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}

function startEmbeddedHost(url: string, joinToken: string, { embeddedDevices, logLevel }: ServeSettings): Worker {
  const workerData: EmbeddedHostData = { controlUrl: url, joinToken, devices: embeddedDevices, logLevel };
  const worker = new Worker(new URL('./embedded-host.ts', import.meta.url), { workerData });
  worker.on('error', (error) => console.error('the embedded host failed:', error));
  return worker;
}
