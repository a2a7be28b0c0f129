// Tracks when orders were offered to hosts. An order that no report settles is offered again, because the order or its report may be lost. The
// interval between two offers of an order doubles, so that a host that still executes the order is not flooded.

import type { Clock } from '../clock/service-clock.ts';

/** Milliseconds between the first two offers of an order, and the maximum between two offers. */
export const offerIntervals = { first: 30_000, max: 600_000 } as const;

/** Offers tracked per host before the settled ones are searched for and removed. */
const maxTrackedOffers = 4_000;

/** When an order is due for its next offer, by the monotonic clock, and the interval before it. */
type Offer = { readonly nextAt: number; readonly interval: number };
/** The offers of a host by order number, and when the first of them can be due. */
type HostOffers = { readonly byNumber: Map<number, Offer>; dueAt: number };
type Numbered = { readonly number: number };

/** Tracks the offers of this process only: it offers again what another replica has offered. */
export class OrderOffers {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #hosts = new Map<string, HostOffers>();

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /** Records that these orders are offered to a host now. */
  record(hostId: string, orders: readonly Numbered[]): void {
    if (orders.length === 0) return;
    const now = this.#clock.monotonic();
    const offers = this.#hosts.get(hostId) ?? { byNumber: new Map<number, Offer>(), dueAt: now + offerIntervals.first };
    for (const { number } of orders) {
      const before = offers.byNumber.get(number);
      const interval = before === undefined ? offerIntervals.first : Math.min(before.interval * 2, offerIntervals.max);
      offers.byNumber.set(number, { interval, nextAt: now + interval });
    }
    if (offers.byNumber.size > maxTrackedOffers) offers.dueAt = now;
    this.#hosts.set(hostId, offers);
  }

  /** Whether orders of a host can be due. Also true from time to time for a host without tracked offers: another replica may have offered some. */
  mayBeDue(hostId: string): boolean {
    const offers = this.#hosts.get(hostId);
    return offers === undefined || offers.dueAt <= this.#clock.monotonic();
  }

  /** Whether an order is due for an offer: it was not offered yet, or its interval has passed. */
  isDue(hostId: string, { number }: Numbered): boolean {
    const offer = this.#hosts.get(hostId)?.byNumber.get(number);
    return offer === undefined || offer.nextAt <= this.#clock.monotonic();
  }

  /**
   * Returns the orders of a host that are due for another offer.
   * @param unsettled Every unsettled order that the host was offered. Offers of other orders are removed.
   */
  findDue<Order extends Numbered>(hostId: string, unsettled: readonly Order[]): Order[] {
    const now = this.#clock.monotonic();
    const before = this.#hosts.get(hostId)?.byNumber ?? new Map<number, Offer>();
    const offers: HostOffers = { byNumber: new Map(), dueAt: now + offerIntervals.first };
    const due: Order[] = [];
    for (const order of unsettled) {
      const offer = before.get(order.number);
      if (offer === undefined || offer.nextAt <= now) due.push(order);
      if (offer === undefined) continue;
      offers.byNumber.set(order.number, offer);
      if (offer.nextAt > now) offers.dueAt = Math.min(offers.dueAt, offer.nextAt);
    }
    this.#hosts.set(hostId, offers);
    return due;
  }
}
