// The isolation workflow of FIG. 2 of US 8,689,206 B2: operations, edges, and the path of a load.

import type { Schemas } from '../../../src/client/client.ts';

export type Step = Schemas['LoadReport']['steps'][number];
export type StepName = Step['step'];

export type Node = {
  readonly step: StepName;
  /** The operation's number in the figure; null if the figure has none. */
  readonly operation: number | null;
  readonly kind: 'box' | 'question' | 'end';
  readonly lines: readonly [string, string?];
  readonly x: number;
  readonly y: number;
};

/** Positions and widths of the columns; heights are half of a node's. */
export const measures = {
  width: 420,
  height: 902,
  main: 152,
  side: 342,
  half: 88,
  sideHalf: 58,
  boxHeight: 21,
  questionHeight: 34,
} as const;
const { main, side } = measures;

const nodes: readonly Node[] = [
  { step: 'received', operation: 200, kind: 'box', lines: ['load request', 'received'], x: main, y: 30 },
  { step: 'looked-up', operation: 210, kind: 'question', lines: ['an entry in the', 'module table?'], x: main, y: 118 },
  { step: 'compared', operation: 220, kind: 'question', lines: ['newer and', 'similar?'], x: main, y: 220 },
  { step: 'linked', operation: 220, kind: 'question', lines: ['every import', 'provided?'], x: main, y: 322 },
  { step: 'refused', operation: null, kind: 'box', lines: ['refused'], x: side, y: 220 },
  { step: 'loaded', operation: 230, kind: 'box', lines: ['loaded at an', 'unused location'], x: main, y: 412 },
  { step: 'table-updated', operation: 240, kind: 'box', lines: ['module table', 'updated'], x: main, y: 480 },
  { step: 'failed', operation: null, kind: 'box', lines: ['failed'], x: side, y: 480 },
  { step: 'checked-references', operation: 250, kind: 'question', lines: ['reference', 'count > 0?'], x: main, y: 568 },
  { step: 'cancelled', operation: null, kind: 'box', lines: ['cancelled'], x: side, y: 658 },
  { step: 'interrupted', operation: 260, kind: 'box', lines: ['error injected', 'into each access'], x: main, y: 658 },
  { step: 'references-reset', operation: 270, kind: 'box', lines: ['reference count', 'reset'], x: main, y: 726 },
  { step: 'invalidated', operation: 275, kind: 'box', lines: ['old pages', 'invalidated'], x: main, y: 794 },
  { step: 'completed', operation: 280, kind: 'end', lines: ['load', 'complete'], x: main, y: 868 },
];

export type Edge = {
  readonly from: StepName;
  readonly to: StepName;
  readonly path: string;
  /** The label of the edge and its position. */
  readonly label?: { readonly text: string; readonly x: number; readonly y: number };
};

const left = main - measures.half;
const right = main + measures.half;
const lane = 412;

const edges: readonly Edge[] = [
  { from: 'received', to: 'looked-up', path: `M${main} 51V84` },
  { from: 'looked-up', to: 'compared', path: `M${main} 152V186`, label: { text: 'yes', x: main + 6, y: 172 } },
  { from: 'looked-up', to: 'linked', path: `M${left} 118H42V322H${left}`, label: { text: 'no', x: 46, y: 112 } },
  { from: 'compared', to: 'linked', path: `M${main} 254V288`, label: { text: 'yes', x: main + 6, y: 274 } },
  { from: 'linked', to: 'loaded', path: `M${main} 356V391`, label: { text: 'yes', x: main + 6, y: 376 } },
  { from: 'linked', to: 'refused', path: `M${right} 322H${side}V241`, label: { text: 'no', x: right + 4, y: 316 } },
  { from: 'compared', to: 'refused', path: `M${right} 220H${side - measures.sideHalf}`, label: { text: 'no', x: right + 4, y: 214 } },
  { from: 'received', to: 'refused', path: `M${right} 30H${side}V199`, label: { text: 'image not verified', x: right + 6, y: 24 } },
  { from: 'loaded', to: 'table-updated', path: `M${main} 433V459` },
  { from: 'loaded', to: 'failed', path: `M${right} 412H${side}V459` },
  { from: 'received', to: 'failed', path: `M${right} 40H270V470H${side - measures.sideHalf}` },
  { from: 'table-updated', to: 'checked-references', path: `M${main} 501V534` },
  { from: 'table-updated', to: 'completed', path: `M${left} 480H10V868H${left}`, label: { text: 'first', x: 32, y: 474 } },
  {
    from: 'checked-references',
    to: 'failed',
    path: `M${right} 568H${side}V501`,
    label: { text: 'drain timeout', x: right + 6, y: 562 },
  },
  {
    from: 'checked-references',
    to: 'cancelled',
    path: `M${right - 30} 580H${side}V637`,
    label: { text: 'cancelled', x: right + 6, y: 593 },
  },
  { from: 'checked-references', to: 'interrupted', path: `M${main} 602V637`, label: { text: 'yes', x: main + 6, y: 622 } },
  {
    from: 'checked-references',
    to: 'references-reset',
    path: `M${left + 30} 580H50V726H${left}`,
    label: { text: 'drained', x: 54, y: 593 },
  },
  { from: 'checked-references', to: 'invalidated', path: `M${left} 568H26V794H${left}`, label: { text: 'no', x: 46, y: 562 } },
  { from: 'interrupted', to: 'references-reset', path: `M${main} 679V705` },
  { from: 'references-reset', to: 'invalidated', path: `M${main} 747V773` },
  { from: 'invalidated', to: 'completed', path: `M${main} 815V847` },
  { from: 'refused', to: 'completed', path: `M${side + measures.sideHalf} 220H${lane}V868H${right}` },
  { from: 'cancelled', to: 'completed', path: `M${side + measures.sideHalf} 658H${lane}V868H${right}` },
  { from: 'failed', to: 'completed', path: `M${side + measures.sideHalf} 480H${lane}V868H${right}` },
];

export type LoadKind = Schemas['Load']['kind'];
type Figure = { readonly nodes: readonly Node[]; readonly edges: readonly Edge[] };

/** An unload compares no versions and loads nothing. */
const unload: Figure = {
  nodes: nodes
    .filter(({ step }) => step !== 'compared' && step !== 'loaded')
    .map((node) => (node.step === 'linked' ? { ...node, lines: ['every import', 'still provided?'] } : node)),
  edges: [
    { from: 'looked-up', to: 'linked', path: `M${main} 152V288`, label: { text: 'yes', x: main + 6, y: 172 } },
    { from: 'looked-up', to: 'refused', path: `M${right} 118H${side}V199`, label: { text: 'no', x: right + 4, y: 112 } },
    { from: 'linked', to: 'table-updated', path: `M${main} 356V459`, label: { text: 'yes', x: main + 6, y: 376 } },
    ...edges.filter(({ from, to }) => {
      const isReplaced = from === 'looked-up' || (from === 'table-updated' && to === 'completed');
      return !isReplaced && [from, to].every((step) => step !== 'compared' && step !== 'loaded' && step !== 'received');
    }),
    { from: 'received', to: 'looked-up', path: `M${main} 51V84` },
    { from: 'received', to: 'refused', path: `M${right} 30H${side}V199` },
    { from: 'received', to: 'failed', path: `M${right} 40H270V470H${side - measures.sideHalf}` },
  ],
};

/** Returns the figure of a kind of load. */
export function figureOf(kind: LoadKind): Figure {
  return kind === 'unload' ? unload : { nodes, edges };
}

/** Returns the identifier of a step on the page. */
export function stepId({ step, module }: Step): string {
  return module === undefined ? `step-${step}` : `step-${step}-${module}`;
}

export type LoadPath = {
  /** The steps by name: several if the load is of a patch set. */
  readonly steps: ReadonlyMap<StepName, readonly Step[]>;
  readonly isTaken: (edge: Edge) => boolean;
  /** The failed operation; null if none failed. */
  readonly failedIn: StepName | null;
};

/** Returns the path of a load. The device reports no step of operation 200 for an unload. */
export function loadPathOf(steps: readonly Step[], kind: LoadKind): LoadPath {
  const reported = steps.map(({ step }) => step);
  const names: StepName[] = kind === 'unload' && reported[0] === 'looked-up' ? ['received', ...reported] : reported;
  const failed = steps.find((step) => step.step === 'failed');
  const failedIn = failed === undefined ? null : failedOperation(failed.facts.during);
  const pairs = new Set(names.slice(1).map((name, index) => `${names[index]} ${name}`));
  if (failed !== undefined && failedIn !== null) {
    // The failed operation has no step of its own, but the load reached it.
    pairs.add(`${failedIn} failed`);
    pairs.add(`${names[names.indexOf('failed') - 1]} ${failedIn}`);
  }
  // Older devices, and loads with the link policy off, have no step for the links.
  for (const before of ['looked-up', 'compared'])
    if (pairs.has(`${before} loaded`)) for (const pair of [`${before} linked`, 'linked loaded']) pairs.add(pair);
  return {
    steps: Map.groupBy(steps, ({ step }) => step),
    isTaken: ({ from, to }) => pairs.has(`${from} ${to}`),
    failedIn,
  };
}

/** Returns the operation of the figure in which a load failed. */
function failedOperation(during: string): StepName {
  if (during === 'received') return 'received';
  return during === 'loaded' ? 'loaded' : 'checked-references';
}
