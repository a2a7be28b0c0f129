// `patchbay signing-key`: the keys that the service signs builds and its audit trail with are listed, and replaced.

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
    .description('List the keys that the service signs or has signed with, the newest first, without their private parts.')
    .option('--pem', 'the public keys in PEM and nothing else, as "patchbay host --trusted-keys" takes them')
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ pem, ...pages }, command) =>
      runOperatorCommand(command, async (operator) => {
        const keys = await readPages(pages, async (query) =>
          unwrapResponse(await operator.client.GET('/v1/signing-keys', { params: { query } })),
        );
        if (pem) printResult(operator, keys, () => keys.items.map(({ publicKey }) => publicKey.trimEnd()));
        else
          printList(operator, keys, {
            headings: ['SIGNING KEY', 'SINCE', 'UNTIL', 'KEY'],
            row: ({ id, createdAt, retiredAt, keyId }) => [id, formatTime(createdAt), formatTime(retiredAt), keyId],
            none: 'there are no signing keys',
          });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay signing-key list', 'patchbay signing-key list --pem > trusted-keys.pem');

  const rotate = signingKey
    .command('rotate')
    .description('Replace the key that the service signs with by a new one, for which it vouches. Its private part is gone then.')
    .action((_options, command) =>
      runOperatorCommand(command, async (operator) => {
        const made = unwrapResponse(await operator.client.POST('/v1/signing-keys'));
        printResult(operator, made, () => [`the service signs with ${made.id} from now on: ${made.keyId}`]);
        return exitCodes.success;
      }),
    );
  addExamples(rotate, 'patchbay signing-key rotate');
}
