// `patchbay key`: creates, lists and revokes API keys.

import { type Command, Option } from '@commander-js/extra-typings';
import { type Client, unwrapResponse } from '../../client/client.ts';
import { roles } from '../../client/enum-values.ts';
import { exitCodes } from '../exit-codes.ts';
import { resolveIdentifier } from '../operator/identifiers.ts';
import { printNote, printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { readInteger, readTimeOrDuration } from '../option-values.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addKeyCommands(key: Command): void {
  const create = key
    .command('create <name>')
    .description('Create an API key, and print its secret. The service cannot show the secret again.')
    .addOption(new Option('--role <role>', 'role of the key').choices(roles).makeOptionMandatory())
    .option('--host <name>', 'with --role agent: the host that the key can register')
    .option('--scope <selector>', 'label selector of the devices that the key can use, such as zone=north (default: all devices)')
    .option(
      '--expires-at <time>',
      'when the key stops working, such as 2027-06-30T00:00:00Z, or in how long, such as 12h or 90d (default: never)',
    )
    .option('--requests-per-minute <n>', 'maximum requests of the key a minute (default: the limit of the service)')
    .action((name, { role, host, scope, expiresAt, requestsPerMinute }, command) =>
      runOperatorCommand(command, async (context) => {
        const body = {
          name,
          role,
          ...(host === undefined ? {} : { host }),
          ...(scope === undefined ? {} : { scope }),
          ...(expiresAt === undefined ? {} : { expiresAt: readTimeOrDuration('expires-at', expiresAt) }),
          ...(requestsPerMinute === undefined
            ? {}
            : { requestsPerMinute: readInteger('requests-per-minute', requestsPerMinute, 1, 1_000_000_000) }),
        };
        const created = unwrapResponse(await context.client.POST('/v1/keys', { body }));
        const of = created.scope === null ? '' : ` for the devices with ${created.scope}`;
        const until = created.expiresAt === null ? '' : ` until ${formatTime(created.expiresAt)}`;
        printNote(
          context,
          `created the key ${created.name} (${created.id}) with the role ${created.role}${of}${until}; its secret is shown only once:`,
        );
        printResult(context, created, () => [created.secret]);
        return exitCodes.success;
      }),
    );
  addExamples(
    create,
    'patchbay key create release-pipeline --role publisher > release-pipeline.key',
    'patchbay key create visitor --role viewer --expires-at 30d',
    'patchbay key create on-call-north --role operator --scope zone=north',
    'patchbay key create rack-7 --role agent --host rack-7',
  );

  const list = key
    .command('list')
    .description('List API keys, newest first, without their secrets.')
    .addOption(new Option('--role <role>', 'only keys with this role').choices(roles))
    .option('--revoked', 'only revoked keys (default: only active keys)')
    .addOption(limitOption())
    .addOption(allOption())
    .action(({ role, revoked, ...pages }, command) =>
      runOperatorCommand(command, async (context) => {
        const filter = { ...(role === undefined ? {} : { role }), revoked: revoked ? ('true' as const) : ('false' as const) };
        const readPage = async (query: { limit: number }) =>
          unwrapResponse(await context.client.GET('/v1/keys', { params: { query: { ...filter, ...query } } }));
        printList(context, await readPages(pages, readPage), {
          headings: ['KEY', 'NAME', 'ROLE', 'SCOPE', 'HOST', 'CREATED', 'EXPIRES', revoked ? 'REVOKED' : 'LAST USED'],
          row: ({ id, name, role: keyRole, scope, host, createdAt, expiresAt, lastUsedAt, revokedAt }) => {
            const last = revoked ? revokedAt : lastUsedAt;
            const timeOrNever = (time: string | null) => (time === null ? 'never' : formatTime(time));
            return [id, name, keyRole, scope ?? '', host ?? '', formatTime(createdAt), timeOrNever(expiresAt), timeOrNever(last)];
          },
          empty: 'no keys found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay key list', 'patchbay key list --role admin --json');

  const revoke = key
    .command('revoke <key>')
    .description('Revoke a key, by its name or identifier. The key stops working immediately.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const id = await resolveKeyId(context.client, nameOrId);
        const revoked = unwrapResponse(await context.client.POST('/v1/keys/{key}/revoke', { params: { path: { key: id } } }));
        printResult(context, revoked, () => [`revoked the key ${revoked.name} (${revoked.id})`]);
        return exitCodes.success;
      }),
    );
  addExamples(revoke, 'patchbay key revoke release-pipeline');
}

/** Returns the identifier of an active key. @throws {UsageError} if no active key has the name. */
function resolveKeyId(client: Client, nameOrId: string): Promise<string> {
  return resolveIdentifier(nameOrId, {
    prefix: 'key_',
    noun: 'active key',
    listCommand: 'patchbay key list',
    readPage: async (query) => unwrapResponse(await client.GET('/v1/keys', { params: { query: { revoked: 'false' as const, ...query } } })),
  });
}
