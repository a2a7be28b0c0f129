// `patchbay key`: API keys are made, listed and revoked.

import console from 'node:console';
import { type Command, Option } from '@commander-js/extra-typings';
import { roles } from '../../client/choices.ts';
import { answerOf, type Client } from '../../client/client.ts';
import { exitCodes } from '../exit-codes.ts';
import { identifierOf } from '../operator/named.ts';
import { answer, operate } from '../operator/operator.ts';
import { allOption, answerList, limitOption, readPages } from '../operator/pages.ts';
import { timeText } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addKeyCommands(key: Command): void {
  const create = key
    .command('create <name>')
    .description('Create a key. Prints only its secret on standard output; the service cannot show the secret again.')
    .addOption(new Option('--role <role>', 'what it may be used for').choices(roles).makeOptionMandatory())
    .option('--host <name>', 'the host that a key of the role agent registers')
    .action((name, { role, host }, command) =>
      operate(command, async (operator) => {
        const body = { name, role, ...(host === undefined ? {} : { host }) };
        const created = answerOf(await operator.client.POST('/v1/keys', { body }));
        console.error(`made the key ${created.name} (${created.id}) of the role ${created.role}; its secret is shown once:`);
        answer(operator, created, () => [created.secret]);
        return exitCodes.done;
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
      operate(command, async (operator) => {
        const filter = { ...(role === undefined ? {} : { role }), revoked: revoked ? ('true' as const) : ('false' as const) };
        const ask = async (query: { limit: number }) =>
          answerOf(await operator.client.GET('/v1/keys', { params: { query: { ...filter, ...query } } }));
        answerList(operator, await readPages(pages, ask), {
          headings: ['KEY', 'NAME', 'ROLE', 'HOST', 'CREATED', revoked ? 'REVOKED' : 'LAST USED'],
          row: ({ id, name, role: of, host, createdAt, lastUsedAt, revokedAt }) => {
            const last = revoked ? revokedAt : lastUsedAt;
            return [id, name, of, host ?? '', timeText(createdAt), last === null ? 'never' : timeText(last)];
          },
          none: 'there are no such keys',
        });
        return exitCodes.done;
      }),
    );
  addExamples(list, 'patchbay key list', 'patchbay key list --role admin --json');

  const revoke = key
    .command('revoke <key>')
    .description('Revoke a key, by its name or identifier. The key stops working immediately.')
    .action((named, _options, command) =>
      operate(command, async (operator) => {
        const id = await idOf(operator.client, named);
        const revoked = answerOf(await operator.client.POST('/v1/keys/{key}/revoke', { params: { path: { key: id } } }));
        answer(operator, revoked, () => [`revoked the key ${revoked.name} (${revoked.id})`]);
        return exitCodes.done;
      }),
    );
  addExamples(revoke, 'patchbay key revoke release-pipeline');
}

/** The identifier of a key in use. @throws {UsageError} when none has the name. */
function idOf(client: Client, named: string): Promise<string> {
  return identifierOf(named, {
    prefix: 'key_',
    called: 'key in use',
    command: 'patchbay key list',
    ask: async (query) => answerOf(await client.GET('/v1/keys', { params: { query: { revoked: 'false' as const, ...query } } })),
  });
}
