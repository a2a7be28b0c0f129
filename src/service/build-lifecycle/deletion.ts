// Deletes builds that nothing refers to: no device ever had them, and no load, rollout or patch set names them.

import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Store } from '../database/store.ts';
import { restoreDependents } from '../modules/dependencies.ts';
import { BuildRecords } from '../modules/repository.ts';
import { notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { BuildReferences, countLimit, type References } from './repository.ts';

/** Patch sets that an error message names. */
const namedSetLimit = 5;

type Uses = { readonly store: Store; readonly clock: Clock };

export class BuildDeletion {
  readonly #uses: Uses;

  constructor(uses: Uses) {
    this.#uses = uses;
  }

  /**
   * Deletes a build, and its image unless another build has the same. Its version is free again. Transactions that use builds run one at a time, on all
   * replicas, so nothing can refer to a build while it is deleted.
   * @throws {Problem} `not-found`; `build-in-use` if something refers to the build.
   */
  async delete(module: string, version: string, requester: Requester): Promise<void> {
    await this.#uses.store.transaction(async (connection) => {
      const records = new BuildRecords(connection);
      const build = await records.find(module, version);
      if (build === null) throw notFound('build', `${module}@${version}`);
      const uses = describeReferences(await new BuildReferences(connection).count(build));
      if (uses.length > 0)
        throw new Problem(
          'build-in-use',
          `${module}@${version} cannot be deleted: ${uses.join('; ')}. Yank the build instead, so that nothing new uses it`,
        );
      await restoreDependents(connection, module, await records.delete(build));
      const detail = { module, version, image: build.imageDigest, source: build.sourceDigest };
      await audit(connection, requester, this.#uses.clock.now(), [{ action: 'build.deleted', object: build.id, detail }]);
    });
  }
}

function describeReferences({ devices, residencies, loads, rollouts, patchSets, channels }: References): string[] {
  const sets = patchSets.slice(0, namedSetLimit).map(({ name, version }) => `${name}@${version}`);
  const others = patchSets.length > namedSetLimit ? ` and ${amount(patchSets.length - namedSetLimit)} more` : '';
  return [
    ...(devices === 0 ? [] : [`${counted(devices, 'device has', 'devices have')} it`]),
    ...(residencies === 0 ? [] : [`the history of devices has ${counted(residencies, 'residency', 'residencies')} of it`]),
    ...(loads === 0 ? [] : [`${counted(loads, 'load was', 'loads were')} requested for it`]),
    ...(rollouts === 0 ? [] : [`${counted(rollouts, 'rollout uses', 'rollouts use')} it`]),
    ...(sets.length === 0 ? [] : [`it is in ${sets.length === 1 ? 'the patch set' : 'the patch sets'} ${sets.join(', ')}${others}`]),
    ...(channels.length === 0
      ? []
      : [`it is promoted to ${channels.length === 1 ? 'the channel' : 'the channels'} ${channels.join(', ')}`]),
  ];
}

const amount = (count: number) => (count >= countLimit ? `${countLimit} or more` : String(count));

function counted(count: number, one: string, several: string): string {
  return `${amount(count)} ${count === 1 ? one : several}`;
}
