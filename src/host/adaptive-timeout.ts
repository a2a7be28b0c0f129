// The time limit of one kind of request. Short at first: after a network has silently dropped its connections, each pooled connection costs one time
// limit until it is closed. It grows for a service that is slow.

/** Bounds of the limit, in milliseconds. */
export type TimeoutBounds = { readonly min: number; readonly max: number };

/** How many times as long as the last response the next one may take. */
const slack = 4;

export class AdaptiveTimeout {
  readonly #bounds: TimeoutBounds;
  #milliseconds: number;

  constructor(bounds: TimeoutBounds) {
    this.#bounds = bounds;
    this.#milliseconds = bounds.min;
  }

  /** The limit of the next request, in milliseconds. */
  get milliseconds(): number {
    return this.#milliseconds;
  }

  /** Allows four times the duration of a response, within the bounds. @param duration In milliseconds. */
  recordResponse(duration: number): void {
    this.#milliseconds = Math.min(Math.max(slack * duration, this.#bounds.min), this.#bounds.max);
  }

  /** Doubles the limit, up to the maximum. */
  recordTimeout(): void {
    this.#milliseconds = Math.min(2 * this.#milliseconds, this.#bounds.max);
  }
}
