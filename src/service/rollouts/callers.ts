// Finds the programs of a device that call modules, directly or through other modules.

import { Interface } from '../../protocol/interface.ts';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { BuildRecords } from '../modules/repository.ts';
import { ProgramRecords } from '../programs/repository.ts';

export type Callers = {
  /** Programs that call one of the modules themselves, with that module. */
  readonly direct: ReadonlyMap<string, string>;
  /** Programs that call another module which imports one of them, directly or transitively. */
  readonly indirect: ReadonlySet<string>;
};

export const noCallers: Callers = { direct: new Map(), indirect: new Set() };

/** Returns the identifiers of the programs on a device that call one of the modules. */
export async function findCallers(connection: Connection, deviceId: string, modules: readonly string[]): Promise<Callers> {
  const programs = await new ProgramRecords(connection).modulesOn(deviceId);
  const direct = programs.filter((program) => modules.includes(program.module));
  const others = programs.filter((program) => !modules.includes(program.module));
  const importers = others.length === 0 ? new Set<string>() : await findImporters(connection, deviceId, modules);
  return {
    direct: new Map(direct.map(({ id, module }) => [id, module])),
    indirect: new Set(others.filter((program) => importers.has(program.module)).map(({ id }) => id)),
  };
}

/** Returns the modules on a device that import one of these modules, directly or transitively, and these modules. */
async function findImporters(connection: Connection, deviceId: string, modules: readonly string[]): Promise<ReadonlySet<string>> {
  const imports = new Map<string, readonly string[]>();
  for (const loaded of await new DeviceRecords(connection).modulesOf([deviceId])) {
    const build = await new BuildRecords(connection).find(loaded.module, loaded.version);
    const parsed = Interface.safeParse(build?.interface);
    imports.set(loaded.module, parsed.success ? parsed.data.imports.map((imported) => imported.module) : []);
  }
  const importers = new Set(modules);
  for (let previousSize = 0; previousSize < importers.size; ) {
    previousSize = importers.size;
    for (const [name, imported] of imports) if (imported.some((other) => importers.has(other))) importers.add(name);
  }
  return importers;
}
