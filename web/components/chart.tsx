// Small live charts of the last two minutes: stacked areas or lines. Own SVG instead of a chart library: the style sheet sets the colours.

import './chart.css';

/** Time span of a chart in milliseconds. */
export const chartSpanMilliseconds = 120_000;
/** Number of series colours; further series reuse them. */
const colours = 5;

export type Point = { readonly at: number; readonly value: number };
export type Series = {
  readonly name: string;
  /** In order of time. */
  readonly points: readonly Point[];
  /** Index of the colour, from 0. */
  readonly colour: number;
  readonly isDashed?: boolean;
};

export const seriesClass = (colour: number) => `series-${colour % colours}`;

type Parts = {
  readonly heading: string;
  readonly series: readonly Series[];
  readonly text: (value: number) => string;
  /** Whether series are stacked, so that their sum is visible. */
  readonly isStacked?: boolean;
  /** The right end of the time axis in milliseconds. */
  readonly now: number;
};

export function Chart({ heading, series, text, isStacked = false, now }: Parts) {
  const shapes = isStacked ? stacked(series) : series.map(({ points }) => points.map(({ at, value }) => ({ at, from: 0, to: value })));
  const highest = Math.max(0, ...shapes.flat().map(({ to }) => to));
  const top = highest === 0 ? 1 : highest * 1.08;
  const x = (at: number) => 100 * (1 - (now - at) / chartSpanMilliseconds);
  const y = (value: number) => 100 * (1 - value / top);
  const latest = series.map(({ name, points }) => `${name} ${lastText(points, text)}`).join(', ');
  const sum = shapes.map((shape) => shape.at(-1)?.to ?? 0);
  return (
    <figure class="chart">
      <figcaption>
        <span>{heading}</span>
        <strong>{isStacked ? text(Math.max(0, ...sum)) : latest}</strong>
      </figcaption>
      <svg
        viewBox="0 0 100 100"
        preserveAspectRatio="none"
        role="img"
        aria-label={`${heading}, now: ${latest}; maximum ${text(highest)} in the last two minutes`}
      >
        {shapes.map((shape, index) => {
          const one = series[index];
          if (one === undefined || shape.length < 2) return null;
          const upper = shape.map(({ at, to }) => `${x(at).toFixed(2)},${y(to).toFixed(2)}`);
          if (!isStacked)
            return (
              <polyline key={one.name} class={`line ${seriesClass(one.colour)} ${one.isDashed ? 'dashed' : ''}`} points={upper.join(' ')} />
            );
          const lower = shape.map(({ at, from }) => `${x(at).toFixed(2)},${y(from).toFixed(2)}`).toReversed();
          return <polygon key={one.name} class={`area ${seriesClass(one.colour)}`} points={[...upper, ...lower].join(' ')} />;
        })}
      </svg>
      <div class="axis" aria-hidden="true">
        <span>2 min ago</span>
        <span>{highest === 0 ? '' : `maximum ${text(highest)}`}</span>
      </div>
    </figure>
  );
}

function lastText(points: readonly Point[], text: (value: number) => string): string {
  const last = points.at(-1);
  return last === undefined ? '–' : text(last.value);
}

/** Stacks each series on the previous. The series share their times, but may start at different times. */
function stacked(series: readonly Series[]): { at: number; from: number; to: number }[][] {
  const heights = new Map<number, number>();
  return series.map(({ points }) =>
    points.map(({ at, value }) => {
      const from = heights.get(at) ?? 0;
      heights.set(at, from + value);
      return { at, from, to: from + value };
    }),
  );
}
