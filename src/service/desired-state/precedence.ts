// Precedence between assignments that apply to the same device.

/** An assignment that matches a device, and the modules whose versions it decides. */
export type Contender = { readonly id: string; readonly priority: number; readonly modules: readonly string[] };

/** An assignment that does not decide, and the one that decides a module of it. */
export type Overridden<Kind extends Contender> = { readonly assignment: Kind; readonly by: Kind };

/**
 * Compares assignments: the higher priority first; of the same priority, the one that was created first. This is a total order, because identifiers are
 * unique and sort by creation time.
 */
export function compareByPrecedence(left: Pick<Contender, 'id' | 'priority'>, right: Pick<Contender, 'id' | 'priority'>): number {
  if (left.priority !== right.priority) return right.priority - left.priority;
  return left.id < right.id ? -1 : left.id > right.id ? 1 : 0;
}

/**
 * Returns the assignments that decide for a device: those of which no module is decided by an assignment that precedes them. A patch set is loaded as a
 * whole, so it is overridden if one of its modules is.
 */
export function decide<Kind extends Contender>(
  matching: readonly Kind[],
): { readonly deciding: readonly Kind[]; readonly overridden: readonly Overridden<Kind>[] } {
  const deciding: Kind[] = [];
  const overridden: Overridden<Kind>[] = [];
  const deciders = new Map<string, Kind>();
  for (const assignment of matching.toSorted(compareByPrecedence)) {
    const by = assignment.modules.map((module) => deciders.get(module)).find((decider) => decider !== undefined);
    if (by !== undefined) {
      overridden.push({ assignment, by });
      continue;
    }
    deciding.push(assignment);
    for (const module of assignment.modules) deciders.set(module, assignment);
  }
  return { deciding, overridden };
}
