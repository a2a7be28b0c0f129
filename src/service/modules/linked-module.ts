// What the rules of links need to know of a build.

import type { LinkedModule } from '../../machine/isolation/link-policy.ts';
import { Interface } from '../../protocol/interface.ts';
import { readBuildOptions } from './build-provenance.ts';
import type { BuildRecord } from './repository.ts';

/** Returns a build's name, interface and declared dependencies. */
export function toLinkedModule(build: BuildRecord): LinkedModule {
  const { module, version } = build;
  return { module, version, interface: Interface.parse(build.interface), dependencies: readBuildOptions(build).dependencies ?? {} };
}
