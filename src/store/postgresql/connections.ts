// How a replica is connected to PostgreSQL: neither of them waits for ever for one that is not there any more and could not say so.

import { Socket } from 'node:net';

/** How long a statement may take, the wait for its turn to write included, in milliseconds. */
const statementMilliseconds = 20_000;
/** A transaction in which nothing is asked for so long is taken back by the server, with the turn to write that it has, in milliseconds. */
const idleMilliseconds = 15_000;
/** A connection on which nothing has come or gone for so long is given up, in milliseconds: a statement is answered sooner. */
const silenceMilliseconds = 25_000;

/** What every connection has. @param settings Of the server, as `name=value`. */
export function connectionTo(url: string, settings: readonly string[] = [], silence: number = silenceMilliseconds) {
  const limits = [`statement_timeout=${statementMilliseconds}`, `idle_in_transaction_session_timeout=${idleMilliseconds}`];
  return {
    connectionString: url,
    options: [...settings, ...limits].map((setting) => `-c ${setting}`).join(' '),
    stream: () => {
      const socket = new Socket();
      return socket.setTimeout(silence, () =>
        socket.destroy(new Error(`Connection terminated: nothing came of it for ${silence / 1_000} s`)),
      );
    },
  };
}
