// Events as they happen, one a line, until Ctrl-C.

import console from 'node:console';
import type { Schemas } from '../../client/client.ts';
import { type Connection, type FollowingEvents, followEvents } from '../../client/event-stream.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { coloured } from '../terminal/colours.ts';
import { connectionText } from '../terminal/connection.ts';
import type { Operator } from './operator.ts';

type Event = Schemas['AuditEvent'];

/** Prints the events that concern somebody as they come; a JSON document a line where the answer is for machines. */
export async function printEvents(
  operator: Operator,
  following: Pick<FollowingEvents, 'after' | 'types'>,
  concerns: (event: Event) => boolean,
): Promise<ExitCode> {
  const onConnection = (connection: Connection) => console.error(connectionText(connection, 'nothing is missed when it is back'));
  for await (const event of followEvents(operator.client, { ...following, signal: operator.stopped, onConnection })) {
    if (concerns(event)) printEvent(operator, event);
  }
  return exitCodes.done;
}

export function printEvent({ isJson }: Pick<Operator, 'isJson'>, event: Event): void {
  console.log(isJson ? JSON.stringify(event) : eventLine(event));
}

/** One event for people. */
function eventLine({ number, at, actor, action, object, detail }: Event): string {
  const facts = Object.entries(detail)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${typeof value === 'object' ? JSON.stringify(value) : value}`);
  return `${String(number).padStart(6)}  ${at}  ${coloured('cyan', action.padEnd(22))}  ${object}  ${coloured('dim', `by ${actor}`)}  ${facts.join(' ')}`.trimEnd();
}
