// Formats plain tables for the terminal.

import { stripVTControlCharacters } from 'node:util';

/** Maximum width of the rule below a heading. */
const maxRuleWidth = 60;

/** Returns the lines of a table. Each column is as wide as its widest cell; numbers are aligned to the right. */
export function formatTable(headings: readonly string[], rows: readonly (readonly (string | number)[])[]): string[] {
  const widths = headings.map((heading, column) =>
    rows.reduce((widest, row) => Math.max(widest, visibleWidth(row[column] ?? '')), heading.length),
  );
  const line = (cells: readonly (string | number)[]) =>
    cells
      .map((cell, column) => {
        const space = ' '.repeat(Math.max(0, (widths[column] ?? 0) - visibleWidth(cell)));
        return typeof cell === 'number' ? `${space}${cell}` : `${cell}${space}`;
      })
      .join('  ')
      .trimEnd();
  const rules = widths.map((width) => '─'.repeat(Math.min(width, maxRuleWidth)));
  return [line(headings), line(rules), ...rows.map(line)];
}

/** Returns the width of a cell without its colour codes. */
const visibleWidth = (cell: string | number) => stripVTControlCharacters(String(cell)).length;
