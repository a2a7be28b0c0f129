// A receiver of webhooks: a real HTTP server that records requests and responds as the test says.

import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { z } from 'zod';

export type ReceivedRequest = { readonly path: string; readonly headers: IncomingHttpHeaders; readonly text: string };
export type Reply = { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string | Buffer };

/** The members of a CloudEvent that tests read. */
const CloudEvent = z.looseObject({
  id: z.string(),
  type: z.string(),
  data: z.looseObject({ number: z.number(), action: z.string(), object: z.string() }),
});

export class Receiver {
  readonly requests: ReceivedRequest[] = [];
  /** The highest number of requests that were in progress at once. */
  mostInProgress = 0;
  /** Set it to respond otherwise than with 204. */
  reply: (request: ReceivedRequest) => Reply | Promise<Reply> = () => ({ status: 204 });
  readonly #server: Server;
  #inProgress = 0;

  constructor() {
    this.#server = createServer(async (request, response) => {
      this.#inProgress += 1;
      this.mostInProgress = Math.max(this.mostInProgress, this.#inProgress);
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(Buffer.from(chunk));
      const received = { path: request.url ?? '', headers: request.headers, text: Buffer.concat(chunks).toString() };
      this.requests.push(received);
      const { status, headers = {}, body } = await this.reply(received);
      this.#inProgress -= 1;
      response.writeHead(status, headers).end(body);
    });
  }

  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the receiver does not listen');
    return address.port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/hook`;
  }

  /** The events that arrived, in order. */
  get events() {
    return this.requests.map(({ text }) => CloudEvent.parse(JSON.parse(text)));
  }

  get numbers(): number[] {
    return this.events.map(({ data }) => data.number);
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
