// Caches what the rules of links need to know of builds, by image digest. Builds are immutable, so nothing is ever invalidated.

import { LRUCache } from 'lru-cache';
import type { LinkedModule } from '../../machine/isolation/link-policy.ts';
import type { Connection } from '../database/connection.ts';
import { readLinkedModule } from './linked-module.ts';
import { BuildRecords } from './repository.ts';

/** Maximum exported and imported functions of all cached builds, some tens of megabytes. */
const functionLimit = 100_000;

export class LinkedModuleCache {
  readonly #modules = new LRUCache<string, LinkedModule>({
    maxSize: functionLimit,
    sizeCalculation: (module) => 1 + module.interface.exports.length + module.interface.imports.length,
  });

  /** Returns the builds with these images, by digest. Reads those that are not cached in one query. Omits images without a readable build. */
  async find(connection: Connection, imageDigests: readonly string[]): Promise<ReadonlyMap<string, LinkedModule>> {
    const found = new Map<string, LinkedModule>();
    for (const digest of imageDigests) {
      const cached = this.#modules.get(digest);
      if (cached !== undefined) found.set(digest, cached);
    }
    const missing = imageDigests.filter((digest) => !found.has(digest));
    const read = await new BuildRecords(connection).findByImageDigests(
      missing,
      (build) => [build.imageDigest, readLinkedModule(build)] as const,
    );
    for (const [digest, module] of read) {
      if (module === null) continue;
      this.#modules.set(digest, module);
      found.set(digest, module);
    }
    return found;
  }
}
