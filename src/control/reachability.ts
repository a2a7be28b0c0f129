// Which hosts are heard of: each says something every few seconds, and the devices of one that has not for too long are unreachable.

import { audit, type Context, service } from './context.ts';

/** A host that is not heard of may miss so many heartbeats and be late with one more. */
const heartbeatsMissed = 3;

export class Reachability {
  readonly #context: Context;
  readonly #limit: number;
  /** When each host was last heard of, by this process's clock. */
  readonly #lastHeard = new Map<string, number>();
  readonly #unreachable = new Set<string>();

  /** @param limit Milliseconds of silence after which a host is unreachable. */
  constructor(context: Context, limit: number) {
    this.#context = context;
    this.#limit = limit;
  }

  /** How often a host is to say that it is there, in milliseconds. */
  get heartbeatInterval(): number {
    return Math.ceil(this.#limit / (heartbeatsMissed + 1));
  }

  /** Takes up what an earlier process knew; every host that was heard of then has its time anew. */
  async begin(): Promise<void> {
    for (const { id, unreachableSince } of await this.#context.store.records.hosts.idsByReachability()) {
      if (unreachableSince === null) this.#lastHeard.set(id, performance.now());
      else this.#unreachable.add(id);
    }
  }

  /** A host registers, in the transaction that says so. */
  registered(hostId: string): void {
    this.#lastHeard.set(hostId, performance.now());
    this.#unreachable.delete(hostId);
  }

  /** A host has said something. */
  async heard(hostId: string): Promise<void> {
    this.#lastHeard.set(hostId, performance.now());
    if (!this.#unreachable.delete(hostId)) return;
    await this.#change(() => [hostId], null);
  }

  /** Finds the hosts that have not been heard of for too long. */
  async sweep(): Promise<void> {
    const moment = performance.now() - this.#limit;
    const silent = [...this.#lastHeard].filter(([, heardAt]) => heardAt < moment).map(([hostId]) => hostId);
    if (silent.length === 0) return;
    for (const hostId of silent) {
      this.#lastHeard.delete(hostId);
      this.#unreachable.add(hostId);
    }
    // One that has been heard of while the transaction waited is not unreachable.
    const still = () => silent.filter((hostId) => this.#unreachable.has(hostId));
    await this.#change(still, new Date());
  }

  /** @param which Asked when the transaction has begun. */
  async #change(which: () => string[], unreachableSince: Date | null): Promise<void> {
    await this.#context.store.transaction(async (records) => {
      const hostIds = which();
      await records.hosts.setUnreachable(hostIds, unreachableSince);
      if (unreachableSince !== null) records.hosts.endStreams(hostIds);
      const entry =
        unreachableSince === null
          ? { action: 'host.reachable', detail: {} }
          : { action: 'host.unreachable', detail: { silentMilliseconds: this.#limit } };
      await audit(
        records,
        service,
        new Date(),
        hostIds.map((object) => ({ object, ...entry })),
      );
    });
  }
}
