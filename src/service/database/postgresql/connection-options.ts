// How a replica is connected to PostgreSQL: neither of them waits for ever for one that is not there any more and could not say so.

import { Socket } from 'node:net';

/** How long a statement may take, the wait for its turn to write included, in milliseconds. */
export const statementMilliseconds = 20_000;
/** A transaction in which nothing is asked for so long is taken back by the server, with the turn to write that it has, in milliseconds. */
const idleMilliseconds = 15_000;
/** A connection on which nothing has come or gone for so long is given up, in milliseconds: a statement is answered sooner. */
const silenceMilliseconds = 25_000;
/** How long is waited for a connection, free or new, in milliseconds. */
const connectMilliseconds = 10_000;

/**
 * A socket that is lost closes, and reports no error: the driver then fails what was asked on it, unless the connection was ended before. An error
 * of a connection that was ended, and that nobody listens to any more, as pg-boss ends its own, would end the process.
 */
class PlainlyClosedSocket extends Socket {
  override destroy(error?: Error): this {
    return this.connecting ? super.destroy(error) : super.destroy();
  }
}

/** What every connection has. @param settings Of the server, as `name=value`. */
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
