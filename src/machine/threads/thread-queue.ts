// A FIFO queue from which a thread can also be removed in the middle, in constant time.

/** Links of an element; an element is in at most one queue. */
export type Link<Element extends Linked<Element>> = { queue: ThreadQueue<Element> | null; previous: Element | null; next: Element | null };

type Linked<Element extends Linked<Element>> = { readonly link: Link<Element> };

export class ThreadQueue<Element extends Linked<Element>> {
  #first: Element | null = null;
  #last: Element | null = null;

  get isEmpty(): boolean {
    return this.#first === null;
  }

  /** Adds an element at the end, and removes it from the queue that it was in. */
  push(element: Element): void {
    element.link.queue?.remove(element);
    element.link.queue = this;
    element.link.previous = this.#last;
    if (this.#last === null) this.#first = element;
    else this.#last.link.next = element;
    this.#last = element;
  }

  /** Removes and returns the first element. */
  shift(): Element | null {
    const first = this.#first;
    if (first !== null) this.remove(first);
    return first;
  }

  /** Removes an element of this queue. */
  remove(element: Element): void {
    const { link } = element;
    if (link.previous === null) this.#first = link.next;
    else link.previous.link.next = link.next;
    if (link.next === null) this.#last = link.previous;
    else link.next.link.previous = link.previous;
    link.queue = null;
    link.previous = null;
    link.next = null;
  }
}
