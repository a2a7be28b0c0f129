// Events as they happen, one a line, until Ctrl-C.

import console from 'node:console';
import type { Schemas } from '../../client/client.ts';
import { type Connection, type EventStreamOptions, streamEvents } from '../../client/event-stream.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { colour } from '../terminal/colours.ts';
import { describeConnection } from '../terminal/connection.ts';
import type { CommandContext } from './operator.ts';

type Event = Schemas['AuditEvent'];

/** Prints the events that concern somebody as they come; a JSON document a line where the answer is for machines. */
export async function streamAndPrintEvents(
  operator: CommandContext,
  following: Pick<EventStreamOptions, 'after' | 'types'>,
  concerns: (event: Event) => boolean,
): Promise<ExitCode> {
  const onConnection = (connection: Connection) => console.error(describeConnection(connection, 'nothing is missed when it is back'));
  for await (const event of streamEvents(operator.client, { ...following, signal: operator.signal, onConnection })) {
    if (concerns(event)) printEvent(operator, event);
  }
  return exitCodes.success;
}

export function printEvent({ isJson }: Pick<CommandContext, 'isJson'>, event: Event): void {
  console.log(isJson ? JSON.stringify(event) : formatEvent(event));
}

/** One event for people. */
function formatEvent({ number, at, actor, action, object, detail }: Event): string {
  const facts = Object.entries(detail)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${typeof value === 'object' ? JSON.stringify(value) : value}`);
  return `${String(number).padStart(6)}  ${at}  ${colour('cyan', action.padEnd(22))}  ${object}  ${colour('dim', `by ${actor}`)}  ${facts.join(' ')}`.trimEnd();
}
