// Uses the inspector of a process to collect garbage and measure the heap, from outside the service.

import type { MeasuredProcess } from './processes.ts';

/** Starts a runtime with its inspector on a free port. */
export const inspectorFlags = ['--inspect=127.0.0.1:0'] as const;
/** Timeout of a response, in milliseconds. */
const responseMilliseconds = 60_000;

type Response = { readonly id: number; readonly result?: { readonly usedSize?: number } };

export class Inspector {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (response: Response) => void>();
  #asked = 0;

  /** Connects to a process that was started with `inspectorFlags`. */
  static async of(process: MeasuredProcess): Promise<Inspector> {
    const [, address = ''] = await process.says(/Debugger listening on (ws:\S+)/);
    const socket = new WebSocket(address);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.addEventListener('open', () => resolve());
    socket.addEventListener('error', () => reject(new Error(`the inspector at ${address} does not respond`)));
    await promise;
    return new Inspector(socket);
  }

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => {
      const response: Response = JSON.parse(String(data));
      this.#waiting.get(response.id)?.(response);
      this.#waiting.delete(response.id);
    });
  }

  /** Returns the heap size in bytes after garbage collection. */
  async heldBytes(): Promise<number> {
    // The second collection frees what finalizers released.
    for (let collection = 0; collection < 2; collection += 1) await this.#ask('HeapProfiler.collectGarbage');
    return (await this.#ask('Runtime.getHeapUsage')).result?.usedSize ?? Number.NaN;
  }

  close(): void {
    this.#socket.close();
  }

  /** @throws {Error} if there is no response in time. */
  async #ask(method: string): Promise<Response> {
    this.#asked += 1;
    const id = this.#asked;
    const { promise, resolve, reject } = Promise.withResolvers<Response>();
    const timer = setTimeout(() => reject(new Error(`the inspector does not respond to ${method}`)), responseMilliseconds);
    this.#waiting.set(id, resolve);
    this.#socket.send(JSON.stringify({ id, method }));
    return promise.finally(() => clearTimeout(timer));
  }
}
