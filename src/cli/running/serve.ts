// `patchbay serve`: the service, with a device host of its own unless it is told otherwise.

import console from 'node:console';
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { defaultImageMemory } from '../../machine/index.ts';
import { createLossyStream } from '../../protocol/logging.ts';
import { createService } from '../../service/app.ts';
import { MigrationError } from '../../service/database/migrations.ts';
import { DatabaseInUse } from '../../service/database/sqlite/lock.ts';
import { TransactionsLost } from '../../service/database/sqlite/log-marker.ts';
import { isPostgresqlUrl } from '../../service/database/store.ts';
import { findUnavailability, PoolerError } from '../../service/database/unavailable.ts';
import type { KeyPolicy } from '../../service/http/access.ts';
import { defaultLimits } from '../../service/http/request-limits.ts';
import type { RetentionSettings } from '../../service/retention/retention.ts';
import { SigningKeyError } from '../../service/signing-keys/signing-keys.ts';
import { CommandError, readImageMemory, readInteger, readLogLevel, UsageError } from '../option-values.ts';
import { describeAdminKey, installAdminKey, writeAdminKey } from './admin-key.ts';
import type { EmbeddedHostData } from './embedded-host.ts';
import { findExposedFiles, findExposedFolders } from './exposed-files.ts';
import { rejectFileUrl } from './file-url.ts';
import { readOrCreateJoinToken } from './join-token.ts';
import { listSigningKeyFiles, openPrivateKeys } from './signing-keys.ts';
import { readTrustedProxies } from './trusted-proxies.ts';

/** How often is looked for what is older than it is kept, in milliseconds. */
const retentionInterval = 3_600_000;

/** How long a database is waited for that is away when the service starts, and how often it is tried, in milliseconds. */
const databaseWaits = { most: 60_000, interval: 500 } as const;

const loopback = new Set(['127.0.0.1', '::1', 'localhost']);

type ServeSettings = {
  readonly port: number;
  readonly address: string;
  readonly database: string;
  /** Where files are kept of which it is not said where. */
  readonly folder: string;
  readonly embeddedDevices: number;
  /** Bytes. */
  readonly imageMemory: number;
  readonly adminKeyFile: string;
  readonly newAdminKey: boolean;
  readonly signingKeys: string;
  readonly newSigningKey: boolean;
  readonly acceptLostTransactions: boolean;
  readonly retention: RetentionSettings;
  readonly keys: KeyPolicy;
  readonly requestsPerMinute: number;
  readonly trustedProxies: readonly string[];
  /** As it is given; otherwise it is kept in the file. */
  readonly token: string | undefined;
  readonly tokenFile: string;
  readonly unreachableAfter: number;
  readonly logLevel: string;
};

/** The environment variable of each option that takes a value. */
const variables = {
  port: 'PATCHBAY_PORT',
  address: 'PATCHBAY_ADDRESS',
  database: 'PATCHBAY_DATABASE',
  embeddedDevices: 'PATCHBAY_EMBEDDED_DEVICES',
  imageMemory: 'PATCHBAY_IMAGE_MEMORY',
  tokenFile: 'PATCHBAY_TOKEN_FILE',
  unreachableAfter: 'PATCHBAY_UNREACHABLE_AFTER',
  adminKeyFile: 'PATCHBAY_ADMIN_KEY_FILE',
  signingKeys: 'PATCHBAY_SIGNING_KEYS',
  keepEvents: 'PATCHBAY_KEEP_EVENTS',
  keepImages: 'PATCHBAY_KEEP_IMAGES',
  keepVersions: 'PATCHBAY_KEEP_VERSIONS',
  rateLimit: 'PATCHBAY_RATE_LIMIT',
  trustedProxies: 'PATCHBAY_TRUSTED_PROXIES',
  logLevel: 'PATCHBAY_LOG_LEVEL',
} as const;

/** The options of the command, as they are given. */
type ServeOptions = { readonly [option in keyof typeof variables]?: string | undefined } & {
  readonly embeddedHost: boolean;
  readonly keys: boolean;
  readonly newAdminKey?: true | undefined;
  readonly newSigningKey?: true | undefined;
  readonly acceptLostTransactions?: true | undefined;
};

function readSettings(options: ServeOptions, environment: NodeJS.ProcessEnv): ServeSettings {
  const given = (option: keyof typeof variables, otherwise = '') => options[option] ?? environment[variables[option]] ?? otherwise;
  const address = given('address', '127.0.0.1');
  const hasKeys = options.keys && environment['PATCHBAY_NO_KEYS'] !== '1';
  if (!hasKeys && !loopback.has(address)) {
    throw new UsageError(
      `--address ${address} can be reached from other machines, where anyone could do anything without a key: leave out --no-keys, or use 127.0.0.1`,
    );
  }
  const database = given('database', environment['DATABASE_URL'] ?? 'data/patchbay.db');
  rejectFileUrl('--database', database);
  const isShared = isPostgresqlUrl(database);
  if (!isShared && /^[a-z]+:\/\//.test(database))
    throw new UsageError(`--database ${withoutPassword(database)} is none that the service knows: give a file, or postgresql://…`);
  const folder = isShared ? 'data' : dirname(database);
  // Several services that share a database would each have a host of the same name.
  const embeddedDevices = given('embeddedDevices') || (isShared ? '0' : '4');
  return {
    port: readInteger('port', given('port', '7070'), 0, 65_535),
    address,
    database,
    folder,
    imageMemory: readImageMemory(given('imageMemory', String(defaultImageMemory))),
    embeddedDevices: options.embeddedHost ? readInteger('embedded-devices', embeddedDevices, 0, 1_000) : 0,
    adminKeyFile: given('adminKeyFile') || join(folder, 'admin-key'),
    newAdminKey: options.newAdminKey === true,
    signingKeys: given('signingKeys') || join(folder, 'signing-keys'),
    newSigningKey: options.newSigningKey === true,
    acceptLostTransactions: options.acceptLostTransactions === true,
    retention: {
      interval: retentionInterval,
      keepEvents: readDays('keep-events', given('keepEvents')),
      keepImages: readDays('keep-images', given('keepImages')),
      keepVersions: readInteger('keep-versions', given('keepVersions', '5'), 1, 1_000),
    },
    keys: hasKeys ? 'required' : 'off',
    requestsPerMinute: readInteger('rate-limit', given('rateLimit', String(defaultLimits.requestsPerMinute)), 1, 1_000_000_000),
    trustedProxies: readTrustedProxies(given('trustedProxies')),
    token: environment['PATCHBAY_TOKEN'],
    tokenFile: given('tokenFile') || join(folder, 'join-token'),
    unreachableAfter: readInteger('unreachable-after', given('unreachableAfter', '15'), 1, 3_600) * 1_000,
    logLevel: readLogLevel(given('logLevel', 'warn')),
  };
}

/** An address as it may be shown. */
function withoutPassword(database: string): string {
  return database.replace(/^([a-z]+:\/\/[^:/@]*):[^@]*@/, '$1:…@');
}

/** Milliseconds of so many days; null: for ever. */
function readDays(flag: string, text: string): number | null {
  return text === '' ? null : readInteger(flag, text, 1, 36_500) * 24 * 3_600_000;
}

/** Serves until the signal is aborted. @throws {UsageError} {StartError} */
export async function serve(options: ServeOptions, signal: AbortSignal): Promise<void> {
  const settings = readSettings(options, process.env);
  makeFolder(settings);
  const joinToken = readOrCreateJoinToken(settings.token, settings.tokenFile);
  const adminKey = { secret: '' };
  const keepAdminKey = (secret: string) => {
    // A key that this start wrote, before it tried again to reach the database, is not one to keep.
    writeAdminKey(settings.adminKeyFile, secret, settings.newAdminKey || adminKey.secret !== '');
    adminKey.secret = secret;
  };
  const { app, url } = await startService(settings, { joinToken, keepAdminKey, isAdminKeyMade: () => adminKey.secret !== '', signal });
  for (const exposed of exposedSecrets(settings)) console.error(`warning: ${exposed}`);
  const host = settings.embeddedDevices > 0 ? startEmbeddedHost(url, joinToken, settings) : null;
  console.log(
    `Patchbay is running${host === null ? '' : ` with ${settings.embeddedDevices} embedded ${settings.embeddedDevices === 1 ? 'device' : 'devices'}`}.`,
  );
  console.log(`  dashboard      ${url}/`);
  console.log(`  API            ${url}/v1`);
  console.log(`  documentation  ${url}/documentation`);
  console.log(`  health         ${url}/v1/health`);
  if (settings.token === undefined) console.log(`  join token     ${settings.tokenFile}`);
  if (settings.keys === 'off') console.log('  keys           authentication disabled');
  else console.log(`  admin key      ${describeAdminKey(settings.adminKeyFile, adminKey.secret)}`);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  await host?.terminate();
  await app.close();
}

type Service = Awaited<ReturnType<typeof createService>>;

type Start = {
  readonly joinToken: string;
  readonly keepAdminKey: (secret: string) => void;
  readonly isAdminKeyMade: () => boolean;
  readonly signal: AbortSignal;
};

async function startService(settings: ServeSettings, start: Start) {
  const { port, address } = settings;
  const app = await openService(settings, start);
  if (start.isAdminKeyMade()) installAdminKey(settings.adminKeyFile);
  try {
    return { app, url: await app.listen({ port, host: address }) };
  } catch (error) {
    await app.close();
    if (!isSystemError(error)) throw error;
    throw new CommandError(
      error.code === 'EADDRINUSE'
        ? `port ${port} on ${address} is taken: stop what listens there, or choose another with --port`
        : `cannot listen on ${address}: ${error.message}`,
    );
  }
}

/** A database that is away for a moment, as while it is started anew, is waited for. */
async function openService(settings: ServeSettings, start: Start): Promise<Service> {
  const deadline = Date.now() + databaseWaits.most;
  for (let isTold = false; ; isTold = true) {
    try {
      return await tryToOpen(settings, start);
    } catch (error) {
      const isAway = findUnavailability(error)?.isTransient === true;
      const isWaitedFor = isPostgresqlUrl(settings.database) && isAway && Date.now() < deadline && !start.signal.aborted;
      if (!isWaitedFor) throw cannotOpen(settings.database, error);
      if (!isTold) console.error(`waiting up to ${databaseWaits.most / 1_000} s for the database ${withoutPassword(settings.database)}`);
      await delay(databaseWaits.interval);
    }
  }
}

function tryToOpen(settings: ServeSettings, { joinToken, keepAdminKey }: Start): Promise<Service> {
  const { database, logLevel, unreachableAfter, keys, newAdminKey, signingKeys, newSigningKey, retention } = settings;
  const { requestsPerMinute, trustedProxies } = settings;
  // Logs go to standard error, so that standard output is what the command says to its user.
  return createService({
    database,
    joinToken,
    unreachableAfter,
    keys,
    signingKeys: { privateKeys: openPrivateKeys(signingKeys), isLost: newSigningKey },
    retention,
    beforeCreation: () => refuseWithoutDatabase(settings),
    acceptLostTransactions: settings.acceptLostTransactions,
    environmentFaults: () => exposedSecrets(settings),
    adminKey: keys === 'off' && !newAdminKey ? null : { when: newAdminKey ? 'always' : 'first start', keep: keepAdminKey },
    limits: { ...defaultLimits, requestsPerMinute },
    trustedProxies,
    logger: { level: logLevel, stream: createLossyStream(process.stderr.fd) },
  });
}

/** A database is not made beside the keys of another: that one was lost, or is somewhere else. @throws {CommandError} */
function refuseWithoutDatabase({ database, adminKeyFile, signingKeys }: ServeSettings): void {
  const keys = listSigningKeyFiles(signingKeys).length;
  const found = [...(existsSync(adminKeyFile) ? [adminKeyFile] : []), ...(keys > 0 ? [signingKeys] : [])];
  if (found.length === 0) return;
  throw new CommandError(
    `the database ${withoutPassword(database)} is missing or empty, but there are keys of an installation in ${found.join(' and ')}: ` +
      'restore the database from a backup, or say where it is with --database (from SQLite to PostgreSQL: patchbay db copy). ' +
      `To begin a new installation, or after a first start that was interrupted, move ${found.join(' and ')} away first`,
  );
}

/** What is wrong with the modes of the service's files, and of the folders that they are in. */
function exposedSecrets(settings: ServeSettings): string[] {
  const files = secretFiles(settings);
  // A folder that is not there says nothing; the keys' one is looked at also while no key is in it.
  const folders = new Set([...files.filter((file) => existsSync(file)).map((file) => dirname(file)), settings.signingKeys]);
  return [...findExposedFiles(files), ...findExposedFolders([...folders])];
}

/** The files of the service that only its owner is to read. */
function secretFiles({ database, adminKeyFile, signingKeys, token, tokenFile }: ServeSettings): string[] {
  const files = isPostgresqlUrl(database) ? [] : [database, `${database}-wal`, `${database}-shm`];
  return [...files, adminKeyFile, ...(token === undefined ? [tokenFile] : []), ...listSigningKeyFiles(signingKeys)];
}

function makeFolder({ database, folder }: ServeSettings): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw cannotOpen(database, error);
  }
}

function cannotOpen(database: string, error: unknown): unknown {
  if (error instanceof SigningKeyError)
    return new CommandError(
      `${error.message}: put it back, say where it is with --signing-keys, or have another made with --new-signing-key`,
    );
  if (error instanceof DatabaseInUse || error instanceof PoolerError) return new CommandError(error.message);
  if (error instanceof TransactionsLost)
    return new CommandError(
      `${error.message}. Put that file back, or restore a backup of the database (docs/how-to/deploy.md); ` +
        'to continue without these transactions, start once with --accept-lost-transactions',
    );
  if (error instanceof MigrationError) return new CommandError(`cannot use the database ${withoutPassword(database)}: ${error.message}`);
  const unavailable = findUnavailability(error);
  if (!isSystemError(error)) {
    if (unavailable === null) return error;
    return new CommandError(`cannot open the database ${withoutPassword(database)}: ${unavailable.detail}`);
  }
  const otherwise = isPostgresqlUrl(database) ? 'see that it is there and lets this user in' : 'choose another file with --database';
  return new CommandError(`cannot open the database ${withoutPassword(database)}: ${error.message || error.code}: ${otherwise}`);
}

/** What the operating system or SQLite refuses; anything else is a mistake of ours, shown with its stack. */
function isSystemError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}

function startEmbeddedHost(url: string, joinToken: string, { embeddedDevices, imageMemory, logLevel }: ServeSettings): Worker {
  const workerData: EmbeddedHostData = { controlUrl: url, joinToken, devices: embeddedDevices, imageMemory, logLevel };
  const worker = new Worker(new URL('./embedded-host.ts', import.meta.url), { workerData });
  worker.on('error', (error) => console.error('the embedded host failed:', error));
  return worker;
}
