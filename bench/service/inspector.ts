// The inspector of a process's runtime: has it collect what is not held any more, and asks what is left. From outside, so that the service has no part for it.

import type { MeasuredProcess } from './processes.ts';

/** Starts a runtime with its inspector, on any free port of this machine. */
export const inspectorFlags = ['--inspect=127.0.0.1:0'] as const;
/** An answer may take this long, in milliseconds. */
const answerMilliseconds = 60_000;

type Answer = { readonly id: number; readonly result?: { readonly usedSize?: number } };

export class Inspector {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #asked = 0;

  /** Of a process that was started with `inspectorFlags`. */
  static async of(process: MeasuredProcess): Promise<Inspector> {
    const [, address = ''] = await process.says(/Debugger listening on (ws:\S+)/);
    const socket = new WebSocket(address);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.addEventListener('open', () => resolve());
    socket.addEventListener('error', () => reject(new Error(`the inspector at ${address} does not answer`)));
    await promise;
    return new Inspector(socket);
  }

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => {
      const answer: Answer = JSON.parse(String(data));
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
  }

  /** Bytes of the heap that are held once what is not held has been collected. */
  async heldBytes(): Promise<number> {
    // What finalizers let go of is collected the second time.
    for (let collection = 0; collection < 2; collection += 1) await this.#ask('HeapProfiler.collectGarbage');
    return (await this.#ask('Runtime.getHeapUsage')).result?.usedSize ?? Number.NaN;
  }

  close(): void {
    this.#socket.close();
  }

  /** @throws {Error} when it does not answer in time. */
  async #ask(method: string): Promise<Answer> {
    this.#asked += 1;
    const id = this.#asked;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const timer = setTimeout(() => reject(new Error(`the inspector does not answer to ${method}`)), answerMilliseconds);
    this.#waiting.set(id, resolve);
    this.#socket.send(JSON.stringify({ id, method }));
    return promise.finally(() => clearTimeout(timer));
  }
}
