// The run queue: round-robin over devices, and over the threads of each device, so that a device's share does not grow with its threads.

import { type Link, ThreadQueue } from './thread-queue.ts';

/** The ready threads of one device. */
export class ThreadGroup<Element extends { readonly link: Link<Element> }> {
  readonly link: Link<ThreadGroup<Element>> = { queue: null, previous: null, next: null };
  readonly ready = new ThreadQueue<Element>();
}

export class RunQueue<Element extends { readonly link: Link<Element>; readonly group: ThreadGroup<Element> }> {
  /** Groups with ready threads. */
  readonly #groups = new ThreadQueue<ThreadGroup<Element>>();

  get isEmpty(): boolean {
    return this.#groups.isEmpty;
  }

  /** Adds a thread at the end of its group's queue. */
  push(thread: Element): void {
    thread.group.ready.push(thread);
    if (thread.group.link.queue === null) this.#groups.push(thread.group);
  }

  /** Removes and returns the first thread of the next group. A group may be empty, because threads can leave their queue directly. */
  shift(): Element | null {
    for (let group = this.#groups.shift(); group !== null; group = this.#groups.shift()) {
      const thread = group.ready.shift();
      if (!group.ready.isEmpty) this.#groups.push(group);
      if (thread !== null) return thread;
    }
    return null;
  }
}
