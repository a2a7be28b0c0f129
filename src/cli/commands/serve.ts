// `patchbay serve`: its options; the service itself is loaded when it starts.

import type { Command } from '@commander-js/extra-typings';
import type { serve } from '../running/serve.ts';
import { runUntilShutdown } from '../shutdown.ts';
import { addExamples } from './examples.ts';

/** @param load Loads the service. */
export function addServeCommand(command: Command, load: () => Promise<typeof serve>): void {
  const complete = command
    .option('--port <n>', 'port to listen on; 0: any free port (PATCHBAY_PORT, 7070)')
    .option('--address <address>', 'address to listen on (PATCHBAY_ADDRESS, 127.0.0.1)')
    .option(
      '--database <where>',
      'SQLite file, created if it does not exist; or postgresql://USER:PASSWORD@HOST/NAME, which any number of services may share (PATCHBAY_DATABASE, DATABASE_URL, data/patchbay.db)',
    )
    .option('--embedded-devices <n>', 'devices of the embedded host (PATCHBAY_EMBEDDED_DEVICES, 4; with PostgreSQL 0)')
    .option('--no-embedded-host', 'do not run devices in this process')
    .option(
      '--image-memory <n>',
      'bytes that the memories of all images of the embedded host may have together (PATCHBAY_IMAGE_MEMORY, 4294967296, which is 4 GiB)',
    )
    .option(
      '--admin-key-file <file>',
      'file for the administrator key that the first start creates (PATCHBAY_ADMIN_KEY_FILE, admin-key beside the database, with PostgreSQL in data/); only its owner can read it',
    )
    .option('--new-admin-key', 'create another administrator key, if the first is lost')
    .option(
      '--signing-keys <folder>',
      'folder of the key that signs builds and checkpoints of the audit trail (PATCHBAY_SIGNING_KEYS, signing-keys beside the database)',
    )
    .option('--new-signing-key', 'create another signing key, if the first is lost; no older key vouches for it')
    .option(
      '--accept-lost-transactions',
      'start although the SQLite file lost its -wal, and with it the last transactions; without it, the service refuses to start',
    )
    .option(
      '--keep-events <days>',
      'remove events of the audit trail that are older; the proofs of these events stay (PATCHBAY_KEEP_EVENTS, for ever)',
    )
    .option(
      '--keep-images <days>',
      'remove images that are older, and that no device has or can go back to (PATCHBAY_KEEP_IMAGES, for ever)',
    )
    .option(
      '--keep-versions <n>',
      'versions of a module that a device can go back to, besides its current version; for --keep-images (PATCHBAY_KEEP_VERSIONS, 5)',
    )
    .option('--no-keys', 'disable authentication, and listen on this machine only (PATCHBAY_NO_KEYS=1)')
    .option('--rate-limit <n>', 'requests that each key and each host may make in a minute (PATCHBAY_RATE_LIMIT, 60000)')
    .option(
      '--trusted-proxies <addresses>',
      'addresses and CIDR ranges of proxies before the service, separated by commas: the limits of requests count the address that these proxies forward in X-Forwarded-For, and otherwise that of the connection (PATCHBAY_TRUSTED_PROXIES, none)',
    )
    .option(
      '--token-file <file>',
      'file for the token that device hosts register with (PATCHBAY_TOKEN_FILE, join-token beside the database; PATCHBAY_TOKEN gives the token itself)',
    )
    .option(
      '--unreachable-after <seconds>',
      'seconds of silence after which a host and its devices are unreachable (PATCHBAY_UNREACHABLE_AFTER, 15)',
    )
    .option('--log-level <level>', 'fatal, error, warn, info or debug (PATCHBAY_LOG_LEVEL, warn)')
    .addHelpText('after', '\n`npm start -- …` is the same command.')
    .action((options) => runUntilShutdown(async (stopped) => (await load())(options, stopped)));
  addExamples(
    complete,
    'patchbay serve',
    'patchbay serve --port 8080 --database /var/lib/patchbay/patchbay.db',
    'patchbay serve --no-embedded-host',
  );
}
