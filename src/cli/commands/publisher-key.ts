// `patchbay publisher-key`: publishers' public keys are registered, listed and revoked.

import type { Command } from '@commander-js/extra-typings';
import { answerOf } from '../../client/client.ts';
import { readGivenFile } from '../command-line.ts';
import { exitCodes } from '../exit-codes.ts';
import { answer, operate } from '../operator/operator.ts';
import { allOption, answerList, limitOption, readPages } from '../operator/pages.ts';
import { publisherKeyIds } from '../operator/publisher-key-names.ts';
import { timeText } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addPublisherKeyCommands(publisherKey: Command): void {
  const add = publisherKey
    .command('add <name>')
    .description('Register the public key of a publisher, whose signatures of builds devices can be made to demand.')
    .requiredOption('--public-key <file>', 'the Ed25519 public key in PEM, as "openssl pkey -pubout" writes it')
    .action((name, { publicKey: file }, command) =>
      operate(command, async (operator) => {
        const added = answerOf(
          await operator.client.POST('/v1/publisher-keys', { body: { name, publicKey: readGivenFile(file, '--public-key').toString() } }),
        );
        answer(operator, added, () => [`registered the publisher key ${added.name} (${added.id}): ${added.keyId}`]);
        return exitCodes.done;
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
      operate(command, async (operator) => {
        const filter = { revoked: revoked ? ('true' as const) : ('false' as const) };
        const keys = await readPages(pages, async (page) =>
          answerOf(await operator.client.GET('/v1/publisher-keys', { params: { query: { ...filter, ...page } } })),
        );
        answerList(operator, keys, {
          headings: ['PUBLISHER KEY', 'NAME', 'REGISTERED', 'REVOKED', 'KEY'],
          row: ({ id, name, createdAt, revokedAt, keyId }) => [id, name, timeText(createdAt), timeText(revokedAt), keyId],
          none: 'there are no such keys',
        });
        return exitCodes.done;
      }),
    );
  addExamples(list, 'patchbay publisher-key list', 'patchbay publisher-key list --revoked --json');

  const revoke = publisherKey
    .command('revoke <key>')
    .description(
      "Have a key's signatures not count any more, in loads that are requested from now on. It is named by its name or identifier.",
    )
    .action((named, _options, command) =>
      operate(command, async (operator) => {
        const [id = named] = await publisherKeyIds(operator.client, [named]);
        const path = { publisherKey: id };
        const revoked = answerOf(await operator.client.POST('/v1/publisher-keys/{publisherKey}/revoke', { params: { path } }));
        answer(operator, revoked, () => [`revoked the publisher key ${revoked.name} (${revoked.id})`]);
        return exitCodes.done;
      }),
    );
  addExamples(revoke, 'patchbay publisher-key revoke release-team');
}
