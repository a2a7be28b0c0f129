// `patchbay signing-key`: lists and rotates the keys that the service signs builds and its audit trail with.

import type { Command } from '@commander-js/extra-typings';
import { unwrapResponse } from '../../client/client.ts';
import { exitCodes } from '../exit-codes.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addSigningKeyCommands(signingKey: Command): void {
  const list = signingKey
    .command('list')
    .description('List the current and former signing keys of the service, newest first, without their private keys.')
    .option('--pem', 'print only the public keys in PEM, for "patchbay host --trusted-keys"')
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ pem, ...pages }, command) =>
      runOperatorCommand(command, async (context) => {
        const keys = await readPages(pages, async (query) =>
          unwrapResponse(await context.client.GET('/v1/signing-keys', { params: { query } })),
        );
        if (pem) printResult(context, keys, () => keys.items.map(({ publicKey }) => publicKey.trimEnd()));
        else
          printList(context, keys, {
            headings: ['SIGNING KEY', 'CREATED', 'RETIRED', 'KEY'],
            row: ({ id, createdAt, retiredAt, keyId }) => [id, formatTime(createdAt), formatTime(retiredAt), keyId],
            empty: 'no signing keys found',
          });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay signing-key list', 'patchbay signing-key list --pem > trusted-keys.pem');

  const rotate = signingKey
    .command('rotate')
    .description(
      'Replace the signing key of the service by a new key, which the old key endorses. The private part of the old key is deleted.',
    )
    .action((_options, command) =>
      runOperatorCommand(command, async (context) => {
        const created = unwrapResponse(await context.client.POST('/v1/signing-keys'));
        printResult(context, created, () => [`the service now signs with ${created.id}: ${created.keyId}`]);
        return exitCodes.success;
      }),
    );
  addExamples(rotate, 'patchbay signing-key rotate');
}
