// The figures of the benchmark, formatted for the terminal and as JSON.

import { formatTable } from '../../src/cli/terminal/table.ts';

type Goal = { readonly of: 'figure' | 'ratio'; readonly is: 'at least' | 'at most'; readonly bound: number };

export type Figure = {
  readonly part: string;
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** The baseline, measured in the same run and unit: a floor, or the same figure with fewer devices. */
  readonly base: { readonly what: string; readonly value: number } | null;
  readonly goal: Goal | null;
};

export type ComparedFigure = Figure & { readonly ratio: number | null; readonly holds: boolean | null };

/** Adds the ratio of a figure, and whether it meets its goal. */
export function compared(figure: Figure): ComparedFigure {
  const { value, base, goal } = figure;
  const ratio = base === null ? null : value / base.value;
  if (goal === null) return { ...figure, ratio, holds: null };
  const measured = goal.of === 'figure' ? value : ratio;
  if (measured === null) return { ...figure, ratio, holds: null };
  return { ...figure, ratio, holds: goal.is === 'at least' ? measured >= goal.bound : measured <= goal.bound };
}

export function resultLines(figures: readonly ComparedFigure[]): string[] {
  const rows = figures.map(({ part, what, value, unit, base, ratio, goal, holds }) => [
    part,
    what,
    `${numberText(value)} ${unit}`,
    base === null ? '' : `${numberText(base.value)} (${base.what})`,
    ratio === null ? '' : ratio.toFixed(2),
    goal === null ? '' : `${goal.of === 'ratio' ? 'ratio ' : ''}${goal.is === 'at least' ? '≥' : '≤'} ${numberText(goal.bound)}`,
    holds === null ? '' : holds ? 'yes' : 'NO',
  ]);
  return formatTable(['part', 'what', 'figure', 'floor or base', 'ratio', 'goal', 'holds'], rows);
}

/** Formats a number with significant digits only. */
export function numberText(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString('en', { maximumFractionDigits: digits });
}
