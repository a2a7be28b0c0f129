// `patchbay publisher-key`: publishers' public keys are registered, listed and revoked.

import type { Command } from '@commander-js/extra-typings';
import { unwrapResponse } from '../../client/client.ts';
import { exitCodes } from '../exit-codes.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { resolvePublisherKeyIds } from '../operator/publisher-key-names.ts';
import { readInputFile } from '../option-values.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addPublisherKeyCommands(publisherKey: Command): void {
  const add = publisherKey
    .command('add <name>')
    .description('Register the public key of a publisher, whose signatures of builds devices can be made to demand.')
    .requiredOption('--public-key <file>', 'the Ed25519 public key in PEM, as "openssl pkey -pubout" writes it')
    .action((name, { publicKey: file }, command) =>
      runOperatorCommand(command, async (operator) => {
        const added = unwrapResponse(
          await operator.client.POST('/v1/publisher-keys', { body: { name, publicKey: readInputFile(file, '--public-key').toString() } }),
        );
        printResult(operator, added, () => [`registered the publisher key ${added.name} (${added.id}): ${added.keyId}`]);
        return exitCodes.success;
      }),
    );
  addExamples(add, 'patchbay publisher-key add release-team --public-key release-team.pub');

  const list = publisherKey
    .command('list')
    .description('List publisher keys, the newest first.')
    .option('--revoked', 'only keys that are revoked; without it, only those that are not')
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ revoked, ...pages }, command) =>
      runOperatorCommand(command, async (operator) => {
        const filter = { revoked: revoked ? ('true' as const) : ('false' as const) };
        const keys = await readPages(pages, async (page) =>
          unwrapResponse(await operator.client.GET('/v1/publisher-keys', { params: { query: { ...filter, ...page } } })),
        );
        printList(operator, keys, {
          headings: ['PUBLISHER KEY', 'NAME', 'REGISTERED', 'REVOKED', 'KEY'],
          row: ({ id, name, createdAt, revokedAt, keyId }) => [id, name, formatTime(createdAt), formatTime(revokedAt), keyId],
          none: 'there are no such keys',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay publisher-key list', 'patchbay publisher-key list --revoked --json');

  const revoke = publisherKey
    .command('revoke <key>')
    .description(
      "Have a key's signatures not count any more, in loads that are requested from now on. It is named by its name or identifier.",
    )
    .action((named, _options, command) =>
      runOperatorCommand(command, async (operator) => {
        const [id = named] = await resolvePublisherKeyIds(operator.client, [named]);
        const path = { publisherKey: id };
        const revoked = unwrapResponse(await operator.client.POST('/v1/publisher-keys/{publisherKey}/revoke', { params: { path } }));
        printResult(operator, revoked, () => [`revoked the publisher key ${revoked.name} (${revoked.id})`]);
        return exitCodes.success;
      }),
    );
  addExamples(revoke, 'patchbay publisher-key revoke release-team');
}
