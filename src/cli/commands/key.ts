// `patchbay key`: API keys are made, listed and revoked.

import console from 'node:console';
import { type Command, Option } from '@commander-js/extra-typings';
import { type Client, unwrapResponse } from '../../client/client.ts';
import { roles } from '../../client/enum-values.ts';
import { exitCodes } from '../exit-codes.ts';
import { resolveIdentifier } from '../operator/identifiers.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addKeyCommands(key: Command): void {
  const create = key
    .command('create <name>')
    .description('Create a key. Prints only its secret on standard output; the service cannot show the secret again.')
    .addOption(new Option('--role <role>', 'what it may be used for').choices(roles).makeOptionMandatory())
    .option('--host <name>', 'the host that a key of the role agent registers')
    .action((name, { role, host }, command) =>
      runOperatorCommand(command, async (operator) => {
        const body = { name, role, ...(host === undefined ? {} : { host }) };
        const created = unwrapResponse(await operator.client.POST('/v1/keys', { body }));
        console.error(`made the key ${created.name} (${created.id}) of the role ${created.role}; its secret is shown once:`);
        printResult(operator, created, () => [created.secret]);
        return exitCodes.success;
      }),
    );
  addExamples(
    create,
    'patchbay key create release-pipeline --role publisher > release-pipeline.key',
    'patchbay key create rack-7 --role agent --host rack-7',
  );

  const list = key
    .command('list')
    .description('List the keys, the newest first, without their secrets.')
    .addOption(new Option('--role <role>', 'only keys of this role').choices(roles))
    .option('--revoked', 'only keys that are revoked; without it, only those that are not')
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ role, revoked, ...pages }, command) =>
      runOperatorCommand(command, async (operator) => {
        const filter = { ...(role === undefined ? {} : { role }), revoked: revoked ? ('true' as const) : ('false' as const) };
        const ask = async (query: { limit: number }) =>
          unwrapResponse(await operator.client.GET('/v1/keys', { params: { query: { ...filter, ...query } } }));
        printList(operator, await readPages(pages, ask), {
          headings: ['KEY', 'NAME', 'ROLE', 'HOST', 'CREATED', revoked ? 'REVOKED' : 'LAST USED'],
          row: ({ id, name, role: of, host, createdAt, lastUsedAt, revokedAt }) => {
            const last = revoked ? revokedAt : lastUsedAt;
            return [id, name, of, host ?? '', formatTime(createdAt), last === null ? 'never' : formatTime(last)];
          },
          none: 'there are no such keys',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay key list', 'patchbay key list --role admin --json');

  const revoke = key
    .command('revoke <key>')
    .description('Revoke a key, by its name or identifier. The key stops working immediately.')
    .action((named, _options, command) =>
      runOperatorCommand(command, async (operator) => {
        const id = await idOf(operator.client, named);
        const revoked = unwrapResponse(await operator.client.POST('/v1/keys/{key}/revoke', { params: { path: { key: id } } }));
        printResult(operator, revoked, () => [`revoked the key ${revoked.name} (${revoked.id})`]);
        return exitCodes.success;
      }),
    );
  addExamples(revoke, 'patchbay key revoke release-pipeline');
}

/** The identifier of a key in use. @throws {UsageError} when none has the name. */
function idOf(client: Client, named: string): Promise<string> {
  return resolveIdentifier(named, {
    prefix: 'key_',
    called: 'key in use',
    command: 'patchbay key list',
    ask: async (query) => unwrapResponse(await client.GET('/v1/keys', { params: { query: { revoked: 'false' as const, ...query } } })),
  });
}
