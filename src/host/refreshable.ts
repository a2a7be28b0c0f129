// A cached value from the service that can be refreshed.

export class Refreshable<Value> {
  readonly #read: () => Promise<Value>;
  #latest: Promise<Value> | null = null;
  #next: Promise<Value> | null = null;

  constructor(read: () => Promise<Value>) {
    this.#read = read;
  }

  /** Returns the cached value. Reads it if there is none or the last read failed. */
  get(): Promise<Value> {
    return this.#latest ?? this.refresh();
  }

  /** Reads the value again. Calls share a read that has not started yet; a read that has started may return an outdated value. */
  refresh(): Promise<Value> {
    this.#next ??= this.#begin();
    return this.#next;
  }

  async #begin(): Promise<Value> {
    await this.#latest?.catch(() => {});
    this.#next = null;
    const read = this.#read();
    this.#latest = read;
    try {
      return await read;
    } catch (error) {
      if (this.#latest === read) this.#latest = null;
      throw error;
    }
  }
}
