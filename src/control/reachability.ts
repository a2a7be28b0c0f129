// Which hosts are heard of: each says something every few seconds, to whichever replica of the service, and the devices of one that has not for too
// long are unreachable.

import type { Records } from '../store/records/records.ts';
import { Repeated } from '../store/repeated.ts';
import { audit, type Context, service } from './context.ts';

/** A host that is not heard of may miss so many heartbeats and be late with one more. */
const heartbeatsMissed = 3;
/** So many times in the time that a host may be silent, it is put on disk who was heard of. */
const keptTimes = 8;

export class Reachability {
  readonly #context: Context;
  readonly #limit: number;
  /** When hosts were last heard of here, until that is on disk. */
  #heard = new Map<string, Date>();
  /** Since when this process hears what hosts say, and can say it. */
  #listeningSince = Date.now();
  readonly #keeping: Repeated;

  /** @param limit Milliseconds of silence after which a host is unreachable. */
  constructor(context: Context, limit: number) {
    this.#context = context;
    this.#limit = limit;
    this.#keeping = new Repeated(limit / keptTimes, () => this.#keep());
  }

  /** How often a host is to say that it is there, in milliseconds. */
  get heartbeatInterval(): number {
    return Math.ceil(this.#limit / (heartbeatsMissed + 1));
  }

  /** A host has said something; one that was unreachable is not any more when it resolves. */
  async heard(hostId: string, isUnreachable: boolean): Promise<void> {
    this.#heard.set(hostId, new Date());
    if (isUnreachable) await this.#keep();
  }

  /** Finds the hosts that have not been heard of for too long; nobody has, where nobody could say it. */
  async sweep(): Promise<void> {
    const moment = new Date(Date.now() - this.#limit);
    if (this.#listeningSince > moment.getTime()) return;
    const silentNow = async (records: Records) => (await records.hosts.silentSince(moment)).filter((id) => !this.#heard.has(id));
    if ((await silentNow(this.#context.store.records)).length === 0) return;
    await this.#context.store.transaction(async (records) => {
      // Some may have been heard of while the transaction waited.
      const silent = await silentNow(records);
      await records.hosts.endStreams(silent);
      await change(records, silent, { action: 'host.unreachable', detail: { silentMilliseconds: this.#limit } });
    });
  }

  /** Puts the last on disk, and no more. */
  async stop(): Promise<void> {
    await this.#keeping.stop();
    await this.#keep().catch(() => {});
  }

  /** Puts on disk who was heard of; those who were unreachable are not any more. */
  async #keep(): Promise<void> {
    if (this.#heard.size === 0) return;
    const heard = this.#heard;
    this.#heard = new Map();
    try {
      await this.#context.store.transaction(async (records) => {
        await records.hosts.setHeard(heard);
        await change(records, await records.hosts.unreachableAmong([...heard.keys()]), { action: 'host.reachable', detail: {} });
      });
    } catch (error) {
      this.#heard = new Map([...heard, ...this.#heard]);
      this.#listeningSince = Date.now();
      throw error;
    }
  }
}

type Change = { readonly action: 'host.reachable' | 'host.unreachable'; readonly detail: Readonly<Record<string, number>> };

async function change(records: Records, hostIds: readonly string[], entry: Change): Promise<void> {
  if (hostIds.length === 0) return;
  const now = new Date();
  await records.hosts.setUnreachable(hostIds, entry.action === 'host.unreachable' ? now : null);
  await audit(
    records,
    service,
    now,
    hostIds.map((object) => ({ object, ...entry })),
  );
}
