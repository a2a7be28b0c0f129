// Describes changes of the connection for commands that follow the service.

import type { Connection } from '../../client/event-stream.ts';

/**
 * Returns a line about the connection.
 * @param meanwhile What happens meanwhile, like "the loads continue".
 */
export function describeConnection(connection: Connection, meanwhile: string): string {
  switch (connection) {
    case 'streaming':
      return 'reconnected to the service';
    case 'polling':
      return 'the event stream brings no data, probably because a proxy buffers it: polling the service every second instead';
    case 'disconnected':
      return `connection to the service lost: ${meanwhile}`;
  }
}
