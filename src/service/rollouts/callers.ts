// Which programs of a device a new version of a module concerns: those that call the module, themselves or through other modules.

import { Interface } from '../../protocol/interface.ts';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { BuildRecords } from '../modules/repository.ts';
import { ProgramRecords } from '../programs/repository.ts';

export type Callers = {
  /** They call the module themselves. */
  readonly direct: ReadonlySet<string>;
  /** They call modules that call it, by what these import. */
  readonly indirect: ReadonlySet<string>;
};

export const noCallers: Callers = { direct: new Set(), indirect: new Set() };

/** The programs of a device that call a module, by their identifiers. */
export async function findCallers(connection: Connection, deviceId: string, module: string): Promise<Callers> {
  const programs = await new ProgramRecords(connection).modulesOn(deviceId);
  const direct = programs.filter((program) => program.module === module);
  const others = programs.filter((program) => program.module !== module);
  const through = others.length === 0 ? new Set<string>() : await findImporters(connection, deviceId, module);
  return {
    direct: new Set(direct.map(({ id }) => id)),
    indirect: new Set(others.filter((program) => through.has(program.module)).map(({ id }) => id)),
  };
}

/** The modules on a device that import a module, or modules that do. */
async function findImporters(connection: Connection, deviceId: string, module: string): Promise<ReadonlySet<string>> {
  const imports = new Map<string, readonly string[]>();
  for (const one of await new DeviceRecords(connection).modulesOf([deviceId])) {
    const build = await new BuildRecords(connection).find(one.module, one.version);
    const known = Interface.safeParse(build?.interface);
    imports.set(one.module, known.success ? known.data.imports.map((imported) => imported.module) : []);
  }
  const reached = new Set([module]);
  for (let before = 0; before < reached.size; ) {
    before = reached.size;
    for (const [name, imported] of imports) if (imported.some((other) => reached.has(other))) reached.add(name);
  }
  return reached;
}
