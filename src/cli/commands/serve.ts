// The options of `patchbay serve`.

import type { Command } from '@commander-js/extra-typings';
import type { serve } from '../running/serve.ts';
import { runUntilShutdown } from '../shutdown.ts';
import { addExamples } from './examples.ts';

/** @param load Loads the code of the service. */
export function addServeCommand(command: Command, load: () => Promise<typeof serve>): void {
  const complete = command
    .option('--port <n>', 'port to listen on; 0: any free port (PATCHBAY_PORT, default: 7070)')
    .option('--address <address>', 'address to listen on (PATCHBAY_ADDRESS, default: 127.0.0.1)')
    .option(
      '--database <database>',
      'SQLite file, created if it does not exist; or postgresql://USER:PASSWORD@HOST/NAME, which several replicas can share (PATCHBAY_DATABASE or DATABASE_URL, default: data/patchbay.db)',
    )
    .option('--embedded-devices <n>', 'number of devices of the embedded host (PATCHBAY_EMBEDDED_DEVICES, default: 4; with PostgreSQL: 0)')
    .option('--no-embedded-host', 'do not run an embedded host')
    .option(
      '--image-memory <n>',
      'memory budget of all images on the embedded host, in bytes (PATCHBAY_IMAGE_MEMORY, default: 4294967296, which is 4 GiB)',
    )
    .option(
      '--admin-key-file <file>',
      'file for the administrator key, which the first start creates; only its owner can read it (PATCHBAY_ADMIN_KEY_FILE, default: admin-key next to the database; with PostgreSQL: data/admin-key)',
    )
    .option('--new-admin-key', 'create another administrator key, if the key is lost')
    .option(
      '--signing-keys <folder>',
      'folder of the private keys that sign builds and checkpoints (PATCHBAY_SIGNING_KEYS, default: signing-keys next to the database)',
    )
    .option('--new-signing-key', 'create another signing key, if the key is lost; no older key endorses it')
    .option(
      '--accept-lost-transactions',
      'start although the SQLite file lost its -wal file, and with it the last transactions (default: refuse to start)',
    )
    .option(
      '--keep-events <days>',
      'remove audit events older than this, but not their proofs (PATCHBAY_KEEP_EVENTS, default: keep forever)',
    )
    .option(
      '--max-events <n>',
      'remove audit events that are not among the newest n, but not their proofs (PATCHBAY_MAX_EVENTS, default: any number)',
    )
    .option(
      '--keep-reports <days>',
      'remove the reports of loads that were requested earlier; the loads stay (PATCHBAY_KEEP_REPORTS, default: keep forever)',
    )
    .option(
      '--max-reports <n>',
      'remove the reports that are not among those of the newest n loads with a report (PATCHBAY_MAX_REPORTS, default: any number)',
    )
    .option(
      '--keep-history <days>',
      'remove the versions of devices that were removed from memory earlier, except those that a rollback needs (PATCHBAY_KEEP_HISTORY, default: keep forever)',
    )
    .option(
      '--max-history <n>',
      'remove the versions of a module on a device that are not among its newest n, except those that a rollback needs (PATCHBAY_MAX_HISTORY, default: any number)',
    )
    .option(
      '--keep-loads <days>',
      'remove ended loads that were requested earlier and that the history does not name (PATCHBAY_KEEP_LOADS, default: keep forever)',
    )
    .option(
      '--max-loads <n>',
      'remove ended loads that are not among the newest n and that the history does not name (PATCHBAY_MAX_LOADS, default: any number)',
    )
    .option(
      '--keep-images <days>',
      'remove images older than this that no device has or can roll back to (PATCHBAY_KEEP_IMAGES, default: keep forever)',
    )
    .option(
      '--keep-versions <n>',
      'with --keep-images, --keep-history or --max-history: earlier versions of a module that a device can roll back to (PATCHBAY_KEEP_VERSIONS, default: 5)',
    )
    .option('--no-keys', 'disable authentication; only for an --address of this machine (PATCHBAY_NO_KEYS=1)')
    .option('--rate-limit <n>', 'maximum number of requests per minute of each key and each host (PATCHBAY_RATE_LIMIT, default: 60000)')
    .option(
      '--trusted-proxies <addresses>',
      'addresses and CIDR ranges of proxies in front of the service, separated by commas; request limits use the client address in X-Forwarded-For from these proxies, otherwise the address of the connection (PATCHBAY_TRUSTED_PROXIES, default: none)',
    )
    .option(
      '--token-file <file>',
      'file for the join token, which device hosts register with (PATCHBAY_TOKEN_FILE, default: join-token next to the database; PATCHBAY_TOKEN: the token itself)',
    )
    .option(
      '--unreachable-after <seconds>',
      'time since the last contact after which a host and its devices are unreachable (PATCHBAY_UNREACHABLE_AFTER, default: 15)',
    )
    .option(
      '--public-url <url>',
      'URL at which people use the service, such as https://patchbay.example.com: for signing in, as the source of webhook events, and for links in messages to Slack and Teams (PATCHBAY_PUBLIC_URL, default: none; people sign in at the URL of their request)',
    )
    .option(
      '--oidc-issuer <url>',
      'OpenID Connect identity provider with which people sign in to the dashboard (PATCHBAY_OIDC_ISSUER, default: none)',
    )
    .option('--oidc-client-id <id>', 'identifier of this service at the provider (PATCHBAY_OIDC_CLIENT_ID)')
    .option(
      '--oidc-client-secret-file <file>',
      'file with the secret of this service at the provider (PATCHBAY_OIDC_CLIENT_SECRET_FILE; PATCHBAY_OIDC_CLIENT_SECRET: the secret itself; default: a public client without a secret)',
    )
    .option(
      '--oidc-roles <rules>',
      'roles by values of the role claim, such as admin=platform-admins,viewer=*; * is everyone whom the provider knows (PATCHBAY_OIDC_ROLES)',
    )
    .option(
      '--oidc-role-claim <claim>',
      'claim with the values, or the path to it, such as realm_access.roles (PATCHBAY_OIDC_ROLE_CLAIM, default: groups)',
    )
    .option(
      '--oidc-device-scopes <rules>',
      'devices by values of a claim, as label selectors separated by semicolons, such as "north-operators=zone=north;platform=*"; someone with several values can use the devices of all, * is all devices, and administrators can use all (PATCHBAY_OIDC_DEVICE_SCOPES, default: everyone can use all devices)',
    )
    .option(
      '--oidc-device-scope-claim <claim>',
      'claim with the values of --oidc-device-scopes, or the path to it (PATCHBAY_OIDC_DEVICE_SCOPE_CLAIM, default: the role claim)',
    )
    .option(
      '--oidc-unmatched-device-scope <choice>',
      'for people and tokens that match no rule of --oidc-device-scopes: refuse or all-devices (PATCHBAY_OIDC_UNMATCHED_DEVICE_SCOPE, default: refuse)',
    )
    .option('--oidc-scopes <scopes>', 'OAuth scopes that are requested (PATCHBAY_OIDC_SCOPES, default: openid profile email)')
    .option(
      '--oidc-audience <audience>',
      'accept access tokens of the provider for this audience as API keys (PATCHBAY_OIDC_AUDIENCE, default: accept none)',
    )
    .option('--oidc-name <name>', 'name of the provider on the sign-in page (PATCHBAY_OIDC_NAME, default: its host)')
    .option('--session-hours <n>', 'hours after which people must sign in again (PATCHBAY_SESSION_HOURS, default: 8)')
    .option(
      '--allow-private-webhooks',
      'let webhooks connect to private addresses and to this machine (PATCHBAY_ALLOW_PRIVATE_WEBHOOKS=1, default: only public addresses)',
    )
    .option(
      '--decommission-unreachable-after <days>',
      'time for which a running service finds a host unreachable, after which it decommissions the host with its devices (PATCHBAY_DECOMMISSION_UNREACHABLE_AFTER, default: never)',
    )
    .option('--log-level <level>', 'fatal, error, warn, info or debug (PATCHBAY_LOG_LEVEL, default: warn)')
    .addHelpText('after', '\n`npm start -- …` is the same command.')
    .action((options) => runUntilShutdown(async (stopped) => (await load())(options, stopped)));
  addExamples(
    complete,
    'patchbay serve',
    'patchbay serve --port 8080 --database /var/lib/patchbay/patchbay.db',
    'patchbay serve --no-embedded-host',
  );
}
