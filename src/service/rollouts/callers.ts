// Finds the programs of a device that call a module, directly or through other modules.

import { Interface } from '../../protocol/interface.ts';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { BuildRecords } from '../modules/repository.ts';
import { ProgramRecords } from '../programs/repository.ts';

export type Callers = {
  /** Programs that call the module itself. */
  readonly direct: ReadonlySet<string>;
  /** Programs that call another module which imports this one, directly or transitively. */
  readonly indirect: ReadonlySet<string>;
};

export const noCallers: Callers = { direct: new Set(), indirect: new Set() };

/** Returns the identifiers of the programs on a device that call a module. */
export async function findCallers(connection: Connection, deviceId: string, module: string): Promise<Callers> {
  const programs = await new ProgramRecords(connection).modulesOn(deviceId);
  const direct = programs.filter((program) => program.module === module);
  const others = programs.filter((program) => program.module !== module);
  const importers = others.length === 0 ? new Set<string>() : await findImporters(connection, deviceId, module);
  return {
    direct: new Set(direct.map(({ id }) => id)),
    indirect: new Set(others.filter((program) => importers.has(program.module)).map(({ id }) => id)),
  };
}

/** Returns the modules on a device that import a module, directly or transitively, and that module. */
async function findImporters(connection: Connection, deviceId: string, module: string): Promise<ReadonlySet<string>> {
  const imports = new Map<string, readonly string[]>();
  for (const loaded of await new DeviceRecords(connection).modulesOf([deviceId])) {
    const build = await new BuildRecords(connection).find(loaded.module, loaded.version);
    const parsed = Interface.safeParse(build?.interface);
    imports.set(loaded.module, parsed.success ? parsed.data.imports.map((imported) => imported.module) : []);
  }
  const importers = new Set([module]);
  for (let previousSize = 0; previousSize < importers.size; ) {
    previousSize = importers.size;
    for (const [name, imported] of imports) if (imported.some((other) => importers.has(other))) importers.add(name);
  }
  return importers;
}
