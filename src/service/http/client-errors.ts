// Connection errors before a route handles the request: malformed HTTP, and requests that do not arrive in time.

import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { setImmediate as nextTick } from 'node:timers/promises';
import { problemMediaType, problemTypes, problemUri } from './problem-schemas.ts';

type ClientError = Error & { readonly code?: string };

const timeoutCode = 'ERR_HTTP_REQUEST_TIMEOUT';
const statuses = new Map([
  [timeoutCode, 408],
  ['HPE_HEADER_OVERFLOW', 431],
]);
/** The client disconnected, or its request was truncated. The connection is closed without a response: after a 400 the client would not retry. */
const codesWithoutResponse: ReadonlySet<string> = new Set(['ECONNRESET', 'HPE_INVALID_EOF_STATE']);

/** The latest request on a connection whose headers have arrived, and its response. */
type Exchange = { readonly request: IncomingMessage; readonly response: ServerResponse };

/** Handles the client errors of one server. */
export class ClientErrors {
  readonly #exchanges = new WeakMap<Socket, Exchange>();
  /** The number of bytes read on a connection when its latest response was finished. */
  readonly #bytesHandled = new WeakMap<Socket, number>();

  /** Tracks the requests of a server. Call it before the server listens. */
  watch(server: Pick<Server, 'prependListener'>): void {
    server.prependListener('request', (request, response) => {
      const { socket } = request;
      this.#exchanges.set(socket, { request, response });
      response.once('finish', () => this.#bytesHandled.set(socket, socket.bytesRead));
    });
  }

  readonly handleClientError = (error: ClientError, socket: Socket): void => {
    if (error.code === timeoutCode) void this.#endOverdue(error, socket);
    else this.#end(error, socket);
  };

  /**
   * Closes a connection whose request did not arrive in time. Node runs timers before it reads sockets: if the event loop was blocked, the request may
   * already be in the socket buffer. So the socket is read first.
   */
  async #endOverdue(error: ClientError, socket: Socket): Promise<void> {
    const before = this.#exchanges.get(socket);
    const wasComplete = before?.request.complete === true;
    await nextTick();
    await nextTick();
    const now = this.#exchanges.get(socket);
    const hasArrived = now?.request.complete === true && (now !== before || !wasComplete);
    // Bytes that arrive after a request do not end a response that is still being sent, such as an event stream.
    if (hasArrived || this.#isResponding(socket)) return;
    // Without a first byte there is no request: the client would take a 408 as the response to a request that it is about to send.
    if (socket.bytesRead > (this.#bytesHandled.get(socket) ?? 0)) this.#end(error, socket);
    else socket.destroy();
  }

  #isResponding(socket: Socket): boolean {
    const { response } = this.#exchanges.get(socket) ?? {};
    return response?.headersSent === true && !response.writableFinished;
  }

  /** Responds with problem details, unless they would corrupt the response to an earlier request that is being sent. */
  #end(error: ClientError, socket: Socket): void {
    const { code = '' } = error;
    if (socket.writable && !codesWithoutResponse.has(code) && !this.#isResponding(socket)) socket.write(renderResponse(code));
    socket.destroy(error);
  }
}

function renderResponse(code: string): string {
  const status = statuses.get(code) ?? 400;
  const detail =
    status === 408 ? 'the request did not arrive in time: send it again on a new connection' : `malformed HTTP request: ${code}`;
  const { title } = problemTypes['malformed-request'];
  const body = JSON.stringify({ type: problemUri('malformed-request'), title, status, detail, instance: '' });
  const heading = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nContent-Type: ${problemMediaType}`;
  return `${heading}\r\nConnection: close\r\n\r\n${body}`;
}
