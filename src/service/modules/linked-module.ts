// What the rules of links need to know of a build.

import type { LinkedModule } from '../../machine/isolation/link-policy.ts';
import { Interface } from '../../protocol/interface.ts';
import { readBuildOptions } from './build-provenance.ts';
import type { BuildRecord } from './repository.ts';

/** Returns a build's name, interface and declared dependencies. */
export function toLinkedModule(build: BuildRecord): LinkedModule {
  return linkedModule(build, Interface.parse(build.interface));
}

/** Like `toLinkedModule`; null if the stored interface cannot be read. */
export function readLinkedModule(build: BuildRecord): LinkedModule | null {
  const { data } = Interface.safeParse(build.interface);
  return data === undefined ? null : linkedModule(build, data);
}

function linkedModule(build: BuildRecord, types: Interface): LinkedModule {
  const { module, version } = build;
  return { module, version, interface: types, dependencies: readBuildOptions(build).dependencies ?? {} };
}
