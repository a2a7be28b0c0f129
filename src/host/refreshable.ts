// What is asked of the service once and kept, and asked anew when what is kept may be out of date.

export class Refreshable<Value> {
  readonly #read: () => Promise<Value>;
  #latest: Promise<Value> | null = null;
  #next: Promise<Value> | null = null;

  constructor(read: () => Promise<Value>) {
    this.#read = read;
  }

  /** What was last read; where that failed, it is read anew. */
  get(): Promise<Value> {
    return this.#latest ?? this.refresh();
  }

  /** What is read from now on. All who ask before it begins share one reading; one that has begun may know nothing of what they ask for. */
  refresh(): Promise<Value> {
    this.#next ??= this.#begin();
    return this.#next;
  }

  async #begin(): Promise<Value> {
    await this.#latest?.catch(() => {});
    this.#next = null;
    const reading = this.#read();
    this.#latest = reading;
    try {
      return await reading;
    } catch (error) {
      if (this.#latest === reading) this.#latest = null;
      throw error;
    }
  }
}
