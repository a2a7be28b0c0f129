// `patchbay host`: its options; the host itself is loaded when it starts.

import type { Command } from '@commander-js/extra-typings';
import { collectValues } from '../option-values.ts';
import type { runHostCommand } from '../running/host.ts';
import { runUntilShutdown } from '../shutdown.ts';
import { addExamples } from './examples.ts';

/** @param load Loads the host. */
export function addHostCommand(command: Command, load: () => Promise<typeof runHostCommand>): void {
  const complete = command
    .option('--control <url>', 'URL of the service (PATCHBAY_CONTROL, http://127.0.0.1:7070)')
    .option('--name <name>', "name of the host; the same name is the same host again (PATCHBAY_HOST_NAME, this machine's name)")
    .option('--devices <n>', 'devices to bring along, called NAME-1 to NAME-N (PATCHBAY_DEVICES, 4)')
    .option('--labels <key=value>', 'a label of these devices; may be repeated (PATCHBAY_LABELS, separated by commas)', collectValues)
    .option('--ram-pages <n>', 'executable memory of each device, in pages of 4 KiB (PATCHBAY_RAM_PAGES, 256)')
    .option('--capacity <n>', 'devices that the service may place here in all (PATCHBAY_CAPACITY, 1000)')
    .option(
      '--image-memory <n>',
      'bytes that the memories of all images on this host may have together (PATCHBAY_IMAGE_MEMORY, 4294967296, which is 4 GiB)',
    )
    .option(
      '--token-file <file>',
      "file with the service's join token (PATCHBAY_TOKEN_FILE, data/join-token; PATCHBAY_TOKEN gives the token itself)",
    )
    .option(
      '--trusted-keys <file>',
      'public keys in PEM: only builds that one of these keys has signed, or a key that they vouch for, are loaded (PATCHBAY_TRUSTED_KEYS; without it, the host trusts the keys that the service says are its own)',
    )
    .option('--log-level <level>', 'fatal, error, warn, info or debug (PATCHBAY_LOG_LEVEL, info)')
    .option('--config <file>', 'a JSON file with any of these (PATCHBAY_HOST_CONFIG)')
    .addHelpText(
      'after',
      '\nFlags override environment variables, which override the file of --config. Such a file:\n  {"name": "rack-1", "devices": 8, "labels": {"zone": "north"}, "token-file": "join-token"}',
    )
    .action((options) => runUntilShutdown(async (stopped) => (await load())(options, stopped)));
  addExamples(
    complete,
    'patchbay host --control http://127.0.0.1:7070 --name rack-1 --devices 8 --labels zone=north --labels tier=edge',
    'patchbay host --config rack-1.json',
  );
}
