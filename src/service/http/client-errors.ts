// Errors of a connection that are no error of a route: bytes that are no HTTP request, and requests that do not arrive in time.

import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { problemMediaType, problemTypes, problemUri } from './problem-schemas.ts';

type ClientError = Error & { readonly code?: string };

const timeoutCode = 'ERR_HTTP_REQUEST_TIMEOUT';
const statuses = new Map([
  [timeoutCode, 408],
  ['HPE_HEADER_OVERFLOW', 431],
]);
/** The client disconnected, or its request was cut short. The connection is closed without an answer: after a 400 a client would not repeat the request. */
const unansweredCodes: ReadonlySet<string> = new Set(['ECONNRESET', 'HPE_INVALID_EOF_STATE']);

/** The last request of a connection whose headers have arrived, and its response. */
type Exchange = { readonly request: IncomingMessage; readonly response: ServerResponse };

/** The exchanges of the connections of one server. */
export class ClientErrors {
  readonly #exchanges = new WeakMap<Socket, Exchange>();
  /** How many bytes of a connection belong to the requests that were answered. */
  readonly #bytesAnswered = new WeakMap<Socket, number>();

  /** To be called before the server listens. */
  watch(server: Pick<Server, 'prependListener'>): void {
    server.prependListener('request', (request, response) => {
      const { socket } = request;
      this.#exchanges.set(socket, { request, response });
      response.once('finish', () => this.#bytesAnswered.set(socket, socket.bytesRead));
    });
  }

  readonly handleClientError = (error: ClientError, socket: Socket): void => {
    if (error.code === timeoutCode) void this.#endOverdue(error, socket);
    else this.#end(error, socket);
  };

  /**
   * Ends a connection whose request did not arrive in time. Node looks at its timers before it reads: after the process was held up, a request may
   * have been waiting in the socket all the time. So the socket is read first.
   */
  async #endOverdue(error: ClientError, socket: Socket): Promise<void> {
    const before = this.#exchanges.get(socket);
    const wasComplete = before?.request.complete === true;
    await nextTurn();
    await nextTurn();
    const now = this.#exchanges.get(socket);
    const hasArrived = now?.request.complete === true && (now !== before || !wasComplete);
    // Bytes that arrive after a request do not end its response while the response is still being sent, as an event stream is.
    if (hasArrived || this.#isAnswering(socket)) return;
    // Before the first byte of a request there is nothing to answer: the client would take a 408 for the answer to a request that it is about to send.
    if (socket.bytesRead > (this.#bytesAnswered.get(socket) ?? 0)) this.#end(error, socket);
    else socket.destroy();
  }

  #isAnswering(socket: Socket): boolean {
    const { response } = this.#exchanges.get(socket) ?? {};
    return response?.headersSent === true && !response.writableFinished;
  }

  /** Answers with problem details, unless they would end up in the middle of the response to an earlier request. */
  #end(error: ClientError, socket: Socket): void {
    const { code = '' } = error;
    if (socket.writable && !unansweredCodes.has(code) && !this.#isAnswering(socket)) socket.write(answerTo(code));
    socket.destroy(error);
  }
}

function answerTo(code: string): string {
  const status = statuses.get(code) ?? 400;
  const detail =
    status === 408 ? 'the request did not arrive in time: send it again, on another connection' : `this is no HTTP request: ${code}`;
  const { title } = problemTypes['malformed-request'];
  const body = JSON.stringify({ type: problemUri('malformed-request'), title, status, detail, instance: '' });
  const heading = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nContent-Type: ${problemMediaType}`;
  return `${heading}\r\nConnection: close\r\n\r\n${body}`;
}
