// Version gates: while a load drains, threads inside an old version of one of its modules stay among the old versions, and all others enter the new
// ones. No thread runs a mix, even if a module that is not part of the load is between two members.

import type { Processor } from '../processor.ts';
import type { SwappedMember } from './load-request.ts';
import type { LoadedImage } from './loaded-image.ts';
import type { ModuleTable } from './module-table.ts';

type GateTarget = { readonly processor: Processor; readonly moduleTable: ModuleTable };

/** Opens the gates of a load's members. Returns a function that closes them. */
export function openVersionGates(target: GateTarget, members: readonly SwappedMember[]): () => void {
  const old = new Set(members.flatMap(({ previous }) => previous?.record ?? []));
  const gated = members.flatMap((member) => {
    const image = member.current ?? member.previous;
    if (image === null) return [];
    image.openGate(createGate(target, member, old));
    // The entry of a module that is unloaded has no slots of its own.
    if (member.current === null) target.moduleTable.leadToOldVersion(member.module, image);
    return [{ image, member }];
  });
  return () => {
    for (const { image, member } of gated) {
      image.closeGate();
      if (member.current === null && target.moduleTable.lookUp(member.module) === null) target.moduleTable.point(member.module, null);
    }
  };
}

/** Returns the stubs of a gate by the offset of their slots. Exports that only one version has keep that version's type. */
function createGate(
  { processor, moduleTable }: GateTarget,
  { module, previous, current }: SwappedMember,
  old: ReadonlySet<number>,
): ReadonlyMap<number, WebAssembly.ExportedFunction> {
  const enter = (name: string): WebAssembly.ExportedFunction => {
    const image = processor.isRunningInside(old) ? previous : current;
    processor.redirectInnermost(image?.record ?? moduleTable.absentRecordOf(module));
    // The text with which the engine reports an empty slot.
    if (image === null) throw new Error(`null function: ${module} is not in memory`);
    const entered = image.exported(name);
    if (entered === null) throw new Error(`null function: ${module}@${image.image.stamp.version} does not export ${name}`);
    return entered;
  };
  const stubs = new Map<number, WebAssembly.ExportedFunction>();
  for (const image of [previous, current]) if (image !== null) addStubs(stubs, moduleTable, module, image, enter);
  return stubs;
}

function addStubs(
  stubs: Map<number, WebAssembly.ExportedFunction>,
  moduleTable: ModuleTable,
  module: string,
  image: LoadedImage,
  enter: (name: string) => WebAssembly.ExportedFunction,
): void {
  const names = image.stamp?.interface.exports.map(({ name }) => name) ?? [];
  image
    .createStubs((index) => enter(names[index] ?? ''))
    .forEach((stub, index) => {
      const offset = moduleTable.offsetOf(module, names[index] ?? '');
      if (offset !== null) stubs.set(offset, stub);
    });
}
