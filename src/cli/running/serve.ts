// `patchbay serve`: runs the service, by default with an embedded device host.

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
import { isUnlimited } from '../../service/retention/limit.ts';
import type { RetentionSettings } from '../../service/retention/retention.ts';
import type { ProviderSettings } from '../../service/sign-in/identity-provider.ts';
import { SigningKeyError } from '../../service/signing-keys/signing-keys.ts';
import type { Tracer } from '../../tracing/tracer.ts';
import { CommandError, UsageError } from '../errors.ts';
import { readImageMemory, readInteger, readLogLevel } from '../option-values.ts';
import { describeAdminKey, installAdminKey, writeAdminKey } from './admin-key.ts';
import type { EmbeddedHostData } from './embedded-host.ts';
import { findExposedFiles, findExposedFolders } from './exposed-files.ts';
import { rejectFileUrl } from './file-url.ts';
import { providerVariables, readProvider, readUrl } from './identity-provider.ts';
import { readOrCreateJoinToken } from './join-token.ts';
import { listSigningKeyFiles, openPrivateKeys } from './signing-keys.ts';
import { openConfiguredTracer } from './tracing.ts';
import { readTrustedProxies } from './trusted-proxies.ts';

/** Milliseconds between removals of expired data. */
const retentionInterval = 3_600_000;

/** Maximum wait for an unreachable database at the start, and the interval of attempts, in milliseconds. */
const databaseWait = { max: 60_000, interval: 500 } as const;

const loopback = new Set(['127.0.0.1', '::1', 'localhost']);

type ServeSettings = {
  readonly port: number;
  readonly address: string;
  readonly database: string;
  /** The folder of files whose path is not set. */
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
  /** The join token, if it is given; otherwise it is in the file. */
  readonly token: string | undefined;
  readonly tokenFile: string;
  readonly unreachableAfter: number;
  readonly provider: ProviderSettings | null;
  /** Null if it is not set. */
  readonly publicUrl: URL | null;
  readonly allowPrivateWebhooks: boolean;
  /** Milliseconds; null: never. */
  readonly decommissionUnreachableAfter: number | null;
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
  decommissionUnreachableAfter: 'PATCHBAY_DECOMMISSION_UNREACHABLE_AFTER',
  adminKeyFile: 'PATCHBAY_ADMIN_KEY_FILE',
  signingKeys: 'PATCHBAY_SIGNING_KEYS',
  keepEvents: 'PATCHBAY_KEEP_EVENTS',
  maxEvents: 'PATCHBAY_MAX_EVENTS',
  keepReports: 'PATCHBAY_KEEP_REPORTS',
  maxReports: 'PATCHBAY_MAX_REPORTS',
  keepLoads: 'PATCHBAY_KEEP_LOADS',
  maxLoads: 'PATCHBAY_MAX_LOADS',
  keepHistory: 'PATCHBAY_KEEP_HISTORY',
  maxHistory: 'PATCHBAY_MAX_HISTORY',
  keepImages: 'PATCHBAY_KEEP_IMAGES',
  keepVersions: 'PATCHBAY_KEEP_VERSIONS',
  rateLimit: 'PATCHBAY_RATE_LIMIT',
  trustedProxies: 'PATCHBAY_TRUSTED_PROXIES',
  publicUrl: 'PATCHBAY_PUBLIC_URL',
  logLevel: 'PATCHBAY_LOG_LEVEL',
  ...providerVariables,
} as const;

/** The options of the command, unparsed. */
type ServeOptions = { readonly [option in keyof typeof variables]?: string | undefined } & {
  readonly embeddedHost: boolean;
  readonly keys: boolean;
  readonly newAdminKey?: true | undefined;
  readonly newSigningKey?: true | undefined;
  readonly acceptLostTransactions?: true | undefined;
  readonly allowPrivateWebhooks?: true | undefined;
};

function readSettings(options: ServeOptions, environment: NodeJS.ProcessEnv): ServeSettings {
  const setting = (option: keyof typeof variables, defaultValue = '') => options[option] ?? environment[variables[option]] ?? defaultValue;
  const address = setting('address', '127.0.0.1');
  const hasKeys = options.keys && environment['PATCHBAY_NO_KEYS'] !== '1';
  if (!hasKeys && !loopback.has(address)) {
    throw new UsageError(
      `--no-keys cannot be combined with --address ${address}: other machines could use the service without authentication; use 127.0.0.1, or omit --no-keys`,
    );
  }
  const database = setting('database', environment['DATABASE_URL'] ?? 'data/patchbay.db');
  rejectFileUrl('--database', database);
  const isShared = isPostgresqlUrl(database);
  if (!isShared && /^[a-z]+:\/\//.test(database))
    throw new UsageError(`--database: expected a file or postgresql://…, received "${redactPassword(database)}"`);
  const publicUrl = readPublicUrl(setting('publicUrl'));
  const folder = isShared ? 'data' : dirname(database);
  // Several replicas that share a database would each have a host of the same name.
  const embeddedDevices = setting('embeddedDevices') || (isShared ? '0' : '4');
  return {
    port: readInteger('port', setting('port', '7070'), 0, 65_535),
    address,
    database,
    folder,
    imageMemory: readImageMemory(setting('imageMemory', String(defaultImageMemory))),
    embeddedDevices: options.embeddedHost ? readInteger('embedded-devices', embeddedDevices, 0, 1_000) : 0,
    adminKeyFile: setting('adminKeyFile') || join(folder, 'admin-key'),
    newAdminKey: options.newAdminKey === true,
    signingKeys: setting('signingKeys') || join(folder, 'signing-keys'),
    newSigningKey: options.newSigningKey === true,
    acceptLostTransactions: options.acceptLostTransactions === true,
    retention: readRetention(setting),
    keys: hasKeys ? 'required' : 'off',
    requestsPerMinute: readInteger('rate-limit', setting('rateLimit', String(defaultLimits.requestsPerMinute)), 1, 1_000_000_000),
    trustedProxies: readTrustedProxies(setting('trustedProxies')),
    token: environment['PATCHBAY_TOKEN'],
    tokenFile: setting('tokenFile') || join(folder, 'join-token'),
    unreachableAfter: readInteger('unreachable-after', setting('unreachableAfter', '15'), 1, 3_600) * 1_000,
    provider: readProvider(setting, {
      publicUrl,
      clientSecret: environment['PATCHBAY_OIDC_CLIENT_SECRET'],
    }),
    publicUrl,
    allowPrivateWebhooks: options.allowPrivateWebhooks === true || environment['PATCHBAY_ALLOW_PRIVATE_WEBHOOKS'] === '1',
    decommissionUnreachableAfter: readDays('decommission-unreachable-after', setting('decommissionUnreachableAfter')),
    logLevel: readLogLevel(setting('logLevel', 'warn')),
  };
}

/** Returns what the service stores for how long. @throws {UsageError} */
function readRetention(setting: (option: keyof typeof variables, defaultValue?: string) => string): RetentionSettings {
  const events = { age: readDays('keep-events', setting('keepEvents')), number: readMaximum('max-events', setting('maxEvents')) };
  const reports = { age: readDays('keep-reports', setting('keepReports')), number: readMaximum('max-reports', setting('maxReports')) };
  const loads = { age: readDays('keep-loads', setting('keepLoads')), number: readMaximum('max-loads', setting('maxLoads')) };
  const history = { age: readDays('keep-history', setting('keepHistory')), number: readMaximum('max-history', setting('maxHistory')) };
  if (!isUnlimited(loads) && isUnlimited(history))
    throw new UsageError(
      `${loads.age === null ? '--max-loads' : '--keep-loads'}: the loads that the history names are kept, so also limit the history with --keep-history or --max-history`,
    );
  return {
    interval: retentionInterval,
    events,
    reports,
    loads,
    history,
    keepImages: readDays('keep-images', setting('keepImages')),
    keepVersions: readInteger('keep-versions', setting('keepVersions', '5'), 1, 1_000),
  };
}

/** Returns the origin at which people use the service; null for an empty text. @throws {UsageError} */
function readPublicUrl(text: string): URL | null {
  if (text === '') return null;
  const url = readUrl('--public-url', text);
  if (url.pathname !== '/')
    throw new UsageError(`--public-url: expected a URL without a path, received "${text}": the dashboard needs an origin of its own`);
  return url;
}

/** Returns a database URL without its password. */
function redactPassword(database: string): string {
  return database.replace(/^([a-z]+:\/\/[^:/@]*):[^@]*@/, '$1:…@');
}

/** Returns a number of days in milliseconds; null for an empty text. */
function readDays(flag: string, text: string): number | null {
  return text === '' ? null : readInteger(flag, text, 1, 36_500) * 24 * 3_600_000;
}

/** Returns the maximum number of stored objects; null for an empty text. */
function readMaximum(flag: string, text: string): number | null {
  return text === '' ? null : readInteger(flag, text, 1, 1_000_000_000);
}

/** Runs the service until the signal is aborted. @throws {UsageError} {CommandError} */
export async function serve(options: ServeOptions, signal: AbortSignal): Promise<void> {
  const settings = readSettings(options, process.env);
  makeFolder(settings);
  const joinToken = readOrCreateJoinToken(settings.token, settings.tokenFile);
  const adminKey = { secret: '' };
  const storeAdminKey = (secret: string) => {
    // A second attempt to open the database replaces the key of the first attempt.
    writeAdminKey(settings.adminKeyFile, secret, settings.newAdminKey || adminKey.secret !== '');
    adminKey.secret = secret;
  };
  const tracer = await openConfiguredTracer('patchbay');
  const { app, url } = await startService(settings, {
    tracer,
    joinToken,
    storeAdminKey,
    hasNewAdminKey: () => adminKey.secret !== '',
    signal,
  });
  for (const exposed of findExposedSecrets(settings)) console.error(`warning: ${exposed}`);
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
  await tracer?.close();
}

type Service = Awaited<ReturnType<typeof createService>>;

type Start = {
  readonly tracer: Tracer | null;
  readonly joinToken: string;
  readonly storeAdminKey: (secret: string) => void;
  readonly hasNewAdminKey: () => boolean;
  readonly signal: AbortSignal;
};

async function startService(settings: ServeSettings, start: Start) {
  const { port, address } = settings;
  const app = await openService(settings, start);
  if (start.hasNewAdminKey()) installAdminKey(settings.adminKeyFile);
  try {
    return { app, url: await app.listen({ port, host: address }) };
  } catch (error) {
    await app.close();
    if (!isSystemError(error)) throw error;
    throw new CommandError(
      error.code === 'EADDRINUSE'
        ? `port ${port} on ${address} is in use: stop the process that listens on it, or choose another port with --port`
        : `cannot listen on ${address}: ${error.message}`,
    );
  }
}

/** Opens the service; waits if PostgreSQL is temporarily unreachable, for example during its restart. */
async function openService(settings: ServeSettings, start: Start): Promise<Service> {
  const deadline = Date.now() + databaseWait.max;
  for (let isLogged = false; ; isLogged = true) {
    try {
      return await tryOpenService(settings, start);
    } catch (error) {
      const isTransient = findUnavailability(error)?.isTransient === true;
      const mayRetry = isPostgresqlUrl(settings.database) && isTransient && Date.now() < deadline && !start.signal.aborted;
      if (!mayRetry) throw explainOpenError(settings.database, error);
      if (!isLogged) console.error(`waiting up to ${databaseWait.max / 1_000} s for the database ${redactPassword(settings.database)}`);
      await delay(databaseWait.interval);
    }
  }
}

function tryOpenService(settings: ServeSettings, { joinToken, storeAdminKey, tracer }: Start): Promise<Service> {
  const { database, logLevel, unreachableAfter, decommissionUnreachableAfter, keys, newAdminKey, signingKeys, newSigningKey, retention } =
    settings;
  const { requestsPerMinute, trustedProxies } = settings;
  // Logs go to standard error, so that standard output has only the messages of the command.
  return createService({
    database,
    joinToken,
    unreachableAfter,
    decommissionUnreachableAfter,
    keys,
    signingKeys: { privateKeys: openPrivateKeys(signingKeys), isLost: newSigningKey },
    retention,
    beforeCreation: () => rejectMissingDatabase(settings),
    acceptLostTransactions: settings.acceptLostTransactions,
    environmentFaults: () => findExposedSecrets(settings),
    adminKey: keys === 'off' && !newAdminKey ? null : { when: newAdminKey ? 'always' : 'first start', keep: storeAdminKey },
    limits: { ...defaultLimits, requestsPerMinute },
    webhooks: { allowPrivate: settings.allowPrivateWebhooks, publicUrl: settings.publicUrl?.origin ?? null },
    trustedProxies,
    tracer,
    provider: settings.provider,
    logger: { level: logLevel, stream: createLossyStream(process.stderr.fd) },
  });
}

/** Does not create a database if keys of an installation exist: its database was lost, or is elsewhere. @throws {CommandError} */
function rejectMissingDatabase({ database, adminKeyFile, signingKeys }: ServeSettings): void {
  const keys = listSigningKeyFiles(signingKeys).length;
  const found = [...(existsSync(adminKeyFile) ? [adminKeyFile] : []), ...(keys > 0 ? [signingKeys] : [])];
  if (found.length === 0) return;
  throw new CommandError(
    `the database ${redactPassword(database)} is missing or empty, but ${found.join(' and ')} ${found.length === 1 ? 'contains keys' : 'contain keys'} of an installation: ` +
      'restore the database from a backup, or give its location with --database (from SQLite to PostgreSQL: patchbay db copy). ' +
      `For a new installation, or after an interrupted first start, first move ${found.join(' and ')} to another place`,
  );
}

/** Returns a warning per secret file of the service, and per folder of these files, whose mode is too open. */
function findExposedSecrets(settings: ServeSettings): string[] {
  const files = secretFiles(settings);
  // The folder of the signing keys is checked even while it is empty.
  const folders = new Set([...files.filter((file) => existsSync(file)).map((file) => dirname(file)), settings.signingKeys]);
  return [...findExposedFiles(files), ...findExposedFolders([...folders])];
}

/** Returns the files of the service that only its owner may read. */
function secretFiles({ database, adminKeyFile, signingKeys, token, tokenFile }: ServeSettings): string[] {
  const files = isPostgresqlUrl(database) ? [] : [database, `${database}-wal`, `${database}-shm`];
  return [...files, adminKeyFile, ...(token === undefined ? [tokenFile] : []), ...listSigningKeyFiles(signingKeys)];
}

function makeFolder({ database, folder }: ServeSettings): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw explainOpenError(database, error);
  }
}

function explainOpenError(database: string, error: unknown): unknown {
  if (error instanceof SigningKeyError)
    return new CommandError(
      `${error.message}: restore it, give its location with --signing-keys, or create another with --new-signing-key`,
    );
  if (error instanceof DatabaseInUse || error instanceof PoolerError) return new CommandError(error.message);
  if (error instanceof TransactionsLost)
    return new CommandError(
      `${error.message}. Restore that file, or restore a backup of the database (docs/how-to/deploy.md); ` +
        'to continue without these transactions, start once with --accept-lost-transactions',
    );
  if (error instanceof MigrationError) return new CommandError(`cannot use the database ${redactPassword(database)}: ${error.message}`);
  const unavailable = findUnavailability(error);
  if (!isSystemError(error)) {
    if (unavailable === null) return error;
    return new CommandError(`cannot open the database ${redactPassword(database)}: ${unavailable.detail}`);
  }
  const advice = isPostgresqlUrl(database) ? 'check that it is running and accepts this user' : 'choose another file with --database';
  return new CommandError(`cannot open the database ${redactPassword(database)}: ${error.message || error.code}: ${advice}`);
}

/** Returns whether the operating system or SQLite reported the error; any other error is a bug, and is printed with its stack. */
function isSystemError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}

function startEmbeddedHost(url: string, joinToken: string, { embeddedDevices, imageMemory, logLevel }: ServeSettings): Worker {
  const workerData: EmbeddedHostData = { controlUrl: url, joinToken, devices: embeddedDevices, imageMemory, logLevel };
  const worker = new Worker(new URL('./embedded-host.ts', import.meta.url), { workerData });
  worker.on('error', (error) => console.error('the embedded host failed:', error));
  return worker;
}
