// Who runs next: devices take turns, and within a device its threads do, so that a device with many threads takes no more than its share.

import { type Link, ThreadQueue } from './thread-queue.ts';

/** The ready threads of one device. */
export class ThreadGroup<Element extends { readonly link: Link<Element> }> {
  readonly link: Link<ThreadGroup<Element>> = { queue: null, previous: null, next: null };
  readonly ready = new ThreadQueue<Element>();
}

export class RunQueue<Element extends { readonly link: Link<Element>; readonly group: ThreadGroup<Element> }> {
  /** Groups that have ready threads. */
  readonly #groups = new ThreadQueue<ThreadGroup<Element>>();

  get isEmpty(): boolean {
    return this.#groups.isEmpty;
  }

  /** Adds a thread at the end of its group. */
  push(thread: Element): void {
    thread.group.ready.push(thread);
    if (thread.group.link.queue === null) this.#groups.push(thread.group);
  }

  /** Takes the first thread of the group whose turn it is. A group that threads have left by other ways may be empty. */
  shift(): Element | null {
    for (let group = this.#groups.shift(); group !== null; group = this.#groups.shift()) {
      const thread = group.ready.shift();
      if (!group.ready.isEmpty) this.#groups.push(group);
      if (thread !== null) return thread;
    }
    return null;
  }
}
