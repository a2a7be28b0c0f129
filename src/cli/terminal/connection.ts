// How a command that follows the service says that its connection has changed.

import type { Connection } from '../../client/event-stream.ts';

/**
 * Returns a line about the connection.
 * @param whileAway What happens meanwhile, like "the loads continue".
 */
export function describeConnection(connection: Connection, whileAway: string): string {
  switch (connection) {
    case 'streaming':
      return 'the service is there again';
    case 'polling':
      return 'the event stream brings no data, probably because a proxy buffers it: asking the service every second instead';
    case 'away':
      return `the service is away: ${whileAway}`;
  }
}
