// When hosts were offered their orders: one that no report settles is offered again, since the order or its report may have been lost. A host that
// is still working on it is not flooded: the interval between two offers of an order doubles.

import type { Clock } from '../clock/service-clock.ts';

/** Milliseconds from the first offer of an order to the second, and the most between two. */
export const offerIntervals = { first: 30_000, max: 600_000 } as const;

/** Offers of one host that are remembered before those that were settled are looked for and forgotten. */
const maxTrackedOffers = 4_000;

/** Of an order: when it is offered again, by the monotonic clock, and the interval before that. */
type Offer = { readonly nextAt: number; readonly interval: number };
/** Of a host: its offers by the number of the order, and when the first of them may be due. */
type HostOffers = { readonly byNumber: Map<number, Offer>; dueAt: number };
type Numbered = { readonly number: number };

/** Knows the offers of this process: what another replica has offered, it offers again. */
export class OrderOffers {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #hosts = new Map<string, HostOffers>();

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /** A host is offered these orders now. */
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

  /** Whether orders of a host may be due; also now and then where none is known, for another replica may have offered some. */
  mayBeDue(hostId: string): boolean {
    const offers = this.#hosts.get(hostId);
    return offers === undefined || offers.dueAt <= this.#clock.monotonic();
  }

  /**
   * Which orders of a host are to be offered again now.
   * @param unsettled All that the host was offered and no report has settled; the others are forgotten.
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
