// The options of `patchbay host`.

import type { Command } from '@commander-js/extra-typings';
import { collectValues } from '../option-values.ts';
import type { runHostCommand } from '../running/host.ts';
import { runUntilShutdown } from '../shutdown.ts';
import { addExamples } from './examples.ts';

/** @param load Loads the code of the host. */
export function addHostCommand(command: Command, load: () => Promise<typeof runHostCommand>): void {
  const complete = command
    .option('--control <url>', 'URL of the service (PATCHBAY_CONTROL, default: http://127.0.0.1:7070)')
    .option(
      '--name <name>',
      'name of the host, which identifies it after a restart (PATCHBAY_HOST_NAME, default: host name of this machine)',
    )
    .option('--devices <n>', 'number of devices, named NAME-1 to NAME-N (PATCHBAY_DEVICES, default: 4)')
    .option('--labels <key=value>', 'label of these devices; may be repeated (PATCHBAY_LABELS, separated by commas)', collectValues)
    .option('--ram-pages <n>', 'executable memory of each device, in pages of 4 KiB (PATCHBAY_RAM_PAGES, default: 256)')
    .option('--capacity <n>', 'maximum number of devices on this host (PATCHBAY_CAPACITY, default: 1000)')
    .option(
      '--image-memory <n>',
      'memory budget of all images on this host, in bytes (PATCHBAY_IMAGE_MEMORY, default: 4294967296, which is 4 GiB)',
    )
    .option(
      '--token-file <file>',
      'file with the join token of the service (PATCHBAY_TOKEN_FILE, default: data/join-token; PATCHBAY_TOKEN: the token itself)',
    )
    .option(
      '--trusted-keys <file>',
      'public keys in PEM: the host loads only builds signed by one of these keys, or by a key that they endorse (PATCHBAY_TRUSTED_KEYS, default: the signing keys of the service)',
    )
    .option('--log-level <level>', 'fatal, error, warn, info or debug (PATCHBAY_LOG_LEVEL, default: info)')
    .option('--config <file>', 'JSON file with any of these options (PATCHBAY_HOST_CONFIG)')
    .addHelpText(
      'after',
      '\nFlags override environment variables, which override the file of --config. Example of a file:\n  {"name": "rack-1", "devices": 8, "labels": {"zone": "north"}, "token-file": "join-token"}',
    )
    .action((options) => runUntilShutdown(async (stopped) => (await load())(options, stopped)));
  addExamples(
    complete,
    'patchbay host --control http://127.0.0.1:7070 --name rack-1 --devices 8 --labels zone=north --labels tier=edge',
    'patchbay host --config rack-1.json',
  );
}
