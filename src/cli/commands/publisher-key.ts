// `patchbay publisher-key`: registers, lists and revokes the public keys of publishers.

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
    .description('Register the public key of a publisher. Signature policies can then require its signatures.')
    .requiredOption('--public-key <file>', 'Ed25519 public key in PEM, as written by "openssl pkey -pubout"')
    .action((name, { publicKey: file }, command) =>
      runOperatorCommand(command, async (context) => {
        const added = unwrapResponse(
          await context.client.POST('/v1/publisher-keys', { body: { name, publicKey: readInputFile(file, '--public-key').toString() } }),
        );
        printResult(context, added, () => [`registered the publisher key ${added.name} (${added.id}): ${added.keyId}`]);
        return exitCodes.success;
      }),
    );
  addExamples(add, 'patchbay publisher-key add release-team --public-key release-team.pub');

  const list = publisherKey
    .command('list')
    .description('List publisher keys, newest first.')
    .option('--revoked', 'only revoked keys (default: only active keys)')
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ revoked, ...pages }, command) =>
      runOperatorCommand(command, async (context) => {
        const filter = { revoked: revoked ? ('true' as const) : ('false' as const) };
        const keys = await readPages(pages, async (page) =>
          unwrapResponse(await context.client.GET('/v1/publisher-keys', { params: { query: { ...filter, ...page } } })),
        );
        printList(context, keys, {
          headings: ['PUBLISHER KEY', 'NAME', 'REGISTERED', 'REVOKED', 'KEY'],
          row: ({ id, name, createdAt, revokedAt, keyId }) => [id, name, formatTime(createdAt), formatTime(revokedAt), keyId],
          empty: 'no publisher keys found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay publisher-key list', 'patchbay publisher-key list --revoked --json');

  const revoke = publisherKey
    .command('revoke <key>')
    .description(
      'Revoke a publisher key, by its name or identifier. Its signatures no longer count for loads that are requested from now on.',
    )
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const [id = nameOrId] = await resolvePublisherKeyIds(context.client, [nameOrId]);
        const path = { publisherKey: id };
        const revoked = unwrapResponse(await context.client.POST('/v1/publisher-keys/{publisherKey}/revoke', { params: { path } }));
        printResult(context, revoked, () => [`revoked the publisher key ${revoked.name} (${revoked.id})`]);
        return exitCodes.success;
      }),
    );
  addExamples(revoke, 'patchbay publisher-key revoke release-team');
}
