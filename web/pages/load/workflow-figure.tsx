// FIG. 2 of the patent with the path of a load highlighted and the time of each operation.

import { microsecondsText } from '../../components/times.tsx';
import { type Edge, figureOf, type LoadKind, type LoadPath, measures, type Node, stepId } from './workflow.ts';
import './figure.css';

type Parts = {
  readonly kind: LoadKind;
  readonly way: LoadPath;
  /** Whether the device has not reported yet. */
  readonly isOpen: boolean;
};

export function WorkflowFigure({ kind, way, isOpen }: Parts) {
  const { nodes, edges } = figureOf(kind);
  const operations = new Map(nodes.map(({ step, operation }) => [step, operation]));
  const taken = [...way.steps.keys()].map((step) => `${operations.get(step) ?? ''} ${step}`.trim());
  // The highlighted edges are drawn last, on top.
  const ordered = edges.toSorted((first, second) => Number(way.isTaken(first)) - Number(way.isTaken(second)));
  return (
    <figure class="figure-2" aria-label={description(taken, isOpen)}>
      {/* biome-ignore lint/a11y/noSvgWithoutTitle: the figure around it has the name, and a title would be shown over every operation */}
      <svg viewBox={`0 0 ${measures.width} ${measures.height}`}>
        <defs>
          <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
            <path d="M0 0L8 4L0 8Z" class="arrow" />
          </marker>
          <marker id="arrow-taken" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="5" markerHeight="5" orient="auto">
            <path d="M0 0L8 4L0 8Z" class="arrow taken" />
          </marker>
        </defs>
        {ordered.map((edge) => (
          <EdgeView key={`${edge.from} ${edge.to}`} edge={edge} isTaken={way.isTaken(edge)} />
        ))}
        {nodes.map((node) => (
          <NodeView key={node.step} node={node} way={way} isOpen={isOpen} />
        ))}
      </svg>
      <figcaption class="soft">
        FIG. 2 of US 8,689,206 B2. The path of this load is highlighted. Each operation links to its details.
      </figcaption>
    </figure>
  );
}

function description(taken: readonly string[], isOpen: boolean): string {
  if (isOpen) return 'The isolation workflow, FIG. 2: the device has not reported yet';
  if (taken.length === 0) return 'The isolation workflow, FIG. 2: this load did not reach its device';
  return `The isolation workflow, FIG. 2. This load went through ${taken.join(', ')}`;
}

function EdgeView({ edge: { path, label }, isTaken }: { readonly edge: Edge; readonly isTaken: boolean }) {
  return (
    <g class={isTaken ? 'edge taken' : 'edge'}>
      <path d={path} marker-end={isTaken ? 'url(#arrow-taken)' : 'url(#arrow)'} />
      {label !== undefined && (
        <text x={label.x} y={label.y}>
          {label.text}
        </text>
      )}
    </g>
  );
}

function NodeView({ node, way, isOpen }: { readonly node: Node; readonly way: LoadPath; readonly isOpen: boolean }) {
  const { step, operation, kind, lines, x, y } = node;
  const found = way.steps.get(step) ?? [];
  const [first] = found;
  const hasFailed = way.failedIn === step || step === 'failed' || step === 'refused';
  const isAwaited = isOpen && step === 'received';
  const isReached = first !== undefined || way.failedIn === step;
  const half = operation === null ? measures.sideHalf : measures.half;
  const style = `node ${kind} ${isReached ? 'taken' : ''} ${isReached && hasFailed ? 'bad' : ''} ${isAwaited ? 'awaited' : ''}`;
  const whole = found.reduce((sum, { microseconds }) => sum + microseconds, 0);
  const time = first === undefined || operation === null ? null : microsecondsText(whole);
  const content = (
    <g class={style}>
      <Outline kind={kind} x={x} y={y} half={half} />
      <Words lines={lines} operation={operation} kind={kind} x={x} y={y} time={time} />
    </g>
  );
  return first === undefined ? content : <a href={`#${stepId(first)}`}>{content}</a>;
}

type Place = { readonly kind: Node['kind']; readonly x: number; readonly y: number };

function Outline({ kind, x, y, half }: Place & { readonly half: number }) {
  const { boxHeight, questionHeight } = measures;
  if (kind === 'question')
    return <polygon points={`${x - half},${y} ${x},${y - questionHeight} ${x + half},${y} ${x},${y + questionHeight}`} />;
  return <rect x={x - half} y={y - boxHeight} width={2 * half} height={2 * boxHeight} rx={kind === 'end' ? boxHeight : 2} />;
}

type WordsParts = Place & Pick<Node, 'lines' | 'operation'> & { readonly time: string | null };

/** The number, title and time of an operation, inside its box; the time of a question is next to it, clear of the edges. */
function Words({ lines: [first, second], operation, kind, x, y, time }: WordsParts) {
  if (operation === null)
    return (
      <text x={x} y={y + 4} text-anchor="middle">
        {first}
      </text>
    );
  const isQuestion = kind === 'question';
  const number = isQuestion ? { x, y: y - 14 } : { x: x - measures.half + 12, y: time === null ? y + 4 : y - 3 };
  const words = isQuestion ? { x, y: y + 2 } : { x: x + 30, y: y - 3 };
  const beside = isQuestion ? { x: x + 50, y: y - 22 } : { x: number.x, y: y + 12 };
  // One text element with spaces between its lines, for screen readers.
  return (
    <text text-anchor="middle">
      <tspan class="operation" {...number} text-anchor={isQuestion ? 'middle' : 'start'}>
        {operation}
      </tspan>{' '}
      <tspan {...words}>{first}</tspan>{' '}
      <tspan x={words.x} y={words.y + 14}>
        {second}
      </tspan>{' '}
      {time !== null && (
        <tspan class="time" {...beside} text-anchor="start">
          {time}
        </tspan>
      )}
    </text>
  );
}
