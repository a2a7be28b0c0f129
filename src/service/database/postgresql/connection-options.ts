// Connection options for PostgreSQL. Timeouts ensure that neither the service nor the server waits forever for a lost peer.

import { Socket } from 'node:net';

/** Statement timeout in milliseconds, including the wait for the write lock. */
export const statementMilliseconds = 20_000;
/** The server rolls back a transaction that is idle for this long and releases its write lock, in milliseconds. */
const idleMilliseconds = 15_000;
/** A connection without traffic for this long is closed, in milliseconds; longer than the statement timeout. */
const silenceMilliseconds = 25_000;
/** How long to wait for a free or new connection, in milliseconds. */
const connectMilliseconds = 10_000;

/**
 * A socket that closes without an error event when its connection is lost. The driver then rejects the pending queries. An error event on a connection
 * that was ended and has no listener, such as those of pg-boss, would crash the process.
 */
class PlainlyClosedSocket extends Socket {
  override destroy(error?: Error): this {
    return this.connecting ? super.destroy(error) : super.destroy();
  }
}

/** Returns the options of every connection. @param settings Server settings, as `name=value`. @param silence Idle time after which the socket is closed, in milliseconds. */
export function connectionOptions(url: string, settings: readonly string[] = [], silence: number = silenceMilliseconds) {
  const limits = [`statement_timeout=${statementMilliseconds}`, `idle_in_transaction_session_timeout=${idleMilliseconds}`];
  return {
    connectionString: url,
    connectionTimeoutMillis: connectMilliseconds,
    options: [...settings, ...limits].map((setting) => `-c ${setting}`).join(' '),
    stream: () => {
      const socket = new PlainlyClosedSocket();
      return socket.setTimeout(silence, () => socket.destroy());
    },
  };
}
