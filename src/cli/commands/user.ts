// `patchbay user`: lists, shows and signs out the people and clients of the identity provider.

import type { Command } from '@commander-js/extra-typings';
import { type Client, unwrapResponse } from '../../client/client.ts';
import { UsageError } from '../errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { allItems, allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addUserCommands(user: Command): void {
  const list = user
    .command('list')
    .description('List the people and other clients of the identity provider who have signed in or sent a token, newest first.')
    .addOption(limitOption())
    .addOption(allOption())
    .action((pages, command) =>
      runOperatorCommand(command, async (context) => {
        const readPage = async (query: { limit: number }) => unwrapResponse(await context.client.GET('/v1/users', { params: { query } }));
        printList(context, await readPages(pages, readPage), {
          headings: ['USER', 'NAME', 'EMAIL', 'SUBJECT', 'ROLES', 'SCOPE', 'FIRST SEEN'],
          row: ({ id, name, email, subject, roles, scope, createdAt }) => [
            ...[id, name ?? '', email ?? '', subject],
            ...[roles.join(' '), scope ?? '', formatTime(createdAt)],
          ],
          empty: 'no users found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay user list');

  const show = user
    .command('show <user>')
    .description('Show a user, by identifier, email address or name.')
    .action((text, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { user: await resolveUserId(context.client, text) };
        const found = unwrapResponse(await context.client.GET('/v1/users/{user}', { params: { path } }));
        printResult(context, found, () => [
          `${found.name ?? found.subject} (${found.id})`,
          `  email       ${found.email ?? 'unknown'}`,
          `  provider    ${found.issuer}`,
          `  subject     ${found.subject}`,
          `  roles       ${found.roles.length === 0 ? 'none' : found.roles.join(', ')}`,
          `  scope       ${found.scope ?? 'all devices'}`,
          `  first seen  ${formatTime(found.createdAt)}`,
        ]);
        return exitCodes.success;
      }),
    );
  addExamples(show, 'patchbay user show grace@example.com');

  const signOut = user
    .command('sign-out <user>')
    .description(
      'End all sessions of a user, by identifier, email address or name. The user can sign in again unless the provider forbids it.',
    )
    .action((text, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { user: await resolveUserId(context.client, text) };
        const result = unwrapResponse(await context.client.POST('/v1/users/{user}/sign-out', { params: { path } }));
        printResult(context, result, () => [`ended ${result.sessions} ${result.sessions === 1 ? 'session' : 'sessions'}`]);
        return exitCodes.success;
      }),
    );
  addExamples(signOut, 'patchbay user sign-out grace@example.com');
}

/** Returns the identifier of a user. @throws {UsageError} if no user, or several users, have the email address or name. */
async function resolveUserId(client: Client, text: string): Promise<string> {
  if (/^usr_[0-9a-f]{32}$/.test(text)) return text;
  const { items } = await readPages(allItems, async (query) => unwrapResponse(await client.GET('/v1/users', { params: { query } })));
  const [found, ...others] = items.filter(({ name, email }) => email === text || name === text);
  if (found === undefined) throw new UsageError(`there is no user "${text}": "patchbay user list" lists users`);
  if (others.length > 0)
    throw new UsageError(`${others.length + 1} users are named "${text}": give the identifier, which "patchbay user list" shows`);
  return found.id;
}
