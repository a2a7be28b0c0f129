// Prints audit events, one per line.

import console from 'node:console';
import type { Schemas } from '../../client/client.ts';
import { type Connection, type EventStreamOptions, streamEvents } from '../../client/event-stream.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { colour } from '../terminal/colours.ts';
import { describeConnection } from '../terminal/connection.ts';
import { type CommandContext, printNote } from './operator.ts';

type Event = Schemas['AuditEvent'];

/** Prints new events that match, until Ctrl-C. */
export async function streamAndPrintEvents(
  context: CommandContext,
  options: Pick<EventStreamOptions, 'after' | 'types'>,
  matches: (event: Event) => boolean,
): Promise<ExitCode> {
  const onConnection = (connection: Connection) =>
    printNote(context, describeConnection(connection, 'events that happen meanwhile are printed later'));
  for await (const event of streamEvents(context.client, { ...options, signal: context.signal, onConnection })) {
    if (matches(event)) printEvent(context, event);
  }
  return exitCodes.success;
}

/** Prints an event; with `--json`, as a line of JSON. */
export function printEvent({ isJson }: Pick<CommandContext, 'isJson'>, event: Event): void {
  console.log(isJson ? JSON.stringify(event) : formatEvent(event));
}

function formatEvent({ number, at, actor, action, object, detail }: Event): string {
  const facts = Object.entries(detail)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${typeof value === 'object' ? JSON.stringify(value) : value}`);
  return `${String(number).padStart(6)}  ${at}  ${colour('cyan', action.padEnd(22))}  ${object}  ${colour('dim', `by ${actor}`)}  ${facts.join(' ')}`.trimEnd();
}
