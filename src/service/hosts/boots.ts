// Boots of hosts other than their current ones: replaced by a later one, or refused while another process had the name.

import type { Connection } from '../database/connection.ts';
import type { HostBootModel } from '../database/generated/models.ts';

/** Boots that are kept for each host. Past the limit, the one that was refused or replaced first is dropped. */
const bootLimit = 10;

/** A boot of a host other than the current one. */
export type FormerBoot = Pick<HostBootModel, 'bootId' | 'address'> & {
  /** Whether a registration of it was refused. */
  readonly wasRefused: boolean;
};

export class HostBootRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Returns the known boots of a host, at most `bootLimit`. */
  async list(hostId: string): Promise<FormerBoot[]> {
    // Compared in SQL, so that an undecodable time does not block the registration of a host.
    const boots = await this.#connection.sql
      .selectFrom('HostBoot')
      .select((boot) => ['bootId', 'address', boot('refusedAt', 'is not', null).as('wasRefused')])
      .where('hostId', '=', hostId)
      .execute();
    return boots.map((boot) => ({ ...boot, wasRefused: Boolean(boot.wasRefused) }));
  }

  /** Makes a boot the current one: forgets it here, and records the boot that it replaces. */
  async replace(bootId: string, replaced: Pick<HostBootModel, 'hostId' | 'bootId' | 'address'>, replacedAt: Date): Promise<void> {
    const { hostId } = replaced;
    await this.#connection.sql.deleteFrom('HostBoot').where('hostId', '=', hostId).where('bootId', '=', bootId).execute();
    await this.#save({ ...replaced, replacedAt, refusedSince: null, refusedAt: null }, { replacedAt });
  }

  /** Records that a boot was refused. */
  async recordRefused(refused: Pick<HostBootModel, 'hostId' | 'bootId' | 'address'>, refusedAt: Date): Promise<void> {
    const { address } = refused;
    await this.#save({ ...refused, replacedAt: null, refusedSince: refusedAt, refusedAt }, { address, refusedAt });
  }

  /** Inserts a boot, or changes the known one. */
  async #save(boot: HostBootModel, changes: Partial<HostBootModel>): Promise<void> {
    const { hostId } = boot;
    const saved = this.#connection.sql.insertInto('HostBoot').values(boot);
    await saved.onConflict((conflict) => conflict.columns(['hostId', 'bootId']).doUpdateSet(changes)).execute();
    const newestFirst = this.#connection.sql
      .selectFrom('HostBoot')
      .select('bootId')
      .where('hostId', '=', hostId)
      .orderBy(({ fn }) => fn.coalesce('refusedAt', 'replacedAt'), 'desc');
    const dropped = (await newestFirst.execute()).slice(bootLimit).map(({ bootId }) => bootId);
    if (dropped.length === 0) return;
    await this.#connection.sql.deleteFrom('HostBoot').where('hostId', '=', hostId).where('bootId', 'in', dropped).execute();
  }
}
