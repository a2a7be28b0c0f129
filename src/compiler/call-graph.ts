// The call graph of a module: the order in which functions are instrumented, and the functions at which recursion needs a safepoint.

import { kernelNamespace, systemNamespace } from '../machine/abi.ts';
import { type Instruction, opcodes } from './binary/instruction.ts';
import { decodeBody } from './binary/instruction-codec.ts';
import { importsOf, type Module } from './binary/module.ts';

export type CallGraph = {
  /** Positions in `module.functions`, callees before callers; calls that close a cycle are ignored. */
  readonly order: Uint32Array;
  /** 1 for each function that needs a safepoint at its entry, so that every cycle of calls has one. By position in `module.functions`. */
  readonly needsEntrySafepoint: Uint8Array;
  /** 1 for each function that calls itself directly. */
  readonly callsItself: Uint8Array;
  /** 1 for each function that may be called by other modules or through a table. */
  readonly hasUnknownCallers: Uint8Array;
  /** Returns the functions that a function calls directly, by position. */
  readonly calleesOf: (position: number) => readonly number[];
};

/** Calls between nodes. Nodes are the module's functions, then one for each type that is called indirectly. */
type Edges = { readonly starts: Uint32Array; readonly targets: Uint32Array };

/** The calls that one pass over all bodies finds. */
type Calls = {
  /** Callees of each node, without duplicates. */
  readonly callees: (readonly number[])[];
  readonly callsItself: Uint8Array;
  readonly callsIndirectly: number[];
  /** Functions that call another module, which may call back. */
  readonly callsOutside: number[];
  readonly addressTaken: Set<number>;
};

/**
 * Builds the call graph in one pass over all bodies. Takes time linear in the size of the module, and does not recurse.
 * @param isDriver Whether the module is the driver of a program. No module calls a driver; the processor enters it once for each run of a thread.
 */
export function buildCallGraph(module: Module, isDriver = false): CallGraph {
  const count = module.functions.length;
  const imports = importsOf(module, 'function').length;
  const types = numberIndirectTypes(module);
  const calls = findCalls(module, types.nodeOf);
  const targetsOfType = new Map<number, number[]>();
  for (const index of calls.addressTaken) {
    const type = module.functions[index - imports]?.type;
    const node = type === undefined ? undefined : types.nodeOf(type);
    if (node === undefined) continue;
    const targets = targetsOfType.get(node) ?? [];
    targets.push(index - imports);
    targetsOfType.set(node, targets);
  }
  for (let node = count; node < count + types.count; node += 1) calls.callees.push(targetsOfType.get(node) ?? []);
  const edges = edgesOf(calls.callees);
  const needsEntrySafepoint = new Uint8Array(count);
  const order = visitCalleesFirst(edges, calls.callees.length, (target) => {
    if (target < count) needsEntrySafepoint[target] = 1;
  });
  const backEdgesToTypes = order.closedTypes.filter((node) => node >= count);
  const reversed = reverse(edges, calls.callees.length);
  if (backEdgesToTypes.length > 0) {
    const reachesIndirect = nodesReaching(reversed, calls.callsIndirectly);
    for (const node of backEdgesToTypes) {
      for (const target of targetsOfType.get(node) ?? []) if (reachesIndirect[target] === 1) needsEntrySafepoint[target] = 1;
    }
  }
  // An imported function in a table belongs to another module: then every indirect call may leave this module.
  const leavesByTable = [...calls.addressTaken].some((index) => index < imports);
  const reachesOutside = nodesReaching(reversed, leavesByTable ? [...calls.callsOutside, ...calls.callsIndirectly] : calls.callsOutside);
  const hasUnknownCallers = new Uint8Array(count);
  for (const index of calls.addressTaken) if (index >= imports) hasUnknownCallers[index - imports] = 1;
  for (const { kind, index } of isDriver ? [] : module.exports) {
    if (kind !== 'function' || index < imports) continue;
    hasUnknownCallers[index - imports] = 1;
    // Another module may call it again before it returns.
    if (reachesOutside[index - imports] === 1) needsEntrySafepoint[index - imports] = 1;
  }
  return {
    order: order.nodes.filter((node) => node < count),
    needsEntrySafepoint,
    callsItself: calls.callsItself,
    hasUnknownCallers,
    calleesOf: (position) => (calls.callees[position] ?? []).filter((node) => node < count),
  };
}

/** Assigns one node to each structurally distinct type: an indirect call accepts any function of an equal type. */
function numberIndirectTypes(module: Module) {
  const nodes = new Map<string, number>();
  const byIndex = module.types.map(({ parameters, results }) => {
    const key = `${parameters.join()}:${results.join()}`;
    const node = nodes.get(key) ?? module.functions.length + nodes.size;
    nodes.set(key, node);
    return node;
  });
  return { count: nodes.size, nodeOf: (type: number) => byIndex[type] };
}

function findCalls(module: Module, nodeOfType: (type: number) => number | undefined): Calls {
  const imported = importsOf(module, 'function');
  const callees: (readonly number[])[] = [];
  const callsItself = new Uint8Array(module.functions.length);
  const [callsIndirectly, callsOutside]: [number[], number[]] = [[], []];
  const addressTaken = addressesTakenOutsideBodies(module);
  for (const [position, body] of module.functions.entries()) {
    const found = new Set<number>();
    let [isIndirect, isOutside] = [false, false];
    for (const instruction of decodeBody(body)) {
      if (instruction.kind === 'function') {
        const { index } = instruction;
        if (instruction.op === opcodes['ref.func']) addressTaken.add(index);
        else if (index >= imported.length) found.add(index - imported.length);
        else if (!isMachineNamespace(imported[index]?.module)) isOutside = true;
      } else if (instruction.kind === 'call-indirect') {
        isIndirect = true;
        const node = nodeOfType(instruction.type);
        if (node !== undefined) found.add(node);
      }
    }
    if (found.has(position)) callsItself[position] = 1;
    if (isIndirect) callsIndirectly.push(position);
    if (isOutside) callsOutside.push(position);
    callees.push([...found]);
  }
  return { callees, callsItself, callsIndirectly, callsOutside, addressTaken };
}

/** Returns whether a namespace is the kernel's or the system's, which never call back into the module. */
const isMachineNamespace = (name: string | undefined) => name === kernelNamespace || name === systemNamespace;

/** Returns the functions that element segments and initial values of globals refer to. */
function addressesTakenOutsideBodies(module: Module): Set<number> {
  const taken = new Set<number>();
  const read = (expression: Uint8Array) => {
    for (const instruction of decodeBody({ body: expression })) addIfReference(instruction, taken);
  };
  for (const { items } of module.elements) {
    if (items.kind === 'functions') for (const index of items.indices) taken.add(index);
    else for (const expression of items.expressions) read(expression);
  }
  for (const { init } of module.globals) read(init);
  return taken;
}

function addIfReference(instruction: Instruction, taken: Set<number>): void {
  if (instruction.kind === 'function' && instruction.op === opcodes['ref.func']) taken.add(instruction.index);
}

function edgesOf(lists: readonly (readonly number[])[]): Edges {
  const starts = new Uint32Array(lists.length + 1);
  for (const [node, list] of lists.entries()) starts[node + 1] = (starts[node] ?? 0) + list.length;
  const targets = new Uint32Array(starts[lists.length] ?? 0);
  for (const [node, list] of lists.entries()) targets.set(list, starts[node]);
  return { starts, targets };
}

function reverse({ starts, targets }: Edges, count: number): Edges {
  const reversed = new Uint32Array(count + 1);
  for (const target of targets) reversed[target + 1] = (reversed[target + 1] ?? 0) + 1;
  for (let node = 0; node < count; node += 1) reversed[node + 1] = (reversed[node + 1] ?? 0) + (reversed[node] ?? 0);
  const next = reversed.slice();
  const sources = new Uint32Array(targets.length);
  for (let node = 0; node < count; node += 1) {
    for (let edge = starts[node] ?? 0; edge < (starts[node + 1] ?? 0); edge += 1) {
      const target = targets[edge] ?? 0;
      const place = next[target] ?? 0;
      sources[place] = node;
      next[target] = place + 1;
    }
  }
  return { starts: reversed, targets: sources };
}

/** Returns 1 for each node that reaches one of the given nodes, themselves included. @param reversed The graph with its edges reversed. */
function nodesReaching({ starts, targets }: Edges, from: readonly number[]): Uint8Array {
  const reached = new Uint8Array(starts.length - 1);
  const pending = [...from];
  for (const node of from) reached[node] = 1;
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    for (let edge = starts[node] ?? 0; edge < (starts[node + 1] ?? 0); edge += 1) {
      const source = targets[edge] ?? 0;
      if (reached[source] === 1) continue;
      reached[source] = 1;
      pending.push(source);
    }
  }
  return reached;
}

/**
 * Visits all nodes depth first and returns them with callees before callers. Every cycle has an edge to a node that is still being visited:
 * `onCycle` is called with that node.
 */
function visitCalleesFirst({ starts, targets }: Edges, count: number, onCycle: (node: number) => void) {
  const [unseen, open, done] = [0, 1, 2];
  const state = new Uint8Array(count);
  const nextEdge = starts.slice(0, count);
  const nodes = new Uint32Array(count);
  const closed = new Set<number>();
  let finished = 0;
  const path: number[] = [];
  for (let root = 0; root < count; root += 1) {
    if (state[root] !== unseen) continue;
    path.push(root);
    state[root] = open;
    for (let node = path.at(-1); node !== undefined; node = path.at(-1)) {
      const edge = nextEdge[node] ?? 0;
      if (edge === starts[node + 1]) {
        state[node] = done;
        nodes[finished] = node;
        finished += 1;
        path.pop();
        continue;
      }
      nextEdge[node] = edge + 1;
      const target = targets[edge] ?? 0;
      if (state[target] === open) {
        closed.add(target);
        onCycle(target);
      } else if (state[target] === unseen) {
        state[target] = open;
        path.push(target);
      }
    }
  }
  return { nodes, closedTypes: [...closed] };
}
